"""The real backends, once for the whole session; without the binaries these tests skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import processes
from .processes import Collector, Jaeger
from .seeded import Seeded
from .seeded import seeded as seeded_stack
from .stack import Binaries


def _binary(name: str) -> Path:
    found = processes.find_backend(name)
    if found is None:
        if os.environ.get("OTEL_ORCHESTRATOR_REQUIRE_BACKENDS"):
            pytest.fail(f"{name} is missing. Type: make backends")
        pytest.skip(f"{name} is missing. Type: make backends")
    return found


@pytest.fixture(scope="session")
def otelcol_binary() -> Path:
    return _binary("otelcol")


@pytest.fixture(scope="session")
def jaeger_binary() -> Path:
    return _binary("jaeger")


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    return _binary("prometheus")


@pytest.fixture(scope="session")
def promtool_binary() -> Path:
    return _binary("promtool")


@pytest.fixture(scope="session")
def binaries(otelcol_binary: Path, jaeger_binary: Path, prometheus_binary: Path) -> Binaries:
    return Binaries(otelcol_binary, jaeger_binary, prometheus_binary)


@pytest.fixture(scope="session")
def jaeger(jaeger_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    with processes.jaeger(jaeger_binary, tmp_path_factory.mktemp("jaeger")) as up:
        yield up


@pytest.fixture(scope="session")
def collector(
    otelcol_binary: Path, jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("otelcol")
    with processes.collector(otelcol_binary, jaeger.otlp_endpoint, folder) as up:
        yield up


@pytest.fixture(scope="session")
def seeded(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """The whole stack with three demo runs in it."""
    with seeded_stack(binaries, tmp_path_factory.mktemp("seeded")) as found:
        yield found

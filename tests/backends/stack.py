"""The real Collector, Jaeger and Prometheus together, and what Prometheus then says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from urllib.request import urlopen

from . import processes
from .processes import Collector, Jaeger, Program, Prometheus, free_ports

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the real programs are."""

    otelcol: Path
    jaeger: Path
    prometheus: Path


@dataclass(frozen=True, slots=True)
class Stack:
    """All parts, up, and the handles to kill and start each."""

    collector: Collector
    jaeger: Jaeger
    prometheus: Prometheus
    collector_program: Program
    jaeger_program: Program
    prometheus_program: Program


@contextmanager
def stack(
    binaries: Binaries,
    folder: Path,
    *,
    rules: Sequence[str] = (),
    overlays: Sequence[Path] = (),
    collector_environment: Mapping[str, str] | None = None,
    to_jaeger: Callable[[str], str] = str,
    to_prometheus: Callable[[str], str] = str,
) -> Iterator[Stack]:
    """Run all parts with the shipped files until the block is left.

    `to_jaeger` and `to_prometheus` may put something between the Collector and these: they get
    where it would send to, and return where it does.
    """
    deltas, itself, of_jaeger = free_ports(3)
    targets = {
        "otel-collector:8889": f"127.0.0.1:{deltas}",
        "otel-collector:8888": f"127.0.0.1:{itself}",
        "jaeger:8888": f"127.0.0.1:{of_jaeger}",
    }
    prometheus_program, prometheus = processes.prometheus_program(
        binaries.prometheus, folder, targets, rules=rules
    )
    jaeger_program, jaeger = processes.jaeger_program(
        binaries.jaeger, folder, prometheus_url=prometheus.url, metrics_port=of_jaeger
    )
    collector_program, collector = processes.collector_program(
        binaries.otelcol,
        to_jaeger(jaeger.otlp_endpoint),
        folder,
        prometheus_url=to_prometheus(prometheus.url),
        ports=(deltas, itself),
        overlays=overlays,
    )
    collector_program.environment = {
        **collector_program.environment,
        **(collector_environment or {}),
    }
    with ExitStack() as until_the_end:
        for program in (prometheus_program, jaeger_program, collector_program):
            until_the_end.enter_context(program)
        yield Stack(
            collector, jaeger, prometheus, collector_program, jaeger_program, prometheus_program
        )


def start_app(
    program: str, *arguments: str, endpoint: str, folder: Path, **environment: str
) -> subprocess.Popen[str]:
    """Start a traced program that sends to `endpoint`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={
            **clean,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_ORCHESTRATOR_RUN_DIR": str(folder),
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], within_s: float = 60) -> None:
    """Wait for a program, which must end well and without a word."""
    _, complaints = process.communicate(timeout=within_s)
    assert (process.returncode, complaints) == (0, "")


def query(prometheus: Prometheus, expression: str, **parameters: str) -> list[dict[str, Any]]:
    """Return the series, each with its value or values, that an expression yields now."""
    return _get(prometheus, "query", query=expression, **parameters)["result"]  # type: ignore[no-any-return]


def values(prometheus: Prometheus, expression: str) -> list[float]:
    """Return the values that an expression yields now."""
    return [float(series["value"][1]) for series in query(prometheus, expression)]


def exemplars(prometheus: Prometheus, selector: str) -> list[dict[str, Any]]:
    """Return the exemplars of the last hour of the series that are selected."""
    now = time.time()
    found = _get(
        prometheus, "query_exemplars", query=selector, start=f"{now - 3600}", end=f"{now + 60}"
    )
    return [exemplar for series in found for exemplar in series["exemplars"]]


def _get(prometheus: Prometheus, what: str, **parameters: str) -> Any:
    url = f"{prometheus.url}/api/v1/{what}?{urlencode(parameters)}"
    with urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def until(look: Callable[[], T], is_right: Callable[[T], bool], within_s: float = 40) -> T:
    """Look again and again until what is seen is right; fail with what was seen last."""
    deadline = time.monotonic() + within_s
    while not is_right(seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s; last seen: {seen!r}")
        time.sleep(0.5)
    return seen

"""The scale profile of docker-compose.yml brought up whole by podman, and a run read back.

Kafka and Cassandra are the real programs and the shipped files; their images are stand-ins.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_orchestrator.sources.runfiles import find_run, read_run

from .reading import trace_of
from .stack import finish, start_app, until, values
from .test_compose_by_podman import JAEGER, PROMETHEUS, compose, is_up, podman
from .test_metrics_in_prometheus import COUNT, PROGRAM

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("OTEL_ORCHESTRATOR_PODMAN") != "scale",
        reason="OTEL_ORCHESTRATOR_PODMAN is not scale",
    ),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("podman-scale")
    try:
        compose(folder, "up", "-d", scale=True)
        yield folder
    finally:
        compose(folder, "down", "--volumes", scale=True)


def test_a_run_goes_through_the_scale_profile(scaled: Path, tmp_path: Path) -> None:
    for part, port in {"kafka": 9092, "cassandra": 9042}.items():
        until(
            lambda c=f"orchestrator_{part}_1", p=port: _answers(scaled, c, p),  # type: ignore[misc]
            bool,
            within_s=150,
        )
    for part in ("jaeger", "jaeger-ingester"):  # ended, since podman waits for nobody's health
        podman(scaled, "start", f"orchestrator_{part}_1")
    until(lambda: is_up(f"{JAEGER.query_url}/api/v3/services"), bool)
    finish(
        start_app(PROGRAM, "scaled", "3", "0.3", endpoint="http://localhost:4317", folder=tmp_path)
    )
    run = read_run(find_run(None, tmp_path))
    shown = trace_of(JAEGER, run.spans[0].trace_id, spans=len(run.spans), within_s=120)
    assert len(shown) == len(run.spans)
    until(lambda: values(PROMETHEUS, f'{COUNT}{{service_name="scaled"}}'), lambda seen: seen == [3])


def _answers(folder: Path, container: str, port: int) -> bool:
    settings = {path.stem: str(path) for path in folder.glob("CONTAINERS_*.conf")}
    command = ["podman", "exec", container, "bash", "-c", f"</dev/tcp/localhost/{port}"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True)
    return done.returncode == 0

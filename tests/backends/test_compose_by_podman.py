"""docker-compose.yml brought up whole, Grafana aside, by podman, and a run read back through it.

Takes the stack's own ports, so it runs only where OTEL_ORCHESTRATOR_PODMAN=1 asks for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from otel_orchestrator.sources.runfiles import find_run, read_run

from .processes import ROOT, Jaeger, Prometheus
from .reading import trace_of
from .stack import finish, start_app, until, values
from .test_metrics_in_prometheus import COUNT, PROGRAM

SCRIPT: Final = ROOT / "collector" / "build" / "podman.py"
JAEGER: Final = Jaeger("http://localhost:16686", "")
PROMETHEUS: Final = Prometheus("http://localhost:9090")

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("OTEL_ORCHESTRATOR_PODMAN") != "1",
        reason="OTEL_ORCHESTRATOR_PODMAN is not 1",
    ),
    pytest.mark.timeout(400),
]


def compose(folder: Path, *words: str, scale: bool = False) -> str:
    profile = ["--scale"] if scale else []
    command = [sys.executable, str(SCRIPT), "--folder", str(folder), *profile, "--", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def podman(folder: Path, *words: str) -> str:
    settings = {path.stem: str(path) for path in folder.glob("CONTAINERS_*.conf")}
    done = subprocess.run(
        ["podman", *words], env={**os.environ, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("podman")
    try:
        compose(folder, "up", "-d")
        yield folder
    finally:
        compose(folder, "down", "--volumes")


def is_up(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_run_goes_through_and_outlives_a_restart_of_every_part(up: Path, tmp_path: Path) -> None:
    for url in (f"{JAEGER.query_url}/api/v3/services", f"{PROMETHEUS.url}/-/ready"):
        until(lambda u=url: is_up(u), bool)  # type: ignore[misc]
    finish(
        start_app(PROGRAM, "podman", "3", "0.3", endpoint="http://localhost:4317", folder=tmp_path)
    )
    run = read_run(find_run(None, tmp_path))
    selector = f'{COUNT}{{service_name="podman"}}'
    until(lambda: values(PROMETHEUS, selector), lambda seen: seen == [3])
    assert set(values(PROMETHEUS, "up")) == {1}
    for part in ("otel-collector", "jaeger", "prometheus"):
        podman(up, "kill", f"orchestrator_{part}_1")
        until(
            lambda p=part: podman(up, "start", f"orchestrator_{p}_1"),  # type: ignore[misc]
            bool,
        )
    until(lambda: is_up(f"{JAEGER.query_url}/api/v3/services"), bool)
    until(lambda: is_up(f"{PROMETHEUS.url}/-/ready"), bool)
    shown = trace_of(JAEGER, run.spans[0].trace_id, spans=len(run.spans))
    assert len(shown) == len(run.spans)
    assert values(PROMETHEUS, f"max_over_time({selector}[10m])") == [3]
    for part in ("jaeger", "prometheus"):
        podman(up, "healthcheck", "run", f"orchestrator_{part}_1")


def test_the_password_is_grafanas_alone(up: Path) -> None:
    where = ["--volume", "orchestrator_secret:/secret:ro", "docker.io/library/busybox:1.37.0"]
    run = ["run", "--rm", "--network", "none", "--cap-drop", "all"]
    password = podman(up, *run, "--user", "472", *where, "cat", "/secret/password")
    assert len(password.strip()) == 32
    with pytest.raises(AssertionError, match="Permission denied"):
        podman(up, *run, "--user", "65534", *where, "cat", "/secret/password")

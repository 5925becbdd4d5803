"""Celery on a real Redis: one run, one trace, and every wait in its queue."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..backends.processes import free_ports, running
from ..clocks import until_it_agrees
from . import needs
from .program import ROOT, check_one_trace, check_waits, environment, only_run, record_of


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis of the test's own."""
    redis = needs.program("redis-server", "redis-server")
    (port,) = free_ports(1)
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path]
    command = [redis, *map(str, options)]
    with running(command, {}, f"tcp://127.0.0.1:{port}", tmp_path / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def worker(env: dict[str, str], log: Path) -> Iterator[None]:
    words = [
        "worker",
        "--loglevel",
        "INFO",
        "--pool",
        "prefork",
        "--concurrency",
        "2",
        "--prefetch-multiplier",
        "1",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.processes.celery_app", *words],
            env=env,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 30
        while b"ready." not in log.read_bytes():
            assert time.monotonic() < until, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.parametrize("instrumentation", ["", "yes"])
def test_celery_works_for_one_run(broker: str, instrumentation: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    env = environment(folder, BROKER=broker, WITH_INSTRUMENTATION=instrumentation)

    def scenario() -> None:
        with worker(env, tmp_path / "worker.log"):
            record = record_of("-m", "tests.processes.celery_sender", env=env)
        run = only_run(folder)
        check_one_trace(run, processes=2)
        if instrumentation:
            untold = [span for span in run.spans if span.name == "task untold"]
            assert len(untold) == 1, "the instrumentation carries trace and run by itself"
        check_waits(run, record, besides={"u"})

    until_it_agrees(scenario, forget=lambda: shutil.rmtree(folder, ignore_errors=True))

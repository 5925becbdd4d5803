"""A program may change its working directory, or have none any more."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import stored


def ran(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a working directory."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, **environment},
    )


@pytest.mark.parametrize(
    ("run_dir", "environment"),
    [("'runs'", {}), ("None", {"OTEL_ORCHESTRATOR_RUN_DIR": "runs"}), ("None", {})],
)
def test_run_files_stay_where_they_are_when_the_program_goes_elsewhere(
    tmp_path: Path, run_dir: str, environment: dict[str, str]
) -> None:
    code = f"""
        import os, time
        import otel_orchestrator as otel
        from opentelemetry import trace
        otel.configure(run_dir={run_dir})
        with otel.run("r"):
            with otel.node("before"):
                pass
            trace.get_tracer_provider().force_flush()
            os.mkdir("elsewhere")
            os.chdir("elsewhere")
            with otel.node("after"):
                pass
        """
    with receiving(Receiver()) as receiver:
        for _ in range(2):
            done = ran(code, tmp_path, **receiver.environment, **environment)
            assert (done.returncode, done.stderr) == (0, "")
            (tmp_path / "elsewhere").rmdir()
    runs = tmp_path / ("runs" if environment or run_dir != "None" else ".otel-orchestrator/runs")
    assert len(receiver.taken) == 6
    assert receiver.counted() == stored(runs)


WITHOUT = """
    import os
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    import otel_orchestrator as otel
    otel.configure({arguments})
    with otel.run("r"):
        pass
    """


def test_a_program_needs_no_working_directory(tmp_path: Path) -> None:
    for arguments in ("run_files=False", f"run_dir={str(tmp_path / 'runs')!r}"):
        done = ran(WITHOUT.format(arguments=arguments), tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert len(stored(tmp_path / "runs")) == 1


def test_without_a_working_directory_it_is_said_that_run_files_need_one(tmp_path: Path) -> None:
    done = ran(WITHOUT.format(arguments=""), tmp_path)
    last_line = done.stderr.splitlines()[-1]
    assert "RunFileError: the working directory was removed" in last_line

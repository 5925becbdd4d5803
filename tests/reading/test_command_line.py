"""The command line where its output goes nowhere, and where what it is told makes no sense."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .runs import RUN_ID, write_example


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_example(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["report", RUN_ID], 0),
        (["runs"], 0),
        (["report", "no-such-run"], 2),
        (["stack", "check", "--jaeger", "none", "--prometheus", "none", "--grafana", "none"], 1),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_reader_that_went_away_changes_no_exit_code(
    folder: Path, words: list[str], code: int, unbuffered: str
) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_EXPORTER")},
        "OTEL_ORCHESTRATOR_RUN_DIR": str(folder),
        "PYTHONUNBUFFERED": unbuffered,
    }
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", *words],
        stdout=ours, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    os.close(ours)
    assert done.returncode == code
    assert done.stderr.count("\n") == (code == 2)

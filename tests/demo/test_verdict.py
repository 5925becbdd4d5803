"""Slow one thing in the reference orchestrator, and the verdict names that and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_slowing_one_thing_flips_that_hypothesis_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/verdict.py", "--at-once", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    # Its exit code says so; its table shows that it looked: four slow-downs and one run without.
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("not supported (") == 4 + 4 * 3, done.stdout

"""A process that runs for days does not grow: `make soak-memory` in short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(300)
def test_memory_is_flat_whatever_way_runs_end() -> None:
    command = [sys.executable, "benchmarks/memory.py", "--runs", "200", "--bound", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("flat\n")

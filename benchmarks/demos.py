"""Run the reference orchestrator for a trial, and keep what it recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from otel_orchestrator.model import Run
from otel_orchestrator.sources.runfiles import find_run, read_run

_TIMEOUT_S: Final = 600
_DONE: Final = "done"


def run_demos(folder: Path, wanted: Mapping[str, Sequence[str]], at_once: int) -> None:
    """Run a demo for each name with its arguments; what `folder` holds already is not run again.

    Each demo waits most of the time, so a few at once do not slow each other down.
    """

    def run(name: str) -> None:
        if not (folder / name / _DONE).exists():
            _run(folder / name, wanted[name])

    with ThreadPoolExecutor(at_once) as pool:
        for n, _ in enumerate(pool.map(run, wanted), 1):
            print(f"\r{n} of {len(wanted)} runs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _run(folder: Path, arguments: Sequence[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.demo", *arguments],
        env={**environment, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    (folder / _DONE).touch()


def read_demo(folder: Path, name: str) -> Run:
    """Read what a demo recorded."""
    return read_run(find_run(None, folder / name))

"""The command `compare`, and run files for it."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource

from ..reading.runs import Writer

BASE = (100, 103, 99, 102, 101)


def write_run(
    folder: Path,
    name: str,
    llm_ms: float,
    *,
    label: str = "",
    host: str = "vm",
    outcome: str = "ok",
) -> None:
    """Write a run file by the real writer, with one LLM call of that many milliseconds."""
    run = Writer(folder, name, Resource({"service.name": "svc", "host.name": host,
                                         "orchestrator.run.label": label}))  # fmt: skip
    end = llm_ms + 20
    with run.span("invoke_workflow w", 0, end, "container", outcome=outcome):
        with run.span("superstep", 0, end, "container"):
            with run.span("node worker", 0, end, category="compute"):
                with run.span("chat m", 5, 5 + llm_ms, category="llm"):
                    pass
                with run.span("wait lock", 6 + llm_ms, 16 + llm_ms, "waiting", "lock"):
                    pass
    run.close()
    give_own_trace(folder / f"{name}.jsonl")


def give_own_trace(path: Path) -> None:
    """Give a run a trace of its own, as it has outside of tests."""
    own = f"{zlib.crc32(path.stem.encode()):032x}"
    path.write_text(path.read_text("utf-8").replace(f"{1:032x}", own), "utf-8")


def write_groups(folder: Path, factor: float, runs: int = 5) -> None:
    for n in range(runs):
        write_run(folder, f"a-{n}", BASE[n], label="v1")
        write_run(folder, f"b-{n}", BASE[n] * factor, label="v2")


def compare(
    folder: Path, *words: str, cwd: Path | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "compare", *words],
        text=True,
        env=environment,
        cwd=cwd,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def ids(letter: str, runs: int = 5) -> list[str]:
    return [f"{letter}-{n}" for n in range(runs)]

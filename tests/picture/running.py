"""Run the picture's program, and say what has to come out of its spans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from otel_orchestrator.model import Run, Span
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

TOLERANCE_NS = 20_000_000
Noted = dict[str, tuple[int, int]]
"""When each task began and ended, by its own clock."""


def run_picture(how: str, folder: Path, **environment: str) -> tuple[Run, Noted]:
    """Run the program in a process of its own; return its run file and what it noted."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.picture.program", how],
        cwd=Path(__file__).parents[2],
        env={**kept, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return read_run(find_run(None, folder)), {
        k: tuple(v) for k, v in json.loads(done.stdout).items()
    }


def says_who_blocked_whom(spans: Iterable[Span], noted: Noted) -> None:
    """Assert that the waits say: B held D and E, and let the results of A and C wait."""
    waits = [s for s in spans if s.state == "waiting"]
    held = {s.text(Attr.TASK_ID): s for s in waits if s.category == "held"}
    assert sorted(map(str, held)) == ["D", "E"]
    for name, needs in (("D", "A"), ("E", "AC")):
        is_about(held[name], max(noted[n][1] for n in needs), noted["B"][1])
        assert held[name].text(Attr.WAIT_ON) == "B"
    by_id = {s.span_id: s for s in spans}
    blocked = {}
    for span in waits:
        if span.category == "barrier" and span.text(Attr.WAIT_ON) == "B":
            blocked[by_id[str(span.parent_id)].text(Attr.TASK_ID)] = span
    assert sorted(map(str, blocked)) == ["A", "C"]
    for task_id, waiting in blocked.items():
        is_about(waiting, noted[str(task_id)][1], noted["B"][1])


def is_about(span: Span, start_ns: int, end_ns: int) -> None:
    """Assert that a span lasted from one instant to another, give or take 20 ms."""
    assert span.end_ns is not None
    assert abs(span.start_ns - start_ns) < TOLERANCE_NS, (span.name, span.start_ns - start_ns)
    assert abs(span.end_ns - end_ns) < TOLERANCE_NS, (span.name, span.end_ns - end_ns)

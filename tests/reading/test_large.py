"""Large runs: the report stays short, says what it leaves out, and shows that it is at work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run
from otel_orchestrator.reports import text

from .generated import Spans

LOOPS = 700


def large() -> Run:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, LOOPS * 10, None, "container")
    for n in range(LOOPS):
        loop = spans.add("loop", n * 10, n * 10 + 9, root, "container")
        spans.add("work", n * 10, n * 10 + 9, loop, "working", "compute")
    return spans.run()


def test_a_report_stops_after_many_lines_of_spans_and_says_how_many_are_left() -> None:
    run = large()
    told = study(run)
    lines = text.render(told, width=100, colour=False).splitlines()
    shown = sum("loop" in line or "work" in line for line in lines[-1100:])
    [rest] = [line for line in lines if "more spans: --all shows them" in line]
    assert "… and 401 more spans" in rest
    assert 1_000 <= shown < 1_010
    every = text.render(told, width=100, colour=False, everything=True)
    assert "more spans" not in every
    assert every.count("work ") >= LOOPS


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_a_terminal_shows_that_a_large_run_is_being_worked_on(tmp_path: Path) -> None:
    import pty

    path = tmp_path / "large.jsonl"
    path.write_text("".join(_lines(25_000)))
    mine, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "report", str(path), "--format", "json"],
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}, check=False,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(mine, 2**20).decode()
    os.close(mine)
    assert "Working out 25 001 spans" in shown
    assert done.stdout.startswith(b"{")


def _lines(count: int) -> list[str]:
    def line(span_id: int, parent: str, name: str, start: int, end: int) -> str:
        return (
            '{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"spans":[{"traceId":"a",'
            f'"spanId":"{span_id:x}","parentSpanId":"{parent}","name":"{name}",'
            f'"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","attributes":[]}}]}}]}}]}}\n'
        )

    header = '{"resourceSpans":[],"runFile":{"version":1}}\n'
    inside = [line(n + 2, "1", "work", n + 1, n + 2) for n in range(count)]
    return [header, line(1, "", "invoke_workflow w", 1, count + 1), *inside]

"""Loops and supersteps that are not there, as in one part of an export that was rotated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run
from otel_orchestrator.sources.gathering import Gathering

from .generated import Spans


def graph(steps: Iterable[int], loops: Iterable[int] = (0,), **said: Any) -> Spans:
    """Run a graph of these supersteps, each in the last loop that is not after it, or the first."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None, **said)
    turns = {n: spans.add("loop", n, 100, root, loop__index=n) for n in loops}
    for n in steps:
        loop = turns[max((index for index in turns if index < n), default=min(turns))]
        step = spans.add("superstep", n, n + 1, loop, superstep__index=n)
        spans.add("node worker", n, n + 1, step, "working", "compute")
    return spans


def read(spans: Spans) -> Run:
    gathering = Gathering()
    gathering.add_spans(spans.made, {})
    return gathering.run("run")


FIRST, NEXT = "the first one that is there is number", "is followed by"


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        (graph([1, 2, 5, 6]), f"supersteps are missing: number 2 {NEXT} 5"),
        (graph([7, 8, 10], run__resumed=True), f"supersteps are missing: number 8 {NEXT} 10"),
        (graph([4, 5], [2, 3], run__resumed=True), f"loops are missing: {FIRST} 2"),
        (graph([1, 2], [0, 1, 3]), f"loops are missing: number 1 {NEXT} 3"),
    ],
)
def test_missing_turns_are_said_and_leave_no_verdict(spans: Spans, said: str) -> None:
    run = read(spans)
    assert (run.warnings, run.lost) == ((said,), (said,))
    verdict = study(run).verdict
    assert {f.standing for f in verdict.findings} == {"cannot be told"}
    assert all(f.why.lower().startswith(said) for f in verdict.findings)


def nested() -> Spans:
    """Of a graph inside of a node nothing is asked: the outermost one is the run."""
    spans = graph([1, 2])
    inner = spans.add("invoke_workflow inner", 1, 2, spans.made[-1])
    loop = spans.add("loop", 1, 2, inner, loop__index=3)
    spans.add("superstep", 1, 2, loop, superstep__index=9)
    return spans


def by_hand() -> Spans:
    """Loops by hand have whatever numbers their program gives them."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    for n in (3, 7):
        spans.add("loop", n, n + 1, root, loop__index=n)
    return spans


@pytest.mark.parametrize(
    "spans",
    [
        graph([1, 2, 3], [0, 1]),
        graph([0, 1]),
        graph([5, 6], run__resumed=True),
        graph([5, 6]),  # LangGraph counts on where the thread's last checkpoint is
        nested(),
        by_hand(),
    ],
    ids=["whole", "from 0", "resumed", "continued", "nested", "by hand"],
)
def test_nothing_is_said_of_turns_that_never_were(spans: Spans) -> None:
    assert read(spans).warnings == ()

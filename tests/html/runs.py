"""Runs to look at."""

from __future__ import annotations

from pathlib import Path

from otel_orchestrator.model import GaugePoint, Run
from otel_orchestrator.sources.runfiles import find_run, read_run
from tests.reading.made import Control, Task, made
from tests.reading.runs import write_example


def example(folder: Path) -> Run:
    """Return a run that the real SDK wrote: two loops, three tasks, one error."""
    write_example(folder)
    return read_run(find_run(None, folder))


def planned() -> Run:
    """Return a run of supersteps: c needs a and is held by b, on two slots."""
    run = made(
        [Task("a", llm=300, git=20), Task("b", llm=2000, compute=50), Task("c", needs="a", llm=400),
         Task("d", llm=100)],
        slots=2,
        director=Control(llm=50),
        strategist=Control(llm=30, merge=5),
    )  # fmt: skip
    states = (("active", 2), ("ready", 1), ("waiting", 1))
    points = tuple(
        GaugePoint(
            "orchestrator.queue.depth", at, depth + (at > 0), {"orchestrator.task.state": state}
        )
        for at in (60_000_000, 400_000_000)
        for state, depth in states
    )
    return Run(run.id, run.spans, points)

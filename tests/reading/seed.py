"""The picture the project started from: A 30 s, B 600 s, C 30 s, and what could have started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from otel_orchestrator.semconv import Attr

from .runs import RUN_ID, Writer

_BARRIER = 605_000.0


def write_seed(folder: Path) -> Path:
    """Write it as a run of 3 workers: D needs A, E needs A and C, F needs B."""
    run = Writer(folder)
    limit = {Attr.CONCURRENCY_LIMIT: 3, Attr.CONCURRENCY_PEAK: 3}
    run.queue(5_000, 3, 0, 3)
    with run.span("invoke_workflow orchestrator", 0, 650_000, "container", attributes=limit):
        with _loop(run, 0, 0, 612_000):
            _alone(run, 1, "director", 0, 5_000)
            with _superstep(run, 2, 5_000, 605_100):
                _task(run, "A", 5_000, 35_000, _BARRIER - 0.002, on="B")
                _task(run, "B", 5_000, _BARRIER - 0.004, _BARRIER)
                _task(run, "C", 5_000, 35_000, _BARRIER - 0.002, on="B")
                for name in ("D", "E"):
                    held = {Attr.TASK_ID: name, Attr.WAIT_ON: "B"}
                    with run.span(
                        "wait held", 35_000, _BARRIER - 0.002, "waiting", "held", attributes=held
                    ):
                        pass
            _alone(run, 3, "strategist", 606_000, 612_000)
        with _loop(run, 1, 612_100, 649_000):
            _alone(run, 4, "director", 612_100, 615_000)
            with _superstep(run, 5, 615_000, 645_100):
                for name, needs, done in (
                    ("D", ["A"], 35),
                    ("E", ["A", "C"], 35),
                    ("F", ["B"], 605),
                ):
                    waited = {
                        Attr.TASK_DEPENDS_ON: needs,
                        Attr.TASK_WAITED_DEPENDENCY: done - 5.0,
                        Attr.TASK_WAITED_HELD: 605.0 - done,
                        Attr.TASK_WAITED_CYCLE: 10.0,
                    }
                    end = 645_000.0 if name == "F" else 644_999.998
                    _task(run, name, 615_000, 644_999.99, end, waited=waited)
            _alone(run, 6, "strategist", 646_000, 649_000)
    run.queue(5_001, 0, 3, 3)
    run.queue(35_000, 2, 1, 1)
    run.queue(605_000, 3, 0, 0)
    run.queue(615_001, 0, 3, 0)
    run.queue(645_000, 0, 0, 0)
    run.close()
    return folder / f"{RUN_ID}.jsonl"


def _loop(run: Writer, index: int, start_ms: float, end_ms: float) -> Any:
    values = {Attr.LOOP_INDEX: index, Attr.LOOP_HEAD: "director"}
    return run.span("loop", start_ms, end_ms, "container", attributes=values)


def _superstep(run: Writer, index: int, start_ms: float, end_ms: float) -> Any:
    values = {Attr.SUPERSTEP_INDEX: index}
    return run.span("superstep", start_ms, end_ms, "container", attributes=values)


def _alone(run: Writer, index: int, name: str, start_ms: float, end_ms: float) -> None:
    with _superstep(run, index, start_ms, end_ms):
        with run.span(f"node {name}", start_ms + 1, end_ms - 1, category="compute"):
            with run.span("chat gpt-4o", start_ms + 2, end_ms - 2, category="llm"):
                pass


def _task(
    run: Writer,
    name: str,
    start_ms: float,
    end_ms: float,
    barrier_ms: float,
    *,
    on: str | None = None,
    waited: dict[str, Any] | None = None,
) -> None:
    values: dict[str, Any] = {
        Attr.TASK_ID: name,
        Attr.TASK_NAME: "worker",
        Attr.TASK_DEPENDS_ON: [],
        Attr.TASK_WAITED_DEPENDENCY: 0.0,
        Attr.TASK_WAITED_HELD: 0.0,
        Attr.TASK_WAITED_CYCLE: 0.0,
        **(waited or {}),
    }
    with run.span("task worker", start_ms, barrier_ms, "container", attributes=values):
        with run.span("node worker", start_ms, end_ms, category="compute"):
            with run.span("git worktree add", start_ms + 1, start_ms + 400, category="git"):
                pass
            with run.span("chat gpt-4o", start_ms + 500, end_ms - 500, category="llm"):
                pass
        if on is not None:
            barrier = {Attr.WAIT_ON: on}
            with run.span(
                "wait barrier", end_ms + 0.001, barrier_ms, "waiting", "barrier", attributes=barrier
            ):
                pass

"""Several at once in one run: graphs, and parts of a task that wait."""

from __future__ import annotations

import asyncio
import threading
from collections import UserDict
from collections.abc import Iterator
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import _guard, runs
from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.queue import gauges, tasks
from otel_orchestrator.queue.gauges import QueueChange

from .boards import depths, now, plan


@pytest.fixture
def instrumented(exported: InMemorySpanExporter) -> Iterator[None]:
    LangGraphInstrumentor().instrument()
    yield
    LangGraphInstrumentor().uninstrument()


class State(TypedDict):
    tasks: list[dict[str, Any]]


def graph(work: Any) -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("worker", work)
    builder.add_conditional_edges(
        START, lambda state: [Send("worker", {"task": t}) for t in state["tasks"]], ["worker"]
    )
    return builder.compile()


def test_graphs_that_run_at_once_show_the_tasks_of_all(
    instrumented: None, changes: list[QueueChange]
) -> None:
    long_works, short_is_over = threading.Event(), threading.Event()

    def work_long(_: Any) -> dict[str, Any]:
        long_works.set()
        assert short_is_over.wait(20)
        return {}

    seen: list[tuple[int, int, int]] = []

    def work_short(_: Any) -> dict[str, Any]:
        board = tasks.find_board(runs.run_id_of())
        assert board is not None
        seen.append(now(board))
        return {}

    with otel.run("both"):
        context = otel_context.get_current()

        def run_long() -> None:
            token = otel_context.attach(context)
            graph(work_long).invoke({"tasks": plan(a=[], b=["a"])}, {"max_concurrency": 1})
            otel_context.detach(token)

        thread = threading.Thread(target=run_long)
        thread.start()
        assert long_works.wait(20)
        board = tasks.find_board(runs.run_id_of())
        assert board is not None
        assert now(board) == (0, 1, 1)
        graph(work_short).invoke({"tasks": plan(x=[])})
        assert seen == [(0, 2, 1)]
        assert now(board) == (0, 1, 1), "the short graph's tasks are gone, the other's are not"
        short_is_over.set()
        thread.join()
        assert now(board) == (0, 0, 0)


async def _wait_for(slots: asyncio.Semaphore) -> None:
    with otel.wait("queue", on="slot"):
        await slots.acquire()
    await asyncio.sleep(0.01)
    slots.release()


def test_parts_of_a_task_that_wait_at_once_leave_it_as_it_is(
    exported: InMemorySpanExporter, changes: list[QueueChange]
) -> None:
    async def main() -> None:
        slots = asyncio.Semaphore(0)
        with otel.task("worker", "a"):
            parts = [asyncio.create_task(_wait_for(slots)) for _ in range(3)]
            await asyncio.sleep(0.01)
            slots.release()
            await asyncio.gather(*parts)

    with otel.run("r"):
        otel.observe_tasks(plan(a=[], b=["a"]))
        asyncio.run(main())
    assert depths(changes) == [
        (1, 0, 1),
        (0, 1, 1),
        (1, 0, 1),  # all parts wait
        (0, 1, 1),  # the first goes on
        (1, 0, 0),  # the task is over
        (0, 0, 0),
    ]


def test_a_wait_that_outlives_its_task_does_not_bring_it_back(
    exported: InMemorySpanExporter, changes: list[QueueChange]
) -> None:
    with otel.run("r"):
        otel.observe_tasks(plan(a=[]))
        with otel.task("worker", "a"):
            waiting = otel.wait("queue")
            inner = otel_context.get_current()
            waiting.__enter__()
            otel_context.attach(inner)
        waiting.__exit__(None, None, None)
    assert depths(changes) == [(1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 0)]


class Refusing(UserDict[str, Any]):
    """A task of the program's that cannot be written to."""

    def __setitem__(self, key: str, item: Any) -> None:
        if key in ("started_at", "duration_seconds"):
            raise TypeError(key)
        super().__setitem__(key, item)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect of ours")


@pytest.mark.parametrize("where", ["the task", "gauges.make", "scheduled", "open_board"])
def test_whatever_fails_when_a_task_begins_its_span_and_its_work_end(
    exported: InMemorySpanExporter,
    changes: list[QueueChange],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    job: Any = Refusing({"id": "a"}) if where == "the task" else {"id": "a"}
    if where == "gauges.make":
        monkeypatch.setattr(gauges, "make", broken)
    elif where == "scheduled":
        monkeypatch.setattr(tasks.QueueBoard, "scheduled", broken)
    elif where == "open_board":
        monkeypatch.setattr(tasks, "open_board", broken)
    # The queue outside of every run, which other tests have begun, stays.
    before = dict(tasks._open), dict(tasks._boards)
    with otel.run("r"), otel.task("worker", job, write_timing=True), otel.wait("queue"):
        pass
    names = [span.name for span in exported.get_finished_spans()]
    assert names == ["wait queue", "task worker", "invoke_workflow r"]
    assert (dict(tasks._open), dict(tasks._boards)) == before
    assert sum(depths(changes)[-1] if changes else ()) == 0


def test_a_wait_whose_task_cannot_be_found_ends(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(tasks, "find_board", broken)
    with otel.wait("queue"):
        pass
    assert [span.name for span in exported.get_finished_spans()] == ["wait queue"]

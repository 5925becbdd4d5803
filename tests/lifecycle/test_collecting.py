"""Generators that nobody can reach any more are closed by the garbage collector, anywhere."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import get_current
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.lifecycle import collecting, spans

from ..sdk.programs import python
from ..trees import attributes_of


@otel.node("decorated")
def decorated() -> Iterator[int]:
    yield from range(2)


def around() -> Iterator[int]:
    with otel.node("around"):
        yield from range(2)


class Left:
    """A generator half-read, in a cycle that holds it."""

    def __init__(self, items: Callable[[], Iterator[int]]) -> None:
        self.items, self.myself = items(), self
        next(self.items)


@pytest.mark.parametrize("items", [decorated, around])
def test_what_the_collector_ends_is_told_at_the_next_span(
    items: Callable[[], Iterator[int]], exported: InMemorySpanExporter
) -> None:
    Left(items)
    before_ns = time.time_ns()
    gc.collect()
    after_ns = time.time_ns()
    assert exported.get_finished_spans() == ()
    with otel.node("next"):
        pass
    left, following = exported.get_finished_spans()
    assert attributes_of(left)["orchestrator.outcome"] == "abandoned"
    assert before_ns <= (left.end_time or 0) <= after_ns + 1_000
    assert following.parent is None, "what has ended is nobody's parent"


def test_a_span_that_a_collected_generator_makes_ends_as_well(
    exported: InMemorySpanExporter,
) -> None:
    def tidying() -> Iterator[int]:
        with otel.node("around"):
            try:
                yield from range(2)
            finally:
                with otel.node("tidying"):
                    pass
                with otel.node("tidied"):
                    pass

    Left(tidying)
    gc.collect()
    with otel.node("next"):
        pass
    names = sorted(span.name for span in exported.get_finished_spans())
    assert names == ["node around", "node next", "node tidied", "node tidying"]


def test_one_late_end_is_not_begun_amid_another(exported: InMemorySpanExporter) -> None:
    outer, inner = (spans.start(name, state="container") for name in ("outer", "inner"))
    order: list[str] = []

    def end_inner() -> None:
        spans.start("told of it", state="container").end()
        order.append("inner")
        inner.end()

    def end_outer() -> None:
        order.append("outer")
        outer.end()

    collecting.end_late(end_inner)
    collecting.end_late(end_outer)
    with otel.node("next"):
        pass
    assert order == ["inner", "outer"]


# The collector comes up after so many allocations, whatever they are for: sooner or later while
# somebody holds a lock.
PROGRAM = """
    import gc
    otel.configure("x", label="y")

    @otel.node("decorated")
    def decorated():
        yield from range(2)

    def around():
        with otel.task("worker", "left"):
            yield from range(2)

    class Left:
        def __init__(self, items):
            self.items, self.myself = items(), self
            next(self.items)

    plan = [{"id": f"t{i}", "status": "planned", "depends_on": []} for i in range(20)]
    for n in range(60):
        gc.set_threshold(5 + 7 * n)
        with otel.run("r"):
            otel.observe_tasks(plan)
            for i in range(5):
                Left(decorated)
                Left(around)
                with otel.task("w", f"t{i}"):
                    pass
    print("done")
"""


def test_no_lock_is_waited_for_that_the_collected_thread_holds(tmp_path: Path) -> None:
    done: Any = python(PROGRAM, tmp_path)
    assert done.stdout == "done\n", done.stderr


def test_what_a_signal_raises_while_garbage_is_collected_is_the_programs(tmp_path: Path) -> None:
    # In a process of its own: Hypothesis has the collector call a function of Python.
    done = python(
        """
        import gc, signal, time

        def raised(*_):
            raise TimeoutError

        with otel.node("n"):
            pass
        heap = [[] for _ in range(1_000_000)]  # so that collecting takes a while
        signal.signal(signal.SIGALRM, raised)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            gc.collect()
            time.sleep(1)
        except TimeoutError:
            print("raised")
        """,
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("raised\n", "")


def test_another_thread_is_not_collecting_while_one_is() -> None:
    told: list[bool] = []

    class Found:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            other = threading.Thread(target=lambda: told.append(collecting.is_collecting()))
            other.start()
            other.join()
            told.append(collecting.is_collecting())

    Found()
    gc.collect()
    assert told == [False, True]
    assert not collecting.is_collecting()


def test_a_coroutine_that_is_collected_changes_no_context_but_its_own(
    exported: InMemorySpanExporter,
) -> None:
    begun: list[asyncio.Task[tuple[object, object]]] = []

    async def started_inside() -> tuple[object, object]:
        await asyncio.sleep(0.01)
        before = get_current()
        gc.collect()
        with otel.node("next"):
            pass
        return before, get_current()

    async def waiting() -> None:
        with otel.node("around"):
            begun.append(loop.create_task(started_inside()))
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    gc.disable()
    try:
        running: list[Any] = [loop.create_task(waiting())]
        while not begun:
            loop.run_until_complete(asyncio.sleep(0))
        running.append(running)
        del running
        before, after = loop.run_until_complete(begun[0])
    finally:
        gc.enable()
        loop.close()
    assert before is after
    around, following = exported.get_finished_spans()
    assert around.name == "node around"
    assert following.parent is not None

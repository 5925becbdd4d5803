"""Tasks that a barrier holds: by whom, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.queue.tasks import subscribe
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of
from .driving import ainvoke, invoke
from .injected import Injector, is_about, waits
from .plans import BOTH, SECONDS, SEED, by_id, fan_out, scheduler

# Clocks are compared to 20 ms. When another program holds the machine for longer than that, it is
# tried again, twice at most.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])


@BOTH
def test_the_seeds_picture_says_who_was_held_by_whom_and_for_how_long(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()

    def work(name: str) -> Any:
        return (injector.apause if is_async else injector.pause)(name, SECONDS[name])

    graph = scheduler(work, is_async=is_async, director_s=0.2)
    (ainvoke if is_async else invoke)(graph, {"out": [], "tasks": SEED}, {"max_concurrency": 3})
    spans = traced.get_finished_spans()
    held = {str(attributes_of(s)[Attr.TASK_ID]): s for s in waits(spans, "held")}
    assert sorted(held) == ["D", "E"]
    for name, dependency in (("D", "A"), ("E", "AC")):
        since = max(injector.of(d)[1] for d in dependency)
        is_about(held[name], (since, injector.of("B")[1]))
        assert attributes_of(held[name])[Attr.WAIT_ON] == "B"
    tasks = by_id(spans, "task worker")
    for name, needs in (("D", "A"), ("E", "AC"), ("F", "B")):
        told = attributes_of(tasks[name])
        assert told[Attr.TASK_DEPENDS_ON] == tuple(needs)
        done = max(injector.of(n)[1] for n in needs)
        instants = [
            (tasks[name].start_time or 0) / 1e9 - told[Attr.TASK_WAITED_CYCLE],
            (tasks[name].start_time or 0) / 1e9
            - told[Attr.TASK_WAITED_CYCLE]
            - told[Attr.TASK_WAITED_HELD],
        ]
        assert abs(instants[0] - injector.of("B")[1] / 1e9) < 0.02, "the barrier"
        assert abs(instants[1] - done / 1e9) < 0.02, "the end of the last dependency"
        assert told[Attr.TASK_WAITED_CYCLE] > 0.2, "the Director came first"
    for name in "ABC":
        told = attributes_of(tasks[name])
        assert told[Attr.TASK_WAITED_DEPENDENCY] == told[Attr.TASK_WAITED_HELD] == 0
    ends = {name: tasks[name].end_time or 0 for name in "ABC"}
    assert max(ends, key=lambda n: ends[n]) == "B", "the straggler's task ends last"


@BOTH
def test_a_subgraph_holds_nobody_and_is_not_in_the_queue(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()
    changes: list[QueueChange] = []
    pause = injector.apause if is_async else injector.pause
    inner = fan_out(lambda name: pause(f"inner {name}", 0.05), "A", "x", is_async=is_async)

    def work(name: str) -> Any:
        if name != "A":
            return pause(name, SECONDS[name] / 2)
        return inner.ainvoke({"out": []}) if is_async else inner.invoke({"out": []})

    unsubscribe = subscribe(changes.append)
    try:
        graph = scheduler(work, is_async=is_async)
        (ainvoke if is_async else invoke)(graph, {"out": [], "tasks": SEED})
    finally:
        unsubscribe()
    spans = traced.get_finished_spans()
    outer = {s.context.span_id for s in spans if s.name == "superstep" and not is_inner(s, spans)}
    assert {s.parent.span_id in outer for s in waits(spans, "held") if s.parent} == {True}
    assert max(change.active for change in changes) == 3


def is_inner(span: ReadableSpan, spans: Any) -> bool:
    by_id = {s.context.span_id: s for s in spans}
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        if span.name == "invoke_workflow fan":
            return True
    return False

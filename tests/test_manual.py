"""Spans by hand: a whole orchestrator without LangGraph, as context managers and decorators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import _guard
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.queue import tasks
from otel_orchestrator.semconv import Attr, Metric

from .trees import attributes_of, tree

WHOLE = """\
invoke_workflow nightly
  loop index=0
    node director
      chat gpt-4o
    task worker id=a
      wait lock
      execute_tool edit
  loop index=1
    node director
      chat gpt-4o
    task worker id=a
      wait lock
      execute_tool edit"""

SHOWN = (Attr.LOOP_INDEX, Attr.TASK_ID)


def test_a_whole_run_with_context_managers(exported: InMemorySpanExporter) -> None:
    with otel.run("nightly"):
        for _ in range(2):
            with otel.loop():
                with otel.node("director"), otel.llm_call("gpt-4o", provider="openai"):
                    pass
                with otel.task("worker", "a"):
                    with otel.wait("lock", on="index"):
                        pass
                    with otel.tool_call("edit"):
                        pass
    assert tree(exported.get_finished_spans(), show=SHOWN, waits=True) == WHOLE


def test_a_whole_run_with_decorators(exported: InMemorySpanExporter) -> None:
    @otel.llm_call("gpt-4o")
    async def ask() -> str:
        return "plan"

    @otel.node("director")
    async def direct() -> str:
        return await ask()

    @otel.tool_call("edit")
    def edit() -> None: ...

    @otel.wait("lock")
    def lock() -> None: ...

    @otel.task("worker", "a")
    async def work() -> AsyncIterator[str]:
        lock()
        yield "locked"
        edit()

    @otel.loop()
    async def turn() -> None:
        assert await direct() == "plan"
        assert [step async for step in work()] == ["locked"]

    @otel.run("nightly")
    async def main() -> None:
        await turn()
        await turn()

    asyncio.run(main())
    assert tree(exported.get_finished_spans(), show=SHOWN, waits=True) == WHOLE


def test_one_object_may_be_entered_by_many_at_once(exported: InMemorySpanExporter) -> None:
    shared = otel.node("shared")

    async def one(i: int) -> None:
        with shared as operation:
            operation.set({"mine": i})
            await asyncio.sleep(0.001 * (5 - i))

    async def all_at_once() -> None:
        await asyncio.gather(*(one(i) for i in range(5)))

    asyncio.run(all_at_once())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: asyncio.run(one(i)), range(5)))
    spans = exported.get_finished_spans()
    assert sorted(attributes_of(s)["mine"] for s in spans) == sorted([*range(5)] * 2)
    assert all(s.parent is None for s in spans)


def test_every_run_has_an_id_and_nested_runs_share_it(exported: InMemorySpanExporter) -> None:
    for _ in range(2):
        with otel.run("outer"), otel.node("n"), otel.run("inner"):
            pass
    ids = [attributes_of(s)[Attr.RUN_ID] for s in exported.get_finished_spans()]
    assert len(set(ids)) == 2
    assert ids[:3] == [ids[0]] * 3


def test_a_run_says_its_conversation_and_limit(exported: InMemorySpanExporter) -> None:
    with otel.run("r", conversation_id="thread", concurrency_limit=4):
        pass
    told = attributes_of(exported.get_finished_spans()[0])
    assert told[Attr.CONVERSATION_ID] == "thread"
    assert told[Attr.CONCURRENCY_LIMIT] == 4
    assert told[Attr.OPERATION] == "invoke_workflow"


def test_task_writes_its_timing_only_when_asked(exported: InMemorySpanExporter) -> None:
    untouched = {"id": "a"}
    with otel.task("worker", untouched):
        pass
    assert untouched == {"id": "a"}
    job: dict[str, Any] = {"id": "b"}
    with pytest.raises(ValueError), otel.task("worker", job, write_timing=True):
        assert datetime.fromisoformat(job["started_at"]).utcoffset() is not None
        raise ValueError
    span = exported.get_finished_spans()[-1]
    assert job["duration_seconds"] == ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def test_writing_timing_without_a_dict_is_a_mistake_that_raises() -> None:
    with pytest.raises(TypeError, match="needs the task's dict"):
        otel.task("worker", "a", write_timing=True)


def test_task_is_active_in_the_queue_while_it_runs(exported: InMemorySpanExporter) -> None:
    plan: list[dict[str, Any]] = [
        {"id": "a", "status": "planned"},
        {"id": "b", "depends_on": ["a"]},
    ]
    seen = []
    stop = tasks.subscribe(lambda c: seen.append((c.ready, c.active, c.waiting)))
    with otel.run("r"):
        otel.observe_tasks(plan)
        with otel.task("worker", plan[0]):
            pass
    stop()
    assert seen == [(1, 0, 1), (0, 1, 1), (1, 0, 0), (0, 0, 0)]


def test_a_task_that_waits_for_a_slot_is_ready_and_not_active(
    exported: InMemorySpanExporter,
) -> None:
    seen = []
    stop = tasks.subscribe(lambda c: seen.append((c.ready, c.active, c.waiting)))
    with otel.run("r"):
        otel.observe_tasks([{"id": "a", "status": "planned"}])
        with otel.task("worker", "a"):
            with otel.wait("queue", on="slot"):
                pass
            with otel.node("worker"), otel.wait("lock"):
                pass
    stop()
    assert seen == [(1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 0)]


def test_usage_is_on_the_span_and_in_the_metric(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    with otel.llm_call("m", provider="p") as call:
        otel.record_usage(call, input_tokens=10, output_tokens=3)
    told = attributes_of(exported.get_finished_spans()[0])
    assert (told[Attr.INPUT_TOKENS], told[Attr.OUTPUT_TOKENS]) == (10, 3)
    data = measured.get_metrics_data()
    assert data is not None
    metrics = {m.name: m for m in data.resource_metrics[0].scope_metrics[0].metrics}
    points = metrics[Metric.TOKEN_USAGE].data.data_points
    sums = {(p.attributes or {})[Attr.TOKEN_TYPE]: p.sum for p in points}  # type: ignore[union-attr]
    assert sums == {"input": 10, "output": 3}
    assert Metric.LLM_DURATION in metrics


def test_a_generator_by_hand_is_attached_only_while_it_produces(
    exported: InMemorySpanExporter,
) -> None:
    @otel.node("produces")
    def produce() -> Iterator[int]:
        with otel.tool_call("inside"):
            yield 1

    for _ in produce():
        with otel.tool_call("outside"):
            pass
    outside = next(s for s in exported.get_finished_spans() if s.name.endswith("outside"))
    assert outside.parent is None or outside.parent.span_id != next(
        s.context.span_id for s in exported.get_finished_spans() if s.name == "node produces"
    )


def test_a_defect_of_ours_in_the_queue_changes_nothing_for_the_program(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(_guard, "strict", False)
    for name in ("started", "ended", "scheduled", "observe"):
        with monkeypatch.context() as patched:
            patched.setattr(tasks.QueueBoard, name, broken)
            with otel.run("r"):
                otel.observe_tasks([{"id": "a"}])
                with otel.task("worker", "a"), otel.wait("queue"):
                    pass


class Failing(SpanProcessor):
    """A user's processor with a defect, which the SDK does not catch."""

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("a defect of the program's")


def test_a_span_processor_that_raises_loses_its_span_and_nothing_else(
    measured: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Failing())
    spans.use_provider(provider)
    job: dict[str, Any] = {"id": "a"}
    try:
        with otel.run("r"):
            otel.observe_tasks([job])
            with otel.task("worker", job, write_timing=True):
                pass
    finally:
        spans.use_provider(None)
    assert job["duration_seconds"] > 0
    assert dict(tasks._open) == {}
    data = measured.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    assert {Metric.TASK_DURATION, Metric.WORKFLOW_DURATION} <= {m.name for m in metrics}

"""The one lifecycle of a span."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext, TraceFlags

from otel_orchestrator import _guard, metrics
from otel_orchestrator.instrumentors import _following
from otel_orchestrator.instrumentors._following import Following
from otel_orchestrator.lifecycle import attaching, collecting, spans, waits
from otel_orchestrator.llm import chat
from otel_orchestrator.semconv import Attr, Metric

from ..trees import attributes_of, tree
from .work import (
    KINDS,
    Interrupt,
    begin,
    inner_span,
)


def test_an_operation_ends_once(exported: InMemorySpanExporter) -> None:
    operation = begin()
    operation.end("interrupted")
    first = operation.end_ns
    operation.fail(ValueError())
    assert operation.end_ns == first
    assert tree(exported.get_finished_spans()) == "outer [interrupted]"


def test_a_broken_provider_costs_spans_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def start_span(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError

    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(spans, "_tracer", Broken())
    for kind in KINDS.values():
        assert kind(None) == "result"


def test_a_provider_of_metrics_that_is_given_up_is_kept_by_nobody() -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    metrics.use_provider(provider)
    assert metrics.are_heard()
    provider.shutdown()
    kept = weakref.ref(provider)
    metrics.use_provider(None)
    del provider
    gc.collect()
    assert kept() is None


def test_a_small_step_back_of_the_clock_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    later = spans.now_ns() + 10_000_000_000
    told = [later, later - 500_000_000, later + 1, later - 3_600_000_000_000, later + 2]
    instants = iter(told)
    monkeypatch.setattr("time.time_ns", lambda: next(instants))
    monkeypatch.setattr(spans, "_latest_ns", 0)
    # A clock that is set right by an hour was wrong: to stand still for an hour would be worse.
    expected = [later, later, later + 1, later - 3_600_000_000_000, later + 2]
    assert [spans.now_ns() for _ in told] == expected


def test_a_duration_is_measured_with_its_error_type(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    for error in (None, ValueError(), Interrupt()):
        operation = spans.start(
            "node a",
            state="working",
            metric=Metric.NODE_DURATION,
            measured={Attr.NODE_NAME: "a"},
        )
        if error is None:
            operation.end(end_ns=operation.start_ns + 1_500_000_000)
        else:
            operation.fail(error)
    data = measured.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    points = {p.attributes.get(Attr.ERROR_TYPE): p for p in metric.data.data_points}  # type: ignore[union-attr]
    assert metric.name == Metric.NODE_DURATION
    assert metric.unit == "s"
    assert points["ValueError"].count == 1  # type: ignore[union-attr]
    assert points[None].count == 2  # type: ignore[union-attr]
    assert points[None].explicit_bounds[-1] == 7200  # type: ignore[union-attr]


def test_spans_of_threads_nest_where_the_context_is_carried(
    exported: InMemorySpanExporter,
) -> None:
    operation = begin()
    thread = threading.Thread(target=lambda: _inside(operation))
    thread.start()
    thread.join()
    operation.end()
    assert tree(exported.get_finished_spans()) == "outer\n  inner"


def _inside(operation: spans.Operation) -> None:
    before = attaching.enter(operation.context)
    inner_span()
    attaching.leave(operation.context, before)


def test_the_state_and_the_category_are_on_every_span(exported: InMemorySpanExporter) -> None:
    begin().end()
    (span,) = exported.get_finished_spans()
    told = attributes_of(span)
    assert (told[Attr.STATE], told[Attr.CATEGORY], told[Attr.OUTCOME]) == (
        "working",
        "compute",
        "ok",
    )


class Asked(Sampler):
    """Leaves everything out, and counts how often it is asked."""

    def __init__(self, decision: Decision = Decision.DROP) -> None:
        self.names: list[str] = []
        self._decision = decision

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any
    ) -> SamplingResult:
        self.names.append(name)
        return SamplingResult(self._decision)

    def get_description(self) -> str:
        return "Asked"


@pytest.mark.parametrize(
    ("decision", "asked"),
    [
        (Decision.DROP, ["node a"]),
        (Decision.RECORD_ONLY, ["node a", "node b"]),
        (Decision.RECORD_AND_SAMPLE, ["node a", "node b"]),
    ],
)
def test_nothing_is_made_below_a_span_that_is_left_out(
    decision: Decision, asked: list[str]
) -> None:
    sampler = Asked(decision)
    spans.use_provider(TracerProvider(sampler=sampler, shutdown_on_exit=False))
    try:
        with (
            spans.start("node a", state="working") as above,
            spans.start("node b", state="working") as below,
        ):
            pass
        assert sampler.names == asked
        assert below.span.is_recording() is False
        assert below.end_ns >= below.start_ns >= above.start_ns
    finally:
        spans.use_provider(None)


def test_what_another_process_left_out_is_for_the_sampler_to_say() -> None:
    sampler = Asked(Decision.RECORD_AND_SAMPLE)
    spans.use_provider(TracerProvider(sampler=sampler, shutdown_on_exit=False))
    elsewhere = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(elsewhere), Context())
    try:
        spans.start("node a", state="working", parent=parent).end()
        assert sampler.names == ["node a"]
    finally:
        spans.use_provider(None)


def test_a_forked_child_that_unwinds_tells_nothing_of_what_its_parent_has_open(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    def told() -> list[str]:
        data = measured.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else ()
        return [s.name for s in exported.get_finished_spans()] + [m.name for m in metrics]

    def foreign_call() -> chat.ChatCall:
        call = chat.ChatCall(trace.INVALID_SPAN, Context(), 1)
        call.is_foreign, call.usage = True, {Attr.INPUT_TOKENS: 1}
        return call

    ended: list[Any] = []
    late = spans.start("late", state="working")
    stream = Following(foreign_call(), SimpleNamespace(headers={}), print, print)
    _following._open.add(stream)
    out, into = os.pipe()
    try:
        with begin() as outer:
            outer.on_end = ended.append
            outer._metric = Metric.NODE_DURATION
            collecting.end_late(late.end)
            if (child := os.fork()) == 0:
                sys.exit()
    except SystemExit:
        try:
            assert outer.end_ns
            begin().end()
            waits.record("barrier", outer.start_ns, outer.end_ns + 10**9, parent=outer)
            _following._lose_open_ones()
            os.write(into, f"{told()} {len(ended)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(out, 1000).decode() == "['outer'] 0", "but for its own"
    stream.lost()
    assert set(told()) == {"late", "outer", Metric.NODE_DURATION, Metric.TOKEN_USAGE}
    assert ended == [outer]
    os.close(out)
    os.close(into)

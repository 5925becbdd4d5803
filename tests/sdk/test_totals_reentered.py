"""The garbage collector may end a span wherever Python calls something: also within RunTotals."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_orchestrator import metrics, semconv
from otel_orchestrator.sdk import run_totals
from otel_orchestrator.sdk.run_totals import RunTotals
from otel_orchestrator.semconv import Attr, Metric

S: Final = 1_000_000_000
RUN: Final = 1
RESOURCE: Final = Resource({})


def _span(span_id: int, name: str, seconds: int, **attributes: Any) -> ReadableSpan:
    return ReadableSpan(
        name,
        SpanContext(1, span_id, False, TraceFlags(1)),
        resource=RESOURCE,
        attributes={Attr.RUN_ID: "r", **attributes},
        start_time=S,
        end_time=S + seconds * S,
    )


def _called(span_id: int, seconds: int) -> ReadableSpan:
    """An LLM call of a kind that touches every sum there is, as no real span does."""
    told: dict[str, Any] = {
        Attr.STATE: semconv.WORKING,
        Attr.CATEGORY: semconv.LLM,
        Attr.INPUT_TOKENS: 10,
        Attr.OUTPUT_TOKENS: 1,
        Attr.SHORT_WAIT + "mine": 0.5,
        Attr.SHORT_WAIT + semconv.QUEUE: 0.25,
        Attr.TASK_ID: f"t{span_id}",
        Attr.TASK_WAITED_DEPENDENCY: 2.0,
    }
    return _span(span_id, "task t", seconds, **told)


class Calls:
    """Does something at the n-th call or return within `run_totals`, as a collection would."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self._at, self._act = at, act
        self.count = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if frame.f_code.co_filename == run_totals.__file__:
            self.count += 1
            if self.count == self._at:
                self._act()


def _told(monkeypatch: pytest.MonkeyPatch, at: int) -> tuple[dict[tuple[str, str], float], bool]:
    """End one span within the end of another, at the n-th occasion; the gauges, and whether."""
    gauges: dict[tuple[str, str], float] = {}

    def set_gauge(name: str, value: float, attributes: Any) -> None:
        what = attributes.get(Attr.CATEGORY) or attributes.get(Attr.TOKEN_TYPE) or ""
        gauges[name, what] = value

    monkeypatch.setattr(metrics, "set_gauge", set_gauge)
    totals = RunTotals("label")
    totals._open["r"] = run_totals._Totals(RUN)
    calls = Calls(at, lambda: totals.on_end(_called(3, 2)))

    def end() -> None:
        outer = _called(2, 3)
        sys.setprofile(calls)
        totals.on_end(outer)
        sys.setprofile(None)
        if calls.count < at:
            totals.on_end(_called(3, 2))
        totals.on_end(_span(RUN, "invoke_workflow g", 10))

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), f"hangs for good where a span ends at occasion {at}"
    return gauges, calls.count >= at


def test_a_span_that_ends_within_the_end_of_another_counts_and_so_does_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at, is_within = 1, True
    while is_within:
        gauges, is_within = _told(monkeypatch, at)
        assert gauges[Metric.RUN_WORK, semconv.LLM] == 5, at
        assert gauges[Metric.RUN_LLM_CALLS, ""] == 2, at
        assert gauges[Metric.RUN_TASKS, ""] == 2, at
        assert gauges[Metric.RUN_TOKENS, "input"] == 20, at
        assert gauges[Metric.RUN_TOKENS, "output"] == 2, at
        assert gauges[Metric.RUN_WAIT, "mine"] == 1, at
        assert gauges[Metric.RUN_WAIT, semconv.QUEUE] == 0.5, at
        assert gauges[Metric.RUN_WAIT, semconv.DEPENDENCY] == 4, at
        at += 1
    assert at > 20, "there are many such occasions"

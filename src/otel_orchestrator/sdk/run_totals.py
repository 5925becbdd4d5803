"""Runs as a whole: how many are open, and what each came to at its end.

Both are gauges. The first is a heartbeat. The others are written once, when a run that has a label
ends, so that runs can be compared on a dashboard: each carries the run's label, name, id and
outcome. They are sums over the run's spans as they end, nothing is worked out: what a run could
have been faster by, and whether a difference is noise, the command line says.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace as trace_api
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Observation
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.util.types import AttributeValue

from .. import metrics, runs, semconv
from .._guard import guarded
from ..semconv import Attr, Metric

_WORK: Final = (semconv.LLM, semconv.GIT, semconv.TOOL)
# Zeros, too: else the median over runs would be that of those which waited.
_WAITS: Final = (
    semconv.DEPENDENCY,
    semconv.HELD,
    semconv.CYCLE,
    semconv.QUEUE,
    semconv.BARRIER,
    semconv.CHECKPOINT,
    semconv.CONSUMER,
    semconv.POOL,
    semconv.RATE_LIMIT,
    semconv.RETRY_BACKOFF,
)
_WAITED_BEFORE: Final = {
    Attr.TASK_WAITED_DEPENDENCY: semconv.DEPENDENCY,
    Attr.TASK_WAITED_HELD: semconv.HELD,
    Attr.TASK_WAITED_CYCLE: semconv.CYCLE,
}
_TOKENS: Final = {Attr.INPUT_TOKENS: "input", Attr.OUTPUT_TOKENS: "output"}
_CATEGORIES_AT_MOST: Final = 50

_Attributes = Mapping[str, AttributeValue]


class RunTotals(SpanProcessor):
    """Counts the open runs, and adds up what each of them does.

    Args:
        label: `orchestrator.run.label` of this process's runs; without one nothing is added up.
    """

    def __init__(self, label: str | None) -> None:
        self._label = label
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        # In a forked child as well: what is open is the parent's, which adds it up.
        # The garbage collector may end a span, as of a stream that was dropped, within `add()` of
        # another one in the same thread: so it may be taken again, and `_Totals` is fit for that.
        self._lock = threading.RLock()
        self._open: dict[str, _Totals] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count a span that begins a run."""
        with guarded("counting the active runs"):
            attributes = span.attributes or {}
            run_id = attributes.get(Attr.RUN_ID)
            above = getattr(trace_api.get_current_span(parent_context), "attributes", None) or {}
            if isinstance(run_id, str) and above.get(Attr.RUN_ID) != run_id:
                if attributes.get(Attr.STATE) == semconv.WAITING:
                    return  # how long an interrupted run waited, told below its span of long ago
                context = get_current() if parent_context is None else parent_context
                if runs.is_opened_elsewhere(context):
                    return  # whoever opened it adds it up
                self._open.setdefault(run_id, _Totals(span.get_span_context().span_id))

    def on_end(self, span: ReadableSpan) -> None:
        """Add a span to its run; if it is the run's own, the run is over."""
        with guarded("adding up a run"):
            attributes = span.attributes or {}
            run_id = attributes.get(Attr.RUN_ID)
            totals = self._open.get(run_id) if isinstance(run_id, str) else None
            if totals is None or span.context is None:
                return
            if self._label is not None:
                with self._lock:
                    totals.add(span, attributes)
            if span.context.span_id == totals.span_id:
                del self._open[str(run_id)]
                if self._label is not None:
                    name = attributes.get(Attr.WORKFLOW_NAME) or attributes.get(Attr.AGENT_NAME)
                    totals.tell(
                        _seconds(span),
                        {
                            Attr.RUN_LABEL: self._label,
                            Attr.RUN_ID: str(run_id),
                            Attr.WORKFLOW_NAME: name or span.name,
                            Attr.OUTCOME: attributes.get(Attr.OUTCOME, semconv.OK),
                        },
                    )

    def register(self) -> None:
        """Make the gauge of open runs, once there is a provider for it."""
        metrics.meter().create_observable_gauge(
            Metric.RUN_ACTIVE,
            [lambda _: [Observation(len(self._open))]],
            unit="{run}",
            description="Runs that are open in this process; 0 at a clean end.",
        )


def _is_part(attributes: _Attributes) -> bool:
    """Whether another span counts for this one: its LLM call's, or its git command's."""
    return semconv.is_attempt(attributes) or Attr.GIT_PART in attributes


class _Totals:
    """What one run has come to so far, in seconds by category.

    `add()` may begin anew within itself, where the garbage collector ends another span. It runs
    only where something is called or a container is made. So no sum is read and written with such
    a thing in between: `sums[key] += number`, of what was worked out before, is whole.
    """

    def __init__(self, span_id: int) -> None:
        self.span_id = span_id
        self._worked: dict[str, float] = dict.fromkeys(_WORK, 0.0)
        self._waited: dict[str, float] = dict.fromkeys(_WAITS, 0.0)
        self._tokens: dict[str, int] = dict.fromkeys(_TOKENS.values(), 0)
        self._llm_calls = 0
        self._task_spans = 0
        self._task_ids: set[AttributeValue] = set()

    def add(self, span: ReadableSpan, attributes: _Attributes) -> None:
        state, category = attributes.get(Attr.STATE), str(attributes.get(Attr.CATEGORY))
        if state == semconv.WAITING:
            # That a task was held, its own attribute counts; a person's time is outside of a run.
            is_beside = category == semconv.HELD and Attr.TASK_ID in attributes
            if category != semconv.HUMAN and not is_beside:
                self._wait(category, _seconds(span))
        elif category in _WORK and not _is_part(attributes):
            seconds = _seconds(span)
            self._worked[category] += seconds
            if category == semconv.LLM:
                self._llm_call(attributes)
        for key, value in attributes.items():
            _, is_short_wait, short = key.partition(Attr.SHORT_WAIT)
            if is_short_wait and short != semconv.HELD and isinstance(value, float):
                self._wait(short, value)
        self._task(span.name.partition(" ")[0], attributes)

    def _llm_call(self, attributes: _Attributes) -> None:
        if Attr.LLM_CACHED not in attributes:
            self._llm_calls += 1
        for key, kind in _TOKENS.items():
            tokens = attributes.get(key)
            if isinstance(tokens, int):
                self._tokens[kind] += tokens

    def _task(self, operation: str, attributes: _Attributes) -> None:
        if operation not in (semconv.TASK, semconv.NODE):
            return
        if operation == semconv.TASK:
            self._task_spans += 1
        if (task_id := attributes.get(Attr.TASK_ID)) is not None:
            self._task_ids.add(task_id)
        if Attr.NODE_ATTEMPT in attributes:
            return  # the first attempt has said how long it waited before
        for key, category in _WAITED_BEFORE.items():
            if isinstance(seconds := attributes.get(key), float) and seconds:
                self._wait(category, seconds)

    def _wait(self, category: str, seconds: float) -> None:
        if category not in self._waited:
            if len(self._waited) >= _CATEGORIES_AT_MOST:
                return
            self._waited.setdefault(category, 0.0)
        self._waited[category] += seconds

    def tell(self, wall_s: float, attributes: _Attributes) -> None:
        """Write it all into gauges."""
        metrics.set_gauge(Metric.RUN_DURATION, wall_s, attributes)
        metrics.set_gauge(Metric.RUN_TASKS, len(self._task_ids) or self._task_spans, attributes)
        metrics.set_gauge(Metric.RUN_LLM_CALLS, self._llm_calls, attributes)
        for name, key, values in (
            (Metric.RUN_WORK, Attr.CATEGORY, self._worked),
            (Metric.RUN_WAIT, Attr.CATEGORY, self._waited),
            (Metric.RUN_TOKENS, Attr.TOKEN_TYPE, self._tokens),
        ):
            for what, value in values.items():
                metrics.set_gauge(name, value, {**attributes, key: what})


def _seconds(span: ReadableSpan) -> float:
    return max(0, (span.end_time or 0) - (span.start_time or 0)) / 1e9

"""Waits: each a span with a reason, or, if it is too short to be worth one, a sum on its parent.

    record("barrier", task_ended_ns, barrier_ns, parent=task, on="b")

Either way it counts in `orchestrator.wait.duration`, so that histograms and spans tell the same.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context

from .. import metrics, semconv
from .._guard import guarded
from ..semconv import Attr, Metric
from . import spans
from .collecting import end_late, is_collecting
from .spans import Attributes, Operation

DEFAULT_THRESHOLD_NS: Final = 1_000_000

_threshold_ns = DEFAULT_THRESHOLD_NS


def set_threshold(threshold_ns: int) -> None:
    """Say how long a wait has to be for a span of its own."""
    global _threshold_ns  # noqa: PLW0603 - one lifecycle for the process
    _threshold_ns = threshold_ns


def record(
    category: str,
    start_ns: int,
    end_ns: int,
    *,
    parent: Operation,
    on: str | None = None,
    attributes: Attributes | None = None,
) -> None:
    """Record a wait that is over.

    Args:
        category: what kind of wait, one of a few words.
        start_ns, end_ns: wall clock; nothing is recorded for an empty wait.
        parent: the open operation that waited; the parent process tells of what was forked.
        on: what it waited for.
        attributes: further ones for the span.
    """
    if end_ns <= start_ns or parent.is_inherited:
        return
    if is_collecting():  # of what the collector has closed while it waited
        end_late(
            partial(record, category, start_ns, end_ns, parent=parent, on=on, attributes=attributes)
        )
        return
    if end_ns - start_ns < _threshold_ns:
        parent.add_short_wait(category, end_ns - start_ns)
        measure(category, end_ns - start_ns, parent.context)
        return
    record_span(
        category, start_ns, end_ns, parent=parent.context, on=on, attributes=attributes or {}
    )


def record_in(
    context: Context, category: str, start_ns: int, end_ns: int, *, on: str | None = None
) -> None:
    """Record a wait below the span of `context`; where there is none, it says nothing to anybody.

    Args:
        context: where something waited of which we have no operation: a short wait is only counted.
        category: what kind of wait, one of a few words.
        start_ns, end_ns: wall clock, between what was there before and what goes on.
        on: what it waited for.
    """
    if trace.get_current_span(context).get_span_context().is_valid:
        start_ns, end_ns = start_ns + spans.GAP_NS, end_ns - spans.GAP_NS
        record(category, start_ns, end_ns, parent=spans.nothing(context), on=on)


def record_span(
    category: str,
    start_ns: int,
    end_ns: int,
    *,
    parent: Context,
    on: str | None = None,
    attributes: Attributes,
) -> None:
    """Record a wait as a span, however short."""
    values = dict(attributes)
    if on is not None:
        values[Attr.WAIT_ON] = on
    spans.start(
        f"{semconv.WAIT} {category}",
        state=semconv.WAITING,
        category=category,
        parent=parent,
        attributes=values,
        start_ns=start_ns,
        metric=Metric.WAIT_DURATION,
        measured={Attr.CATEGORY: category},
    ).end(end_ns=end_ns)


def measure(category: str, duration_ns: int, context: Context) -> None:
    """Count a wait that has no span in the histogram of waits."""
    with guarded("measuring a wait"):
        metrics.record(Metric.WAIT_DURATION, duration_ns / 1e9, {Attr.CATEGORY: category}, context)

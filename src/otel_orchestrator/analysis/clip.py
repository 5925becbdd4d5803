"""Spans cut to their parents, and what each counts as.

A skewed clock moves no time to where it cannot have been: every interval is clipped to that of its
parent, and what lies wholly outside of its parent does not count. A span without an end ends with
its parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .. import semconv
from ..model import Span
from ..semconv import Attr
from .intervals import Interval

Key = tuple[str, str]
"""What time counts as: `working`, `waiting` or `idle`, and the category."""

_LLM: Final = (semconv.WORKING, semconv.LLM)
_FRAMEWORK: Final = (semconv.WORKING, semconv.FRAMEWORK)


@dataclass(frozen=True, slots=True)
class Clipped:
    """What is below a root.

    Attributes:
        inside: the children of each span that ran within it, by its id.
        intervals: when each span ran, within its parents; without those outside.
        keys: what each of them counts as where no child of it runs.
        short: waits too short for a span, by the span whose time they are taken from.
    """

    inside: dict[str, tuple[Span, ...]]
    intervals: dict[str, Interval]
    keys: dict[str, Key]
    short: dict[str, tuple[tuple[str, int], ...]]


def clip(root: Span, below: Mapping[str, tuple[Span, ...]], end_ns: int) -> Clipped:
    """Clip everything below a root, which ends at `end_ns` if it has no end of its own."""
    found = Clipped({}, {}, {}, {})
    whole = (root.start_ns, max(root.start_ns, end_ns if root.end_ns is None else root.end_ns))
    _note(found, root, whole, is_in_llm=False, is_in_node=False)
    stack = [(root, False, False)]
    while stack:
        span, is_in_llm, is_in_node = stack.pop()
        span_id = span.span_id
        earliest, latest = found.intervals[span_id]
        is_in_llm = is_in_llm or found.keys[span_id] == _LLM
        is_in_node = is_in_node or span.operation == semconv.NODE
        children, kept = below.get(span_id, ()), []
        for child in children:
            start, end = max(child.start_ns, earliest), latest
            if child.end_ns is not None and child.end_ns < latest:
                end = child.end_ns
            if start <= end and not (child.category == semconv.HELD and _is_beside(child)):
                kept.append(child)
                _note(found, child, (start, end), is_in_llm, is_in_node)
                if child.span_id in below:
                    stack.append((child, is_in_llm, is_in_node))
        if kept:
            found.inside[span_id] = tuple(kept) if len(kept) < len(children) else children
    return found


def _note(
    found: Clipped, span: Span, interval: Interval, is_in_llm: bool, is_in_node: bool
) -> None:
    span_id = span.span_id
    found.intervals[span_id] = interval
    found.keys[span_id] = _key(span, is_in_llm, is_in_node)
    # All names at once: asking each name of each span takes longer than everything else here.
    if Attr.SHORT_WAIT in "".join(span.attributes) and (waits := _short_waits(span)):
        found.short[span_id] = waits


def _is_beside(span: Span) -> bool:
    """Whether a span only shows that a task was held: it waits for this superstep, beside it, and
    the task's own attributes count the wait."""
    is_held = span.category == semconv.HELD and span.state == semconv.WAITING
    return is_held and span.text(Attr.TASK_ID) is not None


def _key(span: Span, is_in_llm: bool, is_in_node: bool) -> Key:
    state, category = span.state, span.category
    if state == semconv.WAITING:
        return _one(semconv.WAITING, category or span.name.partition(" ")[2] or "unknown")
    if state == semconv.CONTAINER or not (state or category):
        operation = span.operation
        is_in_node |= operation in (semconv.NODE, semconv.INVOKE_AGENT)
        if operation in (semconv.LOOP, semconv.SUPERSTEP, semconv.TASK) or not is_in_node:
            return _FRAMEWORK
        return _one(semconv.WORKING, category or semconv.COMPUTE)
    category = category or semconv.COMPUTE
    if category == semconv.HTTP and is_in_llm:
        return _LLM
    return _one(semconv.WORKING, category)


@lru_cache(maxsize=256)
def _one(state: str, category: str) -> Key:
    # The same object for all spans: a run has few keys, and many spans.
    return state, category


def _short_waits(span: Span) -> tuple[tuple[str, int], ...]:
    prefix = Attr.SHORT_WAIT
    waits = (
        (key.removeprefix(prefix), seconds_to_ns(value))
        for key, value in span.attributes.items()
        if key.startswith(prefix)
    )
    # A task that is held waits beside the superstep: its time is not the superstep's.
    return tuple(sorted((c, ns) for c, ns in waits if ns and c not in ("", semconv.HELD)))


def seconds_to_ns(value: object) -> int:
    """Return seconds as whole nanoseconds; 0 for what is no number, or less than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        return 0
    return round(value * 1e9)

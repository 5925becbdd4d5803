"""Spans cut to their parents, and what each counts as.

A skewed clock moves no time to where it cannot have been: every interval is clipped to that of its
parent, and what lies wholly outside of its parent does not count. A span without an end ends with
its parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from .. import semconv
from ..model import Attributes, Span
from ..semconv import Attr
from .intervals import Interval

Key = tuple[str, str]
"""What time counts as: `working`, `waiting` or `idle`, and the category."""

_LLM: Final = (semconv.WORKING, semconv.LLM)
_FRAMEWORK: Final = (semconv.WORKING, semconv.FRAMEWORK)
_QUEUED: Final = (semconv.WAITING, semconv.QUEUE)
_PLAIN: Final = (semconv.WORKING, semconv.WAITING)
_SHORT_WAIT: Final = Attr.SHORT_WAIT


class Ran(Struct, eq=False, gc=False, array_like=True):
    """A span as it counts. Not changed any more once everything is clipped.

    Attributes:
        span: what was recorded.
        start_ns, end_ns: when it ran, within its parents.
        key: what it counts as where no child of it runs.
        short: waits too short for a span, which are taken from its time.
        inside: its children that ran within it, by start.
    """

    # One object instead of entries in several dictionaries: a run of a million spans is walked over
    # and over, and each look into so large a dictionary waits for the memory.
    span: Span
    start_ns: int
    end_ns: int
    key: Key
    short: tuple[tuple[str, int], ...] = ()
    inside: tuple[Ran, ...] = ()

    @property
    def interval(self) -> Interval:
        """When it ran."""
        return self.start_ns, self.end_ns

    @property
    def took_ns(self) -> int:
        """How long it ran."""
        return self.end_ns - self.start_ns


def clip(root: Span, below: Mapping[str, tuple[Span, ...]], end_ns: int) -> tuple[Ran, ...]:
    """Clip everything below a root, which ends at `end_ns` if it has no end of its own.

    Returns:
        The root and all that ran below it, parents first.
    """
    end_ns = max(root.start_ns, end_ns if root.end_ns is None else root.end_ns)
    top = Ran(root, root.start_ns, end_ns, _key(root, False, False), _short_waits(root.attributes))
    everything = [top]
    stack = [(top, False, False)]
    while stack:
        ran, is_in_llm, is_in_node = stack.pop()
        earliest, latest = ran.start_ns, ran.end_ns
        operation = ran.span.operation
        is_in_llm = is_in_llm or ran.key == _LLM
        is_in_node = is_in_node or operation == semconv.NODE
        kept = []
        for child in below.get(ran.span.span_id, ()):
            start, end = child.start_ns, child.end_ns
            # Not `max`, here and in `exclusive`: a call for each span is much of the time.
            start = start if start > earliest else earliest
            end = latest if end is None or end > latest else end
            if start > end or (child.category == semconv.HELD and _is_beside(child)):
                continue
            state, category = child.state, child.category
            if category and category != semconv.HTTP and state in _PLAIN:  # as nearly all are
                key = _one(state, category)
            else:
                key = _key(child, is_in_llm, is_in_node)
            found = Ran(child, start, end, key, _short_waits(child.attributes))
            kept.append(found)
            if child.span_id in below:
                stack.append((found, is_in_llm, is_in_node))
            elif operation == semconv.SUPERSTEP and _is_left_over(found):
                found.key = _QUEUED
        if kept:
            ran.inside = tuple(kept)
            everything += kept
    return tuple(everything)


def never_started(task: Ran) -> bool:
    """Whether a superstep's task was still waiting for a slot when everything ended."""
    return task.span.operation == semconv.TASK and task.key == _QUEUED


def _is_left_over(leaf: Ran) -> bool:
    """Whether a superstep broke off before this task of it started.

    Its wait is written when its node starts, so of one that was killed or cancelled before that
    there is nothing below its span, neither a node nor a wait.
    """
    span = leaf.span
    is_cut = span.never_ended or span.outcome in (semconv.CANCELLED, semconv.INTERRUPTED)
    return is_cut and span.operation == semconv.TASK and not leaf.short


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


def _short_waits(attributes: Attributes) -> tuple[tuple[str, int], ...]:
    # All names at once: asking each name of each span takes longer than everything else here.
    if _SHORT_WAIT not in "".join(attributes):
        return ()
    waits = (
        (key.removeprefix(_SHORT_WAIT), seconds_to_ns(value))
        for key, value in attributes.items()
        if key.startswith(_SHORT_WAIT)
    )
    # A task that is held waits beside the superstep: its time is not the superstep's.
    return tuple(sorted((c, ns) for c, ns in waits if ns and c not in ("", semconv.HELD)))


def seconds_to_ns(value: object) -> int:
    """Return seconds as whole nanoseconds; 0 for what is no number, or less than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        return 0
    return round(value * 1e9)

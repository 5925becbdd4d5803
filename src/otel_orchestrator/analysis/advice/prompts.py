"""Calls that ask a model the same: what a cache could have answered.

first    ├─────────┤ answered
second        ├─────────┤                asked meanwhile: a cache has no answer yet
third               ├─────────┤          repeated: a cache answers at once
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ...model import Span
from ...semconv import OK, Attr
from ..groups import grouped
from ..intervals import Interval

# What a cache looks at besides the prompt, as far as it is recorded.
_SAME: Final = (
    Attr.PROMPT_HASH,
    Attr.REQUEST_MODEL,
    Attr.REQUEST_MAX_TOKENS,
    Attr.REQUEST_TEMPERATURE,
    Attr.REQUEST_TOP_P,
)


@dataclass(frozen=True, slots=True)
class EqualPrompts:
    """The calls that ask one model one thing.

    Attributes:
        calls: all of them, by start.
        repeated: those that were made when an earlier one had been answered.
        meanwhile: those that were made while an earlier one was being answered.
    """

    calls: tuple[Span, ...]
    repeated: tuple[Span, ...]
    meanwhile: tuple[Span, ...]


def equal_prompts(
    calls: Iterable[Span], interval: Callable[[Span], Interval]
) -> tuple[EqualPrompts, ...]:
    """Return the prompts that were asked more than once.

    A call without a hash of its prompt, or out of a cache already, belongs to none. Only a call
    that ended well has an answer to be used again.

    Args:
        calls: LLM calls.
        interval: when each of them ran.
    """
    asked = [
        c for c in calls if Attr.PROMPT_HASH in c.attributes and Attr.LLM_CACHED not in c.attributes
    ]
    asked.sort(key=lambda c: (interval(c), c.span_id))
    alike = grouped(asked, lambda c: tuple(map(c.attributes.get, _SAME)))
    return tuple(_group(group, interval) for group in alike.values() if len(group) > 1)


def _group(calls: list[Span], interval: Callable[[Span], Interval]) -> EqualPrompts:
    repeated: list[Span] = []
    meanwhile: list[Span] = []
    answered_ns: int | None = None
    for call in calls:
        start, end = interval(call)
        if answered_ns is not None:
            (repeated if answered_ns <= start else meanwhile).append(call)
        if call.outcome == OK:
            answered_ns = end if answered_ns is None else min(answered_ns, end)
    return EqualPrompts(tuple(calls), tuple(repeated), tuple(meanwhile))

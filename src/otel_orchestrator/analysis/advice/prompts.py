"""Calls that ask a model the same: what a cache could have answered.

first    ├─────────┤ answered
second        ├─────────┤                asked meanwhile: a cache has no answer yet
third               ├─────────┤          repeated: a cache answers at once
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from ...model import Span
from ...semconv import OK, Attr
from ..intervals import Interval

# What a cache looks at besides the prompt, as far as it is recorded.
_SAME: Final = (
    Attr.PROMPT_HASH,
    Attr.REQUEST_MODEL,
    Attr.REQUEST_MAX_TOKENS,
    Attr.REQUEST_TEMPERATURE,
    Attr.REQUEST_TOP_P,
)

_Asked = tuple[Interval, str, Span]
"""A call with when it ran and its id."""


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
    alike: defaultdict[Hashable, list[_Asked]] = defaultdict(list)
    for call in calls:
        attributes = call.attributes
        if Attr.PROMPT_HASH in attributes and Attr.LLM_CACHED not in attributes:
            asked = tuple(map(attributes.get, _SAME))
            alike[asked].append((interval(call), call.span_id, call))
    return tuple(_group(group) for group in alike.values() if len(group) > 1)


def _group(asked: list[_Asked]) -> EqualPrompts:
    asked.sort(key=itemgetter(0, 1))
    repeated: list[Span] = []
    meanwhile: list[Span] = []
    answered_ns: int | None = None
    for (start, end), _, call in asked:
        if answered_ns is not None:
            (repeated if answered_ns <= start else meanwhile).append(call)
        if (answered_ns is None or end < answered_ns) and call.outcome == OK:
            answered_ns = end
    return EqualPrompts(tuple([c for _, _, c in asked]), tuple(repeated), tuple(meanwhile))

"""Calls that ask a model the same: what a cache could have answered.

first    ├─────────┤ answered
second        ├─────────┤                asked meanwhile: a cache has no answer yet
third               ├─────────┤          repeated: a cache answers at once
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Generic, TypeVar, cast

from msgspec import Struct

from ..model import Span
from ..semconv import OK, Attr

# What a cache looks at besides the prompt, as far as it is recorded.
_SAME: Final = (
    Attr.PROMPT_HASH,
    Attr.REQUEST_MODEL,
    Attr.REQUEST_MAX_TOKENS,
    Attr.REQUEST_TEMPERATURE,
    Attr.REQUEST_TOP_P,
)

Same = tuple[str | bool | int | float | None, ...]
"""Equal for calls that a cache takes for the same: the prompt's hash, the model, and so on."""


class Asked(Struct, frozen=True, gc=False, array_like=True):
    """An LLM call of whose prompt there is a hash, and that did not come out of a cache.

    Attributes:
        start_ns, end_ns: when it ran.
        same: what a cache looks at.
        is_answered: it ended well, so that its answer can be used again.
    """

    span_id: str
    start_ns: int
    end_ns: int
    same: Same
    is_answered: bool

    @property
    def took_ns(self) -> int:
        """How long it ran."""
        return self.end_ns - self.start_ns if self.end_ns > self.start_ns else 0


_Asked = TypeVar("_Asked", bound=Asked)
_in_order = attrgetter("start_ns", "end_ns", "span_id")


@dataclass(frozen=True, slots=True)
class EqualPrompts(Generic[_Asked]):
    """The calls that ask one model one thing.

    Attributes:
        calls: all of them, by start.
        repeated: those that were made when an earlier one had been answered.
        meanwhile: those that were made while an earlier one was being answered.
    """

    calls: tuple[_Asked, ...]
    repeated: tuple[_Asked, ...]
    meanwhile: tuple[_Asked, ...]


def asked_of(call: Span, start_ns: int, end_ns: int) -> Asked | None:
    """Return what an LLM call asked; None without a hash of it, or out of a cache already.

    Args:
        call: an LLM call.
        start_ns, end_ns: when it ran, as far as it counts.
    """
    same = same_of(call)
    return Asked(call.span_id, start_ns, end_ns, same, call.outcome == OK) if same else None


def same_of(call: Span) -> Same:
    """Return what a cache looks at; nothing without a hash of it, or out of a cache already."""
    attributes = call.attributes
    if Attr.PROMPT_HASH not in attributes or Attr.LLM_CACHED in attributes:
        return ()
    same = tuple(map(attributes.get, _SAME))
    if tuple in map(type, same):  # as nothing that these are for is
        same = tuple([str(value) if isinstance(value, tuple) else value for value in same])
    return cast(Same, same)


def equal_prompts(asked: Iterable[_Asked]) -> tuple[EqualPrompts[_Asked], ...]:
    """Return the prompts that were asked more than once.

    Only a call that ended well has an answer to be used again.
    """
    alike: defaultdict[Same, list[_Asked]] = defaultdict(list)
    for call in asked:
        alike[call.same].append(call)
    return tuple(_group(group) for group in alike.values() if len(group) > 1)


def _group(asked: list[_Asked]) -> EqualPrompts[_Asked]:
    asked.sort(key=_in_order)
    repeated: list[_Asked] = []
    meanwhile: list[_Asked] = []
    answered_ns: int | None = None
    for call in asked:
        if answered_ns is not None:
            (repeated if answered_ns <= call.start_ns else meanwhile).append(call)
        if (answered_ns is None or call.end_ns < answered_ns) and call.is_answered:
            answered_ns = call.end_ns
    return EqualPrompts(tuple(asked), tuple(repeated), tuple(meanwhile))

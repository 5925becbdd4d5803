"""What could be done about LLM calls: what was asked twice, and what might be asked at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TypeVar

from msgspec import Struct

from ..groups import grouped
from ..prompts import Asked, EqualPrompts, asked_of, equal_prompts
from .pieces import EQUAL_PROMPTS, Advice, Look, Pointed, Worst, examples_of
from .rows import Rows, Steps, rows_seen, sequential_calls


class AskedCall(Asked, frozen=True, gc=False, array_like=True):
    """What a call asked, and what an example says of it."""

    trace_id: str
    name: str
    task_id: str | None

    @property
    def model(self) -> str:
        """The model that it asked for, as `model_of` tells it of a span."""
        model = self.same[1]
        return (None if model is None else str(model)) or self.name.partition(" ")[2]

    @property
    def pointed(self) -> Pointed:
        """What an example says of it."""
        return Pointed(
            self.span_id, self.trace_id, self.name, self.task_id, self.start_ns, self.took_ns
        )


class Repeats(Struct, frozen=True, gc=False, array_like=True):
    """The calls that repeat one prompt within their part of a run, whatever the other parts hold.

    Attributes:
        first: the first of the part that asks the same.
        longest: the longest of them.
    """

    count: int
    spent_ns: int
    first: AskedCall
    longest: AskedCall


class LlmSeen(Struct, frozen=True, gc=False):
    """What a part of a run tells of its LLM calls.

    Attributes:
        asked: the calls that may repeat what others asked, or that others may repeat.
        repeats: those that do whatever the other parts hold.
        rows: calls in a row of one node or other maker, each all in this part.
        outermost: what may be calls in a row of the outermost graph.
    """

    asked: tuple[AskedCall, ...]
    repeats: tuple[Repeats, ...]
    rows: tuple[Rows, ...]
    outermost: Steps | None


def llm_seen(look: Look) -> LlmSeen:
    """Look at the LLM calls of a run, or of a part of it."""
    return LlmSeen(*_asked(look), *rows_seen(look))


def llm_advice(parts: Sequence[LlmSeen]) -> Iterator[Advice]:
    """Yield what could be done about LLM calls in a run of which these are the parts."""
    yield from _equal_prompts(parts)
    yield from sequential_calls(
        chain.from_iterable([part.rows for part in parts]),
        [part.outermost for part in parts if part.outermost is not None],
    )


def _asked(look: Look) -> tuple[tuple[AskedCall, ...], tuple[Repeats, ...]]:
    """Return what was asked, without what is repeated within this part, and that, added up."""
    end_of = look.run.end_of
    every = [asked_of(call, call.start_ns, end_of(call)) for call in look.calls]
    asked = [one for one in every if one is not None]
    repeats: list[Repeats] = []
    gone: set[str] = set()
    for group in equal_prompts(asked):
        # What they repeat was answered before they were, so nothing needs their answer. That is not
        # so with a clock that went back.
        again = [one for one in group.repeated if one.start_ns <= one.end_ns]
        if again:
            first, longest = _call(look, group.calls[0]), _call(look, _longest(again))
            repeats.append(Repeats(len(again), _took(again), first, longest))
            gone.update([one.span_id for one in again])
    return tuple([_call(look, one) for one in asked if one.span_id not in gone]), tuple(repeats)


def _call(look: Look, asked: Asked) -> AskedCall:
    call = look.forest.by_id[asked.span_id]
    return AskedCall(
        asked.span_id,
        asked.start_ns,
        asked.end_ns,
        asked.same,
        asked.is_answered,
        call.trace_id,
        call.name,
        look.task_of(call),
    )


_AnyAsked = TypeVar("_AnyAsked", bound=Asked)


def _longest(asked: Iterable[_AnyAsked]) -> _AnyAsked:
    return max(asked, key=lambda one: (one.took_ns, one.span_id))


def _took(asked: Iterable[Asked]) -> int:
    return sum([one.took_ns for one in asked])


def _equal_prompts(parts: Sequence[LlmSeen]) -> Iterator[Advice]:
    repeats = grouped(chain.from_iterable([p.repeats for p in parts]), lambda r: r.first.same)
    equal = equal_prompts(chain.from_iterable([p.asked for p in parts]))
    groups = {g.calls[0].same: g for g in equal if g.repeated or g.calls[0].same in repeats}
    for same, found in repeats.items():
        groups.setdefault(same, EqualPrompts((found[0].first,), (), ()))
    prompts = [_prompt(group, repeats.get(same, ())) for same, group in groups.items()]
    for model, of_model in sorted(grouped(prompts, attrgetter("model")).items()):
        count = sum(p.count for p in of_model)
        spent_ns = sum(p.spent_ns for p in of_model)
        saved_ns = sum(p.saved.ns for p in of_model)
        worst = examples_of([[p.saved for p in of_model]])
        yield Advice(EQUAL_PROMPTS, model, count, spent_ns, saved_ns, worst)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """One prompt that was asked again."""

    model: str
    count: int
    spent_ns: int
    saved: Worst


def _prompt(group: EqualPrompts[AskedCall], repeats: Sequence[Repeats]) -> _Prompt:
    count = len(group.repeated) + sum([r.count for r in repeats])
    repeats_ns = sum([r.spent_ns for r in repeats])
    longest = _longest([*group.repeated, *[r.longest for r in repeats]])
    others = count - 1
    note = f"with {others} more that {'asks' if others == 1 else 'ask'} the same" if others else ""
    return _Prompt(
        group.calls[0].model,
        count,
        _took(group.calls) + repeats_ns,
        Worst(_took(group.repeated) + repeats_ns, note, longest.pointed),
    )

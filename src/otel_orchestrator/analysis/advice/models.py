"""Which model took how much of the time, how fast it answers, and how many tokens that were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..calls import is_call, model_of, tokens_of
from ..groups import grouped
from ..intervals import without
from ..summary import percentile
from .pieces import Look

EXPLANATION: Final = (
    "By the model that was asked for. Time: from the start to the end of its calls, retries"
    " included, without the calls of other models inside of them. First token: the median of"
    " streamed calls. Tokens per second: output tokens of streamed calls, from the first token to"
    " the end; where no call of the model was streamed, of whole calls without their waits. Cached"
    " tokens are part of the input, reasoning tokens part of the output. Cost: only from prices"
    " that you gave."
)
"""How the table of models is made."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What one model did in a run.

    Attributes:
        model, provider: as asked for.
        calls, failed: how many; failed is what did not end well.
        from_cache: calls that LangChain's cache answered.
        took_ns: all calls together.
        share: of what all models took.
        first_token_ns: median; None where no call was streamed.
        tokens_per_s: output tokens; None where they are not known.
        is_of_whole_calls: that speed includes the time until the first token.
        input_tokens, cached_tokens, output_tokens, reasoning_tokens: sums.
        cost: in the currency of the user's prices; None without.
    """

    model: str
    provider: str | None
    calls: int
    failed: int
    from_cache: int
    took_ns: int
    share: float
    first_token_ns: float | None
    tokens_per_s: float | None
    is_of_whole_calls: bool
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: float | None


def models_of(look: Look) -> tuple[ModelUse, ...]:
    """Return the models of a run, the one that took most time first."""
    calls = [s for s in look.run.spans if is_call(s)]
    took = _own_ns(look, calls)
    whole_ns = sum(took.values())
    models = (
        _use(look, group, sum(took[s.span_id] for s in group), whole_ns)
        for group in grouped(calls, lambda s: (model_of(s), s.text(Attr.PROVIDER))).values()
    )
    return tuple(sorted(models, key=lambda m: (-m.took_ns, m.model, m.provider or "")))


def _own_ns(look: Look, calls: Sequence[Span]) -> Mapping[str, int]:
    """Return how long each call took, without the calls inside of it."""
    own: dict[str, int] = {}
    for call in calls:
        holes = [(s.start_ns, look.run.end_of(s)) for s in _calls_inside(look, call)]
        left = without((call.start_ns, look.run.end_of(call)), holes)
        own[call.span_id] = sum([end - start for start, end in left])
    return own


def _calls_inside(look: Look, call: Span) -> Iterator[Span]:
    stack = list(look.forest.children(call))
    while stack:
        span = stack.pop()
        if is_call(span):
            yield span
        else:
            stack.extend(look.forest.children(span))


def _use(look: Look, calls: Sequence[Span], took_ns: int, whole_ns: int) -> ModelUse:
    asked = [s for s in calls if Attr.LLM_CACHED not in s.attributes]
    first = sorted(ns for s in asked if (ns := _first_token_ns(s)) is not None)
    streamed = [s for s in asked if _came_in_chunks(s)]
    return ModelUse(
        model=model_of(calls[0]),
        provider=calls[0].text(Attr.PROVIDER),
        calls=len(calls),
        failed=sum(1 for s in calls if s.outcome != OK),
        from_cache=len(calls) - len(asked),
        took_ns=took_ns,
        share=took_ns / whole_ns if whole_ns else 0.0,
        first_token_ns=percentile(first, 0.5) if first else None,
        tokens_per_s=_speed(look, streamed or asked),
        is_of_whole_calls=not streamed,
        input_tokens=_sum(calls, Attr.INPUT_TOKENS),
        cached_tokens=_sum(calls, Attr.CACHE_READ_TOKENS),
        output_tokens=_sum(calls, Attr.OUTPUT_TOKENS),
        reasoning_tokens=_sum(calls, Attr.REASONING_TOKENS),
        cost=_cost(calls),
    )


def _first_token_ns(call: Span) -> int | None:
    seconds = call.attributes.get(Attr.TIME_TO_FIRST_CHUNK)
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        return None  # anything may be recorded
    return round(seconds * 1e9)


def _came_in_chunks(call: Span) -> bool:
    # What comes in one chunk tells nothing of the speed at which it was written.
    chunks = tokens_of(call, Attr.LLM_CHUNKS) or 0
    return chunks > 1 and _first_token_ns(call) is not None and _has_answer(call)


def _has_answer(call: Span) -> bool:
    return bool(tokens_of(call, Attr.OUTPUT_TOKENS))


def _speed(look: Look, calls: Sequence[Span]) -> float | None:
    answered = [s for s in calls if _has_answer(s)]
    ns = sum(_writing_ns(look, s) for s in answered)
    return _sum(answered, Attr.OUTPUT_TOKENS) * 1e9 / ns if ns > 0 else None


def _writing_ns(look: Look, call: Span) -> int:
    whole = (call.start_ns, look.run.end_of(call))
    if _came_in_chunks(call):
        return max(0, whole[1] - whole[0] - (_first_token_ns(call) or 0))
    waits = (s for s in look.forest.children(call) if s.state == semconv.WAITING)
    left = without(whole, ((s.start_ns, look.run.end_of(s)) for s in waits))
    return sum(end - start for start, end in left)


def _sum(calls: Sequence[Span], kind: str) -> int:
    return sum(tokens_of(s, kind) or 0 for s in calls)


def _cost(calls: Sequence[Span]) -> float | None:
    costs = [v for s in calls if isinstance(v := s.attributes.get(Attr.LLM_COST), int | float)]
    return total if costs and isfinite(total := sum(costs)) else None

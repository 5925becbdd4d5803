"""Which model took how much of the time, how fast it answers, and how many tokens that were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum, isfinite
from operator import attrgetter
from typing import Final

from msgspec import Struct

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..calls import is_call, model_of, tokens_of
from ..groups import grouped
from ..intervals import without
from ..summary import percentile
from ..sums import Sum, sum_of, total
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

_TOKENS: Final = (
    Attr.INPUT_TOKENS,
    Attr.CACHE_READ_TOKENS,
    Attr.OUTPUT_TOKENS,
    Attr.REASONING_TOKENS,
)


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


class ModelCalls(Struct, frozen=True, gc=False):
    """The calls of one model in one part of a run, added up.

    Attributes:
        model, provider, calls, failed, from_cache: as in `ModelUse`.
        took_ns, input_tokens, cached_tokens, output_tokens, reasoning_tokens: as there.
        costs: of the calls that have one.
        first_token_ns: of streamed calls, in order.
        is_of_whole_calls: no call of the part came in several chunks: what was written, and for
            how long, is of whole calls without their waits, not of those calls.
        written_tokens, written_ns: how much was written in what time.
    """

    model: str
    provider: str | None
    calls: int
    failed: int
    from_cache: int
    took_ns: Sum
    input_tokens: Sum
    cached_tokens: Sum
    output_tokens: Sum
    reasoning_tokens: Sum
    costs: list[float]
    first_token_ns: list[int]
    is_of_whole_calls: bool
    written_tokens: Sum
    written_ns: Sum


def model_calls(look: Look) -> tuple[ModelCalls, ...]:
    """Add up the calls of each model in a part of a run.

    No call may be above the spans at which the run was cut: how long it took depends on all calls
    inside of it.
    """
    found: defaultdict[tuple[str, str | None], _Calls] = defaultdict(_Calls)
    for call in look.calls:
        found[model_of(call), call.text(Attr.PROVIDER)].add(look, call)
    return tuple([calls.added_up(look, *key) for key, calls in found.items()])


def models_of(parts: Iterable[Sequence[ModelCalls]]) -> tuple[ModelUse, ...]:
    """Return the models of a run out of those of its parts, the one that took most time first."""
    by_model = grouped(chain.from_iterable(parts), attrgetter("model", "provider"))
    whole_ns = total(part.took_ns for found in by_model.values() for part in found)
    models = [_use(found, whole_ns) for found in by_model.values()]
    return tuple(sorted(models, key=lambda m: (-m.took_ns, m.model, m.provider or "")))


class _Calls:
    """The calls of one model. Each is looked at once: looking at many is what costs.

    Attributes:
        count, failed, from_cache, took_ns, costs, first_ns: as in `ModelCalls`.
        tokens: of each kind.
        in_chunks: of calls that came in several, how many tokens were written, and for how long.
        at_once: the calls of which something was written, but not in chunks.
    """

    def __init__(self) -> None:
        self.count = self.failed = self.from_cache = self.took_ns = 0
        self.tokens = dict.fromkeys(_TOKENS, 0)
        self.costs: list[float] = []
        self.first_ns: list[int] = []
        self.in_chunks: list[tuple[int, int]] = []
        self.at_once: list[Span] = []

    def add(self, look: Look, call: Span) -> None:
        """Add one more."""
        said = call.attributes
        self.count += 1
        self.failed += call.outcome != OK
        self.took_ns += _left_ns(look, call, _calls_inside(look, call))
        for kind in _TOKENS:
            if isinstance(tokens := said.get(kind), int):
                self.tokens[kind] += tokens
        if isinstance(cost := said.get(Attr.LLM_COST), int | float):
            self.costs.append(float(cost))
        if Attr.LLM_CACHED in said:
            self.from_cache += 1
        else:
            self._add_speed(look, call)

    def _add_speed(self, look: Look, call: Span) -> None:
        first_ns = _first_token_ns(call)
        if first_ns is not None:
            self.first_ns.append(first_ns)
        if not (written := tokens_of(call, Attr.OUTPUT_TOKENS)):
            return
        # What comes in one chunk tells nothing of the speed at which it was written.
        if first_ns is not None and (tokens_of(call, Attr.LLM_CHUNKS) or 0) > 1:
            self.in_chunks.append((written, max(0, look.run.duration_of(call) - first_ns)))
        else:
            self.at_once.append(call)

    def added_up(self, look: Look, model: str, provider: str | None) -> ModelCalls:
        """Return what they come to."""
        written = self.in_chunks or [
            (tokens_of(call, Attr.OUTPUT_TOKENS) or 0, _without_waits_ns(look, call))
            for call in self.at_once
        ]
        return ModelCalls(
            model=model,
            provider=provider,
            calls=self.count,
            failed=self.failed,
            from_cache=self.from_cache,
            took_ns=Sum(self.took_ns),
            input_tokens=Sum(self.tokens[Attr.INPUT_TOKENS]),
            cached_tokens=Sum(self.tokens[Attr.CACHE_READ_TOKENS]),
            output_tokens=Sum(self.tokens[Attr.OUTPUT_TOKENS]),
            reasoning_tokens=Sum(self.tokens[Attr.REASONING_TOKENS]),
            costs=self.costs,
            first_token_ns=sorted(self.first_ns),
            is_of_whole_calls=not self.in_chunks,
            written_tokens=sum_of(tokens for tokens, _ in written),
            written_ns=sum_of(ns for _, ns in written),
        )


def _use(parts: Sequence[ModelCalls], whole_ns: int) -> ModelUse:
    streamed = [part for part in parts if not part.is_of_whole_calls]
    told = streamed or parts
    written_ns = total(part.written_ns for part in told)
    tokens = total(part.written_tokens for part in told)
    took_ns = total(part.took_ns for part in parts)
    first_ns = sorted(chain.from_iterable(part.first_token_ns for part in parts))
    return ModelUse(
        model=parts[0].model,
        provider=parts[0].provider,
        calls=sum(part.calls for part in parts),
        failed=sum(part.failed for part in parts),
        from_cache=sum(part.from_cache for part in parts),
        took_ns=took_ns,
        share=took_ns / whole_ns if whole_ns else 0.0,
        first_token_ns=percentile(first_ns, 0.5) if first_ns else None,
        tokens_per_s=tokens * 1e9 / written_ns if written_ns > 0 else None,
        is_of_whole_calls=not streamed,
        input_tokens=total(part.input_tokens for part in parts),
        cached_tokens=total(part.cached_tokens for part in parts),
        output_tokens=total(part.output_tokens for part in parts),
        reasoning_tokens=total(part.reasoning_tokens for part in parts),
        cost=_cost([cost for part in parts for cost in part.costs]),
    )


def _cost(costs: Sequence[float]) -> float | None:
    """Add costs up, whatever their order; None where there are none, or no number holds them."""
    try:
        cost = fsum(costs)
    except (OverflowError, ValueError):
        return None
    return cost if costs and isfinite(cost) else None


def _calls_inside(look: Look, call: Span) -> list[Span]:
    """Return the calls inside of a call, without those inside of these."""
    below = look.forest.below
    calls: list[Span] = []
    stack = [call.span_id]
    while stack:
        for span in below.get(stack.pop(), ()):
            if is_call(span):
                calls.append(span)
            else:
                stack.append(span.span_id)
    return calls


def _without_waits_ns(look: Look, call: Span) -> int:
    waits = [s for s in look.forest.children(call) if s.state == semconv.WAITING]
    return _left_ns(look, call, waits)


def _left_ns(look: Look, call: Span, holes: Sequence[Span]) -> int:
    """Return how long a call took outside of some other spans."""
    if not holes:
        return look.run.duration_of(call)
    whole = (call.start_ns, look.run.end_of(call))
    left = without(whole, [(s.start_ns, look.run.end_of(s)) for s in holes])
    return sum([end - start for start, end in left])


def _first_token_ns(call: Span) -> int | None:
    seconds = call.attributes.get(Attr.TIME_TO_FIRST_CHUNK)
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        return None  # anything may be recorded
    return round(seconds * 1e9)

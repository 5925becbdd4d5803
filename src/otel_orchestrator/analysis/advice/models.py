"""Which model took how much of the time, how fast it answers, and how many tokens that were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..calls import is_call, model_of, tokens_of
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


def models_of(look: Look) -> tuple[ModelUse, ...]:
    """Return the models of a run, the one that took most time first."""
    found: defaultdict[tuple[str, str | None], _Calls] = defaultdict(_Calls)
    for call in look.calls:
        found[model_of(call), call.text(Attr.PROVIDER)].add(look, call)
    whole_ns = sum(calls.took_ns for calls in found.values())
    models = [_use(look, key, calls, whole_ns) for key, calls in found.items()]
    return tuple(sorted(models, key=lambda m: (-m.took_ns, m.model, m.provider or "")))


class _Calls:
    """The calls of one model, added up. Each is looked at once: looking at many is what costs.

    Attributes:
        count, failed, from_cache, took_ns, tokens: as in `ModelUse`.
        costs: of the calls that have one.
        first_ns: of streamed calls, the times until the first token.
        in_chunks: how many calls came in several, with what was written how quickly.
        at_once: the calls of which something was written, but not in chunks.
    """

    def __init__(self) -> None:
        self.count = self.failed = self.from_cache = self.took_ns = 0
        self.tokens = dict.fromkeys(_TOKENS, 0)
        self.costs: list[float] = []
        self.first_ns: list[int] = []
        self.in_chunks = _Written()
        self.at_once: list[Span] = []

    def add(self, look: Look, call: Span) -> None:
        """Add one more."""
        self.count += 1
        self.failed += call.outcome != OK
        self.took_ns += _left_ns(look, call, _calls_inside(look, call))
        for kind in _TOKENS:
            self.tokens[kind] += tokens_of(call, kind) or 0
        cost = call.attributes.get(Attr.LLM_COST)
        if isinstance(cost, int | float):
            self.costs.append(cost)
        if Attr.LLM_CACHED in call.attributes:
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
            self.in_chunks.add(written, max(0, look.run.duration_of(call) - first_ns))
        else:
            self.at_once.append(call)


class _Written:
    """How much was written how quickly."""

    def __init__(self) -> None:
        self.calls = self.tokens = self.ns = 0

    def add(self, tokens: int, ns: int) -> None:
        """Add what one call wrote."""
        self.calls += 1
        self.tokens += tokens
        self.ns += ns


def _use(look: Look, key: tuple[str, str | None], calls: _Calls, whole_ns: int) -> ModelUse:
    written, is_of_whole_calls = calls.in_chunks, not calls.in_chunks.calls
    if is_of_whole_calls:
        for call in calls.at_once:
            written.add(tokens_of(call, Attr.OUTPUT_TOKENS) or 0, _without_waits_ns(look, call))
    model, provider = key
    return ModelUse(
        model=model,
        provider=provider,
        calls=calls.count,
        failed=calls.failed,
        from_cache=calls.from_cache,
        took_ns=calls.took_ns,
        share=calls.took_ns / whole_ns if whole_ns else 0.0,
        first_token_ns=percentile(sorted(calls.first_ns), 0.5) if calls.first_ns else None,
        tokens_per_s=written.tokens * 1e9 / written.ns if written.ns > 0 else None,
        is_of_whole_calls=is_of_whole_calls,
        input_tokens=calls.tokens[Attr.INPUT_TOKENS],
        cached_tokens=calls.tokens[Attr.CACHE_READ_TOKENS],
        output_tokens=calls.tokens[Attr.OUTPUT_TOKENS],
        reasoning_tokens=calls.tokens[Attr.REASONING_TOKENS],
        cost=cost if calls.costs and isfinite(cost := sum(calls.costs)) else None,
    )


def _calls_inside(look: Look, call: Span) -> list[Span]:
    """Return the calls inside of a call, without those inside of these."""
    calls: list[Span] = []
    stack = [call]
    while stack:
        for span in look.forest.children(stack.pop()):
            (calls if is_call(span) else stack).append(span)
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

"""The table of models: time, speed, first token, tokens and cost, each from spans alone."""

from __future__ import annotations

from typing import Any

import pytest

from otel_orchestrator.analysis.advice.models import ModelUse, model_calls, models_of
from otel_orchestrator.analysis.advice.pieces import Look
from otel_orchestrator.model import Run, Span
from otel_orchestrator.semconv import Attr

SECOND = 1_000_000_000


def call(
    number: int, model: str, start: float, end: float, parent: str | None = None, **said: Any
) -> Span:
    """Make a call of a model, from so many seconds to so many."""
    names = {
        "provider": Attr.PROVIDER, "first": Attr.TIME_TO_FIRST_CHUNK, "chunks": Attr.LLM_CHUNKS,
        "read": Attr.INPUT_TOKENS, "cached": Attr.CACHE_READ_TOKENS, "told": Attr.OUTPUT_TOKENS,
        "thought": Attr.REASONING_TOKENS, "cost": Attr.LLM_COST, "outcome": Attr.OUTCOME,
        "from_cache": Attr.LLM_CACHED,
    }  # fmt: skip
    attributes: dict[str, Any] = {
        Attr.STATE: "working", Attr.CATEGORY: "llm", Attr.REQUEST_MODEL: model, Attr.OUTCOME: "ok",
        **{names[k]: v for k, v in said.items()},
    }  # fmt: skip
    return Span("t", f"{number:x}", parent, f"chat {model}", 3, int(start * SECOND),
                int(end * SECOND), attributes=attributes)  # fmt: skip


def used(*spans: Span) -> tuple[ModelUse, ...]:
    return models_of([model_calls(Look(Run("r", tuple(sorted(spans, key=lambda s: s.start_ns)))))])


def test_models_stand_by_their_share_of_the_time() -> None:
    found = used(
        call(1, "small", 0, 1, read=10, told=5),
        call(2, "large", 1, 7, read=100, cached=60, told=50, thought=40, cost=0.5),
        call(3, "large", 7, 10, read=20, told=10, cost=0.25, outcome="error"),
    )
    assert [(m.model, m.calls, m.failed, m.took_ns / SECOND, m.share) for m in found] == [
        ("large", 2, 1, 9, 0.9),
        ("small", 1, 0, 1, 0.1),
    ]
    large, small = found
    assert (large.input_tokens, large.cached_tokens) == (120, 60)
    assert (large.output_tokens, large.reasoning_tokens) == (60, 40)
    assert (large.cost, small.cost) == (0.75, None)


def test_speed_and_first_token_are_of_what_was_streamed() -> None:
    """100 + 40 tokens in 2 + 2 s after the first; the third came in one piece, the fourth whole."""
    [m] = used(
        call(1, "m", 0, 3, first=1.0, chunks=50, told=100),
        call(2, "m", 10, 14, first=2.0, chunks=20, told=40),
        call(3, "m", 20, 29, first=9.0, chunks=1, told=500),
        call(4, "m", 30, 31, told=900),
    )
    assert m.first_token_ns == 2 * SECOND
    assert m.tokens_per_s == pytest.approx(35)
    assert not m.is_of_whole_calls


def test_without_streams_speed_is_of_whole_calls_but_not_of_their_waits() -> None:
    wait = Span("t", "f", "1", "wait rate_limit", 1, SECOND, 5 * SECOND,
                attributes={Attr.STATE: "waiting", Attr.CATEGORY: "rate_limit"})  # fmt: skip
    [m] = used(call(1, "m", 0, 8, told=60), wait, call(2, "m", 8, 10, told=60), call(3, "m", 9, 10))
    assert (m.first_token_ns, m.tokens_per_s, m.is_of_whole_calls) == (None, 20, True)


def test_a_call_inside_of_a_call_is_not_counted_twice() -> None:
    found = used(
        call(1, "router", 0, 10),
        call(2, "worker", 1, 8, parent="1"),
        call(3, "guard", 2, 4, parent="2"),
    )
    assert [(m.model, m.took_ns / SECOND) for m in found] == [
        ("worker", 5), ("router", 3), ("guard", 2),
    ]  # fmt: skip


def test_what_a_cache_answered_says_nothing_of_the_model_s_speed() -> None:
    [m] = used(call(1, "m", 0, 10, told=100), call(2, "m", 10, 10.001, told=100, from_cache=True))
    assert (m.calls, m.from_cache, m.tokens_per_s) == (2, 1, 10)


def test_two_providers_of_one_model_are_told_apart() -> None:
    found = used(call(1, "m", 0, 1, provider="openai"), call(2, "m", 1, 3, provider="azure"))
    assert [(m.model, m.provider) for m in found] == [("m", "azure"), ("m", "openai")]


def test_a_call_that_says_nothing_is_listed_by_its_name() -> None:
    bare = Span("t", "1", None, "chat local", 3, 0, 0,
                attributes={Attr.STATE: "working", Attr.CATEGORY: "llm"})  # fmt: skip
    [m] = used(bare)
    assert (m.model, m.share, m.tokens_per_s, m.input_tokens) == ("local", 0, None, 0)

"""What a response tells by hand is what an instrumentor reads of the same one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import Message
from langchain_anthropic.chat_models import _create_usage_metadata
from langchain_core.messages import AIMessage
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors import anthropic, langchain
from otel_orchestrator.llm import chat, prices, responses
from otel_orchestrator.semconv import Attr

MODEL = "claude-sonnet-4-5"
CACHED = {"cache_read_input_tokens": 100_000, "cache_creation_input_tokens": 2_000}
PLAIN = {"input_tokens": 50, "output_tokens": 300}
THOUGHT = {"output_tokens_details": {"thinking_tokens": 120}}
KEPT = {"cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1500}}
TOLD = (
    Attr.INPUT_TOKENS,
    Attr.OUTPUT_TOKENS,
    Attr.CACHE_READ_TOKENS,
    Attr.CACHE_WRITE_TOKENS,
    Attr.REASONING_TOKENS,
    Attr.LLM_COST,
)


@pytest.fixture
def priced() -> Iterator[None]:
    prices.use({MODEL: {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75}})
    yield
    prices.use(None)


def anthropics(usage: dict[str, Any]) -> Message:
    chat._RECENT.clear()
    return Message.model_validate(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "content": [{"type": "text", "text": "hi"}],
            "usage": usage,
        }
    )


def langchains(message: Message) -> AIMessage:
    return AIMessage(
        "hi",
        usage_metadata=_create_usage_metadata(message.usage),
        response_metadata={"model_name": MODEL, "id": "msg_1"},
    )


def by_hand(traced: InMemorySpanExporter, answer: Any) -> dict[str, Any]:
    chat._RECENT.clear()
    otel.log_llm_response("t", answer, 10)
    return told_by_the_last(traced)


def told_by_the_last(traced: InMemorySpanExporter) -> dict[str, Any]:
    attributes = traced.get_finished_spans()[-1].attributes or {}
    return {key: attributes[key] for key in TOLD if key in attributes}


USAGES = [
    PLAIN,
    {**PLAIN, **CACHED},
    {**PLAIN, **CACHED, **THOUGHT},
    {**PLAIN, "cache_read_input_tokens": 7, "cache_creation_input_tokens": None},
    {**PLAIN, "cache_read_input_tokens": None, "cache_creation_input_tokens": 9},
]


@pytest.mark.parametrize("usage", [*USAGES, {**PLAIN, **CACHED, **KEPT}])
@pytest.mark.parametrize("as_dict", [False, True])
def test_anthropics_tokens_by_hand_are_the_instrumentors(
    traced: InMemorySpanExporter, priced: None, usage: dict[str, Any], as_dict: bool
) -> None:
    message = anthropics(usage)
    call = chat.begin(MODEL, "anthropic")
    assert isinstance(call, chat.ChatCall)
    anthropic._read_message(call, message)
    call.end()
    read = told_by_the_last(traced)
    assert by_hand(traced, message.model_dump() if as_dict else message) == read
    cached = [usage.get(name) or 0 for name in CACHED]
    assert read[Attr.INPUT_TOKENS] == 50 + sum(cached)
    cost = (50 * 3 + cached[0] * 0.3 + cached[1] * 3.75 + 300 * 15) / 1e6
    assert read[Attr.LLM_COST] == pytest.approx(cost)


@pytest.mark.parametrize("usage", USAGES)
def test_langchains_tokens_by_hand_are_the_instrumentors_and_anthropics(
    traced: InMemorySpanExporter, priced: None, usage: dict[str, Any]
) -> None:
    message = anthropics(usage)
    answer = langchains(message)
    call = chat.begin(MODEL, "anthropic")
    assert isinstance(call, chat.ChatCall)
    langchain._read_usage(call, answer)
    call.end()
    read = told_by_the_last(traced)
    assert by_hand(traced, answer) == read
    assert by_hand(traced, message) == read


def test_what_is_written_to_a_cache_for_a_known_time_counts_once() -> None:
    message = anthropics({**PLAIN, **CACHED, **KEPT})
    assert responses.read(langchains(message)).usage == responses.read(message).usage
    assert responses.read(message).usage[Attr.CACHE_WRITE_TOKENS] == 2_000


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 90, "prompt_tokens_details": {"cached_tokens": 40}},
        {"input_tokens": 90, "input_tokens_details": {"cached_tokens": 40}},
        # As a proxy tells it that speaks for Anthropic in OpenAI's words: these are included.
        {
            "prompt_tokens": 90,
            "cache_read_input_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 40},
        },
    ],
)
def test_where_input_tokens_include_cached_ones_nothing_is_added(usage: dict[str, Any]) -> None:
    told = responses.read({"model": "m", "usage": usage}).usage
    assert told == {Attr.INPUT_TOKENS: 90, Attr.CACHE_READ_TOKENS: 40}


def test_of_an_agents_result_each_message_counts() -> None:
    messages = [anthropics({**PLAIN, **CACHED}), anthropics({**PLAIN, **CACHED})]
    told = responses.read({"messages": messages}).usage
    assert told[Attr.INPUT_TOKENS] == 2 * 102_050
    assert told[Attr.CACHE_WRITE_TOKENS] == 4_000

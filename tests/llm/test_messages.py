"""Recorded messages have the conventions' shape, whoever sends and whoever answers them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors import anthropic as claude
from otel_orchestrator.instrumentors._following import _loosely
from otel_orchestrator.llm import chat
from otel_orchestrator.semconv import Attr

from ..llm_server import LLM, Reply
from .callers import anthropic_client, langchain_model, openai_client
from .told import chat_of

ASKED = {"role": "user", "parts": [{"type": "text", "content": "q"}]}
CALLED = {"type": "tool_call", "id": "call_1", "name": "look", "arguments": "{}"}
RETURNED = {"type": "tool_call_response", "id": "call_1", "response": "seen"}
FUNCTION = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}

COMPLETION: list[Any] = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": None, "tool_calls": [FUNCTION]},
    {"role": "tool", "tool_call_id": "call_1", "content": "seen"},
]
ITEMS: list[Any] = [
    {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
]
BLOCKS: list[Any] = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": [
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}
    ]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "call_1", "content": "seen"}
    ]},
]  # fmt: skip
LANGCHAINS = [
    HumanMessage("q"),
    AIMessage([], tool_calls=[{"name": "look", "args": {}, "id": "call_1"}]),
    ToolMessage("seen", tool_call_id="call_1"),
]


@pytest.fixture
def recorded(exported: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    only = ["langchain", "openai", "anthropic"]
    otel.instrument(only=only, tracer_provider=provider, capture_content=True)
    yield exported
    otel.uninstrument()


def ask(api: str, url: str, *, streams: bool) -> None:
    if api == "langchain":
        model = langchain_model(url)
        list(model.stream(LANGCHAINS)) if streams else model.invoke(LANGCHAINS)
        return
    with openai_client(url) as gpt, anthropic_client(url) as anthropic:
        if api == "completions":
            answer = gpt.chat.completions.create(model="m", messages=COMPLETION, stream=streams)
        elif api == "responses":
            answer = gpt.responses.create(model="m", input=ITEMS, stream=streams)
        else:
            answer = anthropic.messages.create(
                model="m", max_tokens=9, messages=BLOCKS, stream=streams
            )
        list(answer)


@pytest.mark.parametrize("api", ["completions", "responses", "messages", "langchain"])
@pytest.mark.parametrize("streams", [False, True])
def test_what_is_sent(recorded: InMemorySpanExporter, llm: LLM, api: str, streams: bool) -> None:
    ask(api, llm.url, streams=streams)
    told = chat_of(recorded)
    assert json.loads(told[Attr.INPUT_MESSAGES]) == [
        ASKED,
        {"role": "assistant", "parts": [CALLED]},
        {"role": "user" if api == "messages" else "tool", "parts": [RETURNED]},
    ]
    (answer,) = json.loads(told[Attr.OUTPUT_MESSAGES])
    assert answer["finish_reason"] == ("end_turn" if api == "messages" else "stop")
    assert [part["type"] for part in answer["parts"]] == ["text"]


@pytest.mark.parametrize("api", ["completions", "langchain"])
@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_that_calls_a_tool(
    recorded: InMemorySpanExporter, llm: LLM, api: str, streams: bool
) -> None:
    llm.replies += [Reply(tool="look")]
    ask(api, llm.url, streams=streams)
    (answer,) = json.loads(chat_of(recorded)[Attr.OUTPUT_MESSAGES])
    assert [part for part in answer["parts"] if part["type"] != "text"] == [CALLED]
    assert answer["finish_reason"] == "tool_calls"


def test_claudes_thoughts_words_and_tools_in_pieces(recorded: InMemorySpanExporter) -> None:
    use = {"type": "tool_use", "id": "call_1", "name": "look", "input": {}}
    started = [(0, {"type": "thinking", "thinking": ""}), (1, {"type": "text", "text": ""})]
    pieces = [
        (0, {"type": "thinking_delta", "thinking": "hm"}),
        (0, {"type": "thinking_delta", "thinking": ", hm"}),
        (1, {"type": "text_delta", "text": "I "}),
        (1, {"type": "text_delta", "text": "look"}),
        (2, {"type": "input_json_delta", "partial_json": '{"a":'}),
        (2, {"type": "input_json_delta", "partial_json": "1}"}),
    ]
    events = [
        *({"type": "content_block_start", "index": i, "content_block": b} for i, b in started),
        *({"type": "content_block_delta", "index": i, "delta": delta} for i, delta in pieces[:4]),
        {"type": "content_block_start", "index": 2, "content_block": use},
        *({"type": "content_block_delta", "index": i, "delta": delta} for i, delta in pieces[4:]),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}},
    ]
    call = chat.begin("m", "anthropic")
    assert isinstance(call, chat.ChatCall)
    for event in events:
        claude._read_event(call, _loosely(event))
    call.end()
    assert json.loads(chat_of(recorded)[Attr.OUTPUT_MESSAGES]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm, hm"},
                {"type": "text", "content": "I look"},
                {**CALLED, "arguments": '{"a":1}'},
            ],
            "finish_reason": "tool_use",
        }
    ]

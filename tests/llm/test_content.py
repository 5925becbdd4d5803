"""Prompts and answers: off by default, on request with a cap and a redaction. Cost on request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.errors import OrchestratorError
from otel_orchestrator.instrumentors.langchain import LangChainInstrumentor
from otel_orchestrator.instrumentors.openai import OpenAIInstrumentor
from otel_orchestrator.llm import content
from otel_orchestrator.semconv import Attr

from ..llm_server import LLM, SECRET_ANSWER, Reply
from ..trees import attributes_of, tree
from .callers import (
    CHAT,
    FORMS,
    MESSAGE,
    PROMPT,
    anthropic_client,
    call,
    langchain_model,
    openai_client,
)
from .told import chat_of, tokens

CONTENT = (Attr.INPUT_MESSAGES, Attr.OUTPUT_MESSAGES, Attr.SYSTEM_INSTRUCTIONS)


def instrument(exported: InMemorySpanExporter, **options: Any) -> None:
    otel.uninstrument()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    otel.instrument(
        only=["langchain", "openai", "anthropic", "httpx", "httpx2"],
        tracer_provider=provider,
        **options,
    )


def text_of(messages: str) -> str:
    """Return all texts of recorded messages, joined."""
    return " ".join(p.get("content", "") for m in json.loads(messages) for p in m["parts"]).strip()


@pytest.mark.parametrize(("api", "is_async", "form"), FORMS)
def test_content_is_recorded_only_on_request(
    traced: InMemorySpanExporter, llm: LLM, api: str, is_async: bool, form: str
) -> None:
    call(api, llm.url, form, is_async=is_async)
    assert not set(CONTENT) & set(chat_of(traced))
    traced.clear()
    instrument(traced, capture_content=True)
    call(api, llm.url, form, is_async=is_async)
    told = chat_of(traced)
    assert text_of(told[Attr.INPUT_MESSAGES]) == PROMPT
    assert json.loads(told[Attr.INPUT_MESSAGES])[0]["role"] == "user"
    if form.startswith("responses") and "stream" in form:
        assert SECRET_ANSWER in text_of(told[Attr.OUTPUT_MESSAGES])
    else:
        assert text_of(told[Attr.OUTPUT_MESSAGES]) == SECRET_ANSWER
    assert Attr.CONTENT_TRUNCATED not in told


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_langchains_messages(traced: InMemorySpanExporter, llm: LLM, how: str) -> None:
    instrument(traced, capture_content=True)
    model = langchain_model(llm.url)
    call = {"name": "look", "args": {"at": "x"}, "id": "1"}
    messages = [HumanMessage(PROMPT), AIMessage("", tool_calls=[call])]
    list(model.stream(messages)) if how == "stream" else model.invoke(messages)
    told = chat_of(traced)
    assert json.loads(told[Attr.INPUT_MESSAGES]) == [
        {"role": "user", "parts": [{"type": "text", "content": PROMPT}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": ""},
                {"type": "tool_call", "id": "1", "name": "look", "arguments": '{"at": "x"}'},
            ],
        },
    ]
    assert text_of(told[Attr.OUTPUT_MESSAGES]) == SECRET_ANSWER


IMAGE = "iVBORw0KGgo"


@pytest.mark.parametrize(
    "message",
    [
        ToolMessage(
            [{"type": "text", "text": "seen"}, {"type": "image", "base64": IMAGE}],
            tool_call_id="1",
        ),
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "1",
                    "content": ["seen", {"type": "image", "source": {"data": IMAGE}}],
                }
            ],
        },
        {
            "type": "function_call_output",
            "call_id": "1",
            "output": [{"type": "input_text", "text": "seen"}, {"image_url": IMAGE}],
        },
    ],
)
def test_a_tools_image_is_not_recorded(message: Any) -> None:
    told = str(content.Prompt([message]).attributes()[Attr.INPUT_MESSAGES])
    assert "seen" in told
    assert "tool_call_response" in told
    assert IMAGE not in told


def test_an_answer_that_only_calls_tools_has_its_calls() -> None:
    call = {"id": "1", "name": "look", "args": {}}
    message = {"type": "ai", "content": None, "tool_calls": [call]}
    told = str(content.Prompt([message]).attributes()[Attr.INPUT_MESSAGES])
    assert json.loads(told)[0]["parts"][0]["name"] == "look"


@pytest.mark.parametrize(("value", "is_on"), [("true", True), ("SPAN_ONLY", True), ("no", False)])
def test_the_standard_variable(
    traced: InMemorySpanExporter,
    llm: LLM,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    is_on: bool,
) -> None:
    monkeypatch.setenv(content.VARIABLE, value)
    instrument(traced)
    call("openai", llm.url, "create", is_async=False)
    assert (Attr.INPUT_MESSAGES in chat_of(traced)) == is_on
    traced.clear()
    instrument(traced, capture_content=False)
    call("openai", llm.url, "create", is_async=False)
    assert Attr.INPUT_MESSAGES not in chat_of(traced)


@pytest.mark.parametrize("cap", [0, 100, 1000, 20_000])
@pytest.mark.parametrize("text", ["x", "ä", '"', "\x00", "🤖"])
def test_content_is_cut_to_the_cap_and_stays_json(
    traced: InMemorySpanExporter, llm: LLM, cap: int, text: str
) -> None:
    instrument(traced, capture_content=True, content_max_bytes=cap)
    long: Any = [
        {"role": "system", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": text * 50_000}]},
        {"role": "user", "content": "last"},
    ]
    with openai_client(llm.url) as client:
        client.chat.completions.create(model="gpt-asked", messages=long)
    told = chat_of(traced)
    assert told[Attr.CONTENT_TRUNCATED] is True
    recorded = told[Attr.INPUT_MESSAGES]
    assert len(recorded.encode()) <= max(cap, 2)
    if cap >= 100:
        assert json.loads(recorded)[-1]["parts"][0]["content"] == "last"


def test_redaction_comes_before_the_cut(traced: InMemorySpanExporter, llm: LLM) -> None:
    instrument(
        traced,
        capture_content=True,
        content_max_bytes=120,
        redact=lambda text: re.sub("(hunter2)+", "[gone]", text),
    )
    with anthropic_client(llm.url) as client:
        client.messages.create(**{**MESSAGE, "system": "hunter2", "messages": [
            {"role": "user", "content": "a" * 30 + "hunter2" * 500}
        ]})  # fmt: skip
    told = chat_of(traced)
    assert "[gone]" in told[Attr.INPUT_MESSAGES]
    assert "hunter" not in "".join(str(told.get(key)) for key in CONTENT)


def test_a_redaction_that_fails_records_nothing(
    traced: InMemorySpanExporter,
    llm: LLM,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from otel_orchestrator import _guard

    monkeypatch.setattr(_guard, "strict", False)

    def broken(text: str) -> str:
        raise ValueError(text)

    instrument(traced, capture_content=True, redact=broken)
    for form in ("create", "create stream"):
        call("openai", llm.url, form, is_async=False)
    for span in traced.get_finished_spans():
        assert not set(CONTENT) & set(attributes_of(span))
    assert PROMPT not in caplog.text


def test_cost_is_by_the_users_prices_only(traced: InMemorySpanExporter, llm: LLM) -> None:
    call("openai", llm.url, "responses", is_async=False)
    assert Attr.LLM_COST not in chat_of(traced)
    traced.clear()
    prices = {"gpt-real": {"input": 2.0, "output": 10.0, "cache_read": 0.5}}
    instrument(traced, prices=prices)
    call("openai", llm.url, "responses", is_async=False)
    assert chat_of(traced)[Attr.LLM_COST] == pytest.approx((9 * 2.0 + 2 * 0.5 + 4 * 10.0) / 1e6)
    traced.clear()
    call("anthropic", llm.url, "create", is_async=False)
    assert Attr.LLM_COST not in chat_of(traced)


@pytest.mark.parametrize(
    "options", [{"prices": {"m": {"input": 1}}}, {"prices": {"m": 3}}, {"redact": "x"}]
)
def test_options_that_make_no_sense(exported: InMemorySpanExporter, options: Any) -> None:
    try:
        with pytest.raises(OrchestratorError):
            instrument(exported, **options)
    finally:
        otel.uninstrument()


def test_a_call_measured_by_the_program_itself(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    usage: Any = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    meta = {"model_name": "gpt-x", "finish_reason": "stop", "id": "theirs-1"}
    answer = AIMessage("secret", usage_metadata=usage, response_metadata=meta)
    with otel.node("director"):
        otel.log_llm_response("task-1", answer, 250)
        otel.log_llm_response("task-1", answer, 250)
    assert (
        tree(traced.get_finished_spans()) == "chat gpt-x\nnode director"
        or tree(traced.get_finished_spans()) == "node director\n  chat gpt-x"
    )
    (chat,) = [s for s in traced.get_finished_spans() if s.name.startswith("chat")]
    assert chat.start_time is not None
    assert chat.end_time is not None
    assert chat.end_time - chat.start_time == 250_000_000
    assert chat_of(traced)[Attr.TASK_ID] == "task-1"
    assert tokens(measured) == {"input": 7, "output": 2}
    assert "secret" not in chat.to_json()


def test_a_call_that_was_seen_is_not_logged_again(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    llm: LLM,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from otel_orchestrator.llm import chat

    chat._RECENT.clear()
    with openai_client(llm.url) as client:
        answer = client.chat.completions.create(**CHAT)
    otel.log_llm_response("t", answer, 10)
    model = langchain_model(llm.url)
    message = model.invoke("x")
    otel.log_llm_response("t", message, 10)
    otel.log_llm_response("t", {"messages": [HumanMessage("x"), message]}, 10)
    assert tokens(measured) == {"input": 22, "output": 8}
    otel.log_llm_response("t", {"usage": {"prompt_tokens": 5}, "model": "m"}, 1.5)
    assert tokens(measured) == {"input": 27, "output": 8}
    otel.log_llm_response(None, object(), 1)
    otel.log_llm_response("t", None, 0)


def test_a_failed_and_a_left_call_have_no_answer(traced: InMemorySpanExporter, llm: LLM) -> None:
    instrument(traced, capture_content=True)
    llm.replies += [Reply(status=400)]
    with pytest.raises(Exception, match="400"):
        call("openai", llm.url, "create", is_async=False)
    told = chat_of(traced)
    assert Attr.INPUT_MESSAGES in told
    assert Attr.OUTPUT_MESSAGES not in told


def test_one_that_is_switched_off_does_not_switch_off_what_the_others_were_asked_for(
    llm: LLM, exported: InMemorySpanExporter
) -> None:
    otel.instrument(only=["langchain", "openai"], capture_content=True)
    try:
        OpenAIInstrumentor().uninstrument()
        assert content.is_captured()
        LangChainInstrumentor().uninstrument()
        assert not content.is_captured()
    finally:
        otel.uninstrument()

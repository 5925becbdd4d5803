"""Answers that are not as usual: failed ones, and chunks that lack what others have."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.semconv import Attr

from ..llm_server import LLM
from ..trees import tree
from .callers import CHAT, KEY, RESPONSE, USAGE, http_module, langchain_model, openai_client
from .told import chat_of, tokens

ENVELOPE = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-real"}
TOKENS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
FAILED = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-real",
    "status": "failed",
    "error": {"code": "server_error", "message": "what it quotes"},
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": None,
}
BEGUN = {"type": "response.created", "response": {**FAILED, "status": "in_progress", "error": None}}
INCOMPLETE = {
    **FAILED,
    "status": "incomplete",
    "error": None,
    "incomplete_details": {"reason": "max_output_tokens"},
}


def answering(*, events: list[Any] | None = None, whole: Any = None) -> Any:
    """Return a client that gets just this answer: as a stream of events, or as a whole."""
    http = http_module(openai)

    def answer(_: Any) -> Any:
        if events is None:
            return http.Response(200, json=whole)
        lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        kind = {"content-type": "text/event-stream"}
        return http.Response(200, headers=kind, content=iter([lines.encode()]))

    client = http.Client(transport=http.MockTransport(answer))
    return openai.OpenAI(api_key=KEY, base_url="http://local/v1", http_client=client)


def respond(*, events: list[Any] | None = None, whole: Any = None) -> None:
    with answering(events=events, whole=whole) as client:
        if events is None:
            client.responses.create(**RESPONSE)
        else:
            list(client.responses.create(**RESPONSE, stream=True))


@pytest.mark.parametrize(
    ("answer", "error_type"),
    [
        ({"whole": FAILED}, "server_error"),
        ({"whole": {**FAILED, "error": None}}, "_OTHER"),
        ({"events": [BEGUN, {"type": "response.failed", "response": FAILED}]}, "server_error"),
        ({"events": [BEGUN, {"type": "error", "code": "rate_limit_exceeded"}]},
         "rate_limit_exceeded"),
        ({"events": [BEGUN, {"type": "error", "code": None}]}, "_OTHER"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_by_hand", [False, True])
def test_an_answer_that_says_that_it_failed_is_an_error(
    traced: InMemorySpanExporter, answer: Any, error_type: str, is_by_hand: bool
) -> None:
    if is_by_hand:
        with otel.llm_call("gpt-asked"):
            respond(**answer)
    else:
        respond(**answer)
    told = chat_of(traced)
    assert (told[Attr.OUTCOME], told[Attr.ERROR_TYPE]) == ("error", error_type)
    assert Attr.FINISH_REASONS not in told
    assert "what it quotes" not in traced.get_finished_spans()[-1].to_json()


@pytest.mark.parametrize(
    "answer",
    [
        {"whole": INCOMPLETE},
        {"events": [BEGUN, {"type": "response.incomplete", "response": INCOMPLETE}]},
    ],
)
def test_an_incomplete_answer_is_none(traced: InMemorySpanExporter, answer: Any) -> None:
    respond(**answer)
    told = chat_of(traced)
    assert told[Attr.OUTCOME] == "ok"
    assert told[Attr.FINISH_REASONS] == ("max_output_tokens",)


def test_chunks_without_a_delta_are_read_for_what_they_have(
    traced: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """As Azure's asynchronous content filter sends them."""
    choices: list[dict[str, Any]] = [
        {"index": 0, "delta": {"role": "assistant", "content": ""}},
        {"index": 0, "delta": {"content": "hi"}},
        {"index": 0, "finish_reason": None, "content_filter_offsets": {}},
        {"index": 0, "finish_reason": "content_filter", "content_filter_results": {}},
    ]
    chunks = [{**ENVELOPE, "choices": [choice]} for choice in choices]
    with answering(events=[*chunks, {**ENVELOPE, "choices": [], "usage": TOKENS}]) as client:
        list(client.chat.completions.create(**CHAT, stream=True))
    told = chat_of(traced)
    assert told[Attr.FINISH_REASONS] == ("content_filter",)
    assert (told[Attr.INPUT_TOKENS], told[Attr.LLM_CHUNKS]) == (1, 1)
    assert caplog.text == ""


def test_chunks_may_be_plain_objects(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    llm: LLM,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with openai_client(llm.url) as client:
        body = {**CHAT, **USAGE, "stream": True}
        kinds: Any = {"cast_to": object, "stream": True, "stream_cls": openai.Stream[object]}
        assert {type(c) for c in client.post("/chat/completions", body=body, **kinds)} == {dict}
    told = chat_of(traced)
    assert told[Attr.FINISH_REASONS] == ("stop",)
    assert told[Attr.LLM_CHUNKS] == 4
    assert tokens(measured) == {"input": 11, "output": 4}
    assert caplog.text == ""


@pytest.mark.parametrize("how", ["langchain", "by hand"])
def test_what_a_request_asks_is_on_the_span_of_whoever_makes_it(
    traced: InMemorySpanExporter, llm: LLM, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    asked: Any = {"temperature": 0.3, "max_tokens": 10, "top_p": 0.5}
    if how == "langchain":
        monkeypatch.setenv("OPENAI_BASE_URL", f"{llm.url}/v1")
        ChatOpenAI(model="gpt-asked", api_key=lambda: KEY, **asked).invoke("x")
    else:
        with otel.llm_call("gpt-asked"), openai_client(llm.url) as client:
            client.chat.completions.create(**CHAT, **asked)
    assert tree(traced.get_finished_spans()) == "chat gpt-asked\n  POST"
    told = chat_of(traced)
    assert told[Attr.REQUEST_TEMPERATURE] == 0.3
    assert told[Attr.REQUEST_MAX_TOKENS] == 10
    assert told[Attr.REQUEST_TOP_P] == 0.5
    assert told[Attr.SERVER_ADDRESS] == "127.0.0.1"


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_langchains_responses_say_why_they_stopped(
    traced: InMemorySpanExporter, llm: LLM, how: str
) -> None:
    model = langchain_model(llm.url, use_responses_api=True)
    list(model.stream("x")) if how == "stream" else model.invoke("x")
    assert chat_of(traced)[Attr.FINISH_REASONS] == ("stop",)

"""The OpenAI and Anthropic SDKs used directly: one call is one span, in every form."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import _guard
from otel_orchestrator.instrumentors import _following, _sdk
from otel_orchestrator.instrumentors import openai as openai_instrumentor
from otel_orchestrator.llm import tokens as token_names
from otel_orchestrator.semconv import Attr

from ..llm_server import LLM, Reply
from ..trees import attributes_of, tree
from .callers import (
    CHAT,
    FORMS,
    RESPONSE,
    USAGE,
    anthropic_client,
    call,
    langchain_model,
    openai_client,
)
from .callers import MESSAGE as CLAUDE
from .told import chat_of, tokens


@pytest.mark.parametrize(("api", "is_async", "form"), FORMS)
def test_a_call_is_one_span_with_its_tokens(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    llm: LLM,
    api: str,
    is_async: bool,
    form: str,
) -> None:
    call(api, llm.url, form, is_async=is_async)
    asked = "gpt-asked" if api == "openai" else "claude-asked"
    assert tree(traced.get_finished_spans()) == f"chat {asked}\n  POST"
    told = chat_of(traced)
    assert told[Attr.OUTCOME] == "ok"
    assert told[Attr.PROVIDER] == api
    assert told[Attr.RESPONSE_MODEL] == ("gpt-real" if api == "openai" else "claude-real")
    assert told[Attr.FINISH_REASONS] == (("stop",) if api == "openai" else ("end_turn",))
    assert told[Attr.SERVER_ADDRESS] == "127.0.0.1"
    assert (told[Attr.INPUT_TOKENS], told[Attr.OUTPUT_TOKENS]) == (11, 4)
    assert tokens(measured) == {"input": 11, "output": 4}
    streams = "stream" in form.replace("streaming", "")
    assert (Attr.TIME_TO_FIRST_CHUNK in told) == streams
    assert told.get(Attr.LLM_CHUNKS) == (4 if streams else None)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("form", ["create", "create stream"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_fails_is_an_error(
    traced: InMemorySpanExporter, llm: LLM, api: str, form: str, is_async: bool
) -> None:
    llm.replies += [Reply(status=400)]
    with pytest.raises(Exception, match="400") as raised:
        call(api, llm.url, form, is_async=is_async)
    told = chat_of(traced)
    assert told[Attr.OUTCOME] == "error"
    assert told[Attr.ERROR_TYPE].endswith(raised.type.__name__)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("form", ["create stream", "stream", "create stream, next"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_breaks_is_an_error(
    traced: InMemorySpanExporter, llm: LLM, api: str, form: str, is_async: bool
) -> None:
    llm.replies += [Reply(drop_after=5)]
    with pytest.raises(Exception) as raised:
        call(api, llm.url, form, is_async=is_async)
    told = chat_of(traced)
    assert told[Attr.OUTCOME] == "error"
    assert told[Attr.ERROR_TYPE].endswith(raised.type.__name__)
    assert told[Attr.LLM_CHUNKS] >= 1


def test_the_readers_own_spans_are_not_below_the_call(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    with openai_client(llm.url) as client:
        for _ in client.chat.completions.create(**CHAT, stream=True):
            with otel.node("reader"):
                pass
    lines = tree(traced.get_finished_spans()).splitlines()
    assert set(lines) == {"chat gpt-asked", "  POST", "node reader"}


def test_calls_of_other_kinds_have_no_chat_span(traced: InMemorySpanExporter, llm: LLM) -> None:
    with openai_client(llm.url, max_retries=0) as client, pytest.raises(KeyError):
        llm.replies += [Reply(status=404)]
        try:
            client.embeddings.create(model="e", input="x")
        except openai.NotFoundError:
            raise KeyError from None
    assert tree(traced.get_finished_spans()) == "POST"


TOOL = {"name": "look", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def test_calls_are_equal_only_if_all_is_that_determines_the_answer(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    with openai_client(llm.url) as gpt, anthropic_client(llm.url) as claude:
        chat, respond = gpt.chat.completions.create, gpt.responses.create
        message = claude.messages.create
        another = {**FUNCTION, "function": {"name": "listen", "parameters": {}}}
        different: list[Any] = [
            lambda: chat(**CHAT),
            lambda: chat(**CHAT, tools=[FUNCTION]),
            lambda: chat(**CHAT, tools=[another]),
            lambda: chat(**CHAT, tools=[FUNCTION], tool_choice="required"),
            lambda: chat(**CHAT, temperature=0.5),
            lambda: chat(**CHAT, response_format={"type": "json_object"}),
            lambda: chat(**CHAT, extra_body={"of_the_future": 1}),
            lambda: respond(**RESPONSE),
            lambda: respond(**RESPONSE, tools=[{"type": "function", "name": "look"}]),
            lambda: respond(**RESPONSE, instructions="Be kind."),
            lambda: respond(**RESPONSE, previous_response_id="resp_0"),
            lambda: message(**CLAUDE),
            lambda: message(**CLAUDE, tools=[TOOL]),
            lambda: message(**CLAUDE, system="Be kind."),
        ]
        equal_to_the_first: list[Any] = [
            lambda: list(chat(**CHAT, **USAGE, stream=True)),
            lambda: chat(**CHAT, user="somebody", extra_headers={"a": "b"}, timeout=9),
            lambda: chat(**CHAT, metadata={"a": "b"}, service_tier="flex"),
        ]
        for ask in (*different, *different, *equal_to_the_first):
            ask()
    chats = [s for s in traced.get_finished_spans() if s.name.startswith("chat")]
    hashes = [attributes_of(span)[Attr.PROMPT_HASH] for span in chats]
    count = len(different)
    assert hashes[:count] == hashes[count : 2 * count], "the same again"
    assert len(set(hashes[:count])) == count
    assert set(hashes[2 * count :]) == {hashes[0]}


def test_by_hand_around_an_sdk_is_one_call(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    llm.replies += [Reply(status=500)]
    with otel.llm_call("gpt-asked", provider="openai"), openai_client(llm.url) as client:
        for _ in client.chat.completions.create(**CHAT, **USAGE, stream=True):
            pass
    assert tree(traced.get_finished_spans()) == "chat gpt-asked\n  POST\n  POST"
    told = chat_of(traced)
    assert told[Attr.OUTPUT_TOKENS] == 4
    assert told[Attr.LLM_ATTEMPTS] == 2
    assert Attr.TIME_TO_FIRST_CHUNK in told
    assert tokens(measured) == {"input": 11, "output": 4}


def test_by_hand_what_is_said_counts(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    with otel.llm_call("gpt-asked") as by_hand, openai_client(llm.url) as client:
        client.chat.completions.create(**CHAT)
        otel.record_usage(by_hand, input_tokens=1, output_tokens=2)
    assert tokens(measured) == {"input": 1, "output": 2}


def test_by_hand_around_langchain_around_an_sdk_is_one_call(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    model = langchain_model(llm.url)
    with otel.llm_call("gpt-asked"):
        model.invoke("x")
        with otel.llm_call("gpt-asked"):
            list(model.stream("x", stream_usage=True))
    assert tree(traced.get_finished_spans()) == "chat gpt-asked\n  POST\n  POST"
    assert tokens(measured) == {"input": 22, "output": 8}


class Guarded(FakeListChatModel):
    """A model that asks another by an SDK, and passes on what that one told."""

    url: str = ""

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        with openai_client(self.url) as client:
            answer = client.chat.completions.create(**CHAT)
        usage: Any = {"input_tokens": 11, "output_tokens": 4, "total_tokens": 15}
        message = AIMessage(answer.choices[0].message.content, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


def test_another_models_call_inside_of_a_model_is_seen_and_counted_once(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    Guarded(responses=["never"], url=llm.url).invoke("x")
    assert tree(traced.get_finished_spans()) == "chat Guarded\n  chat gpt-asked\n    POST"
    assert tokens(measured) == {"input": 11, "output": 4}
    with_tokens = [
        s.name for s in traced.get_finished_spans() if Attr.INPUT_TOKENS in attributes_of(s)
    ]
    assert with_tokens == ["chat gpt-asked"]


def _functions() -> list[Any]:
    sync, async_ = openai.OpenAI.__mro__, openai.AsyncOpenAI.__mro__
    owners = [next(c for c in mro if "request" in vars(c)) for mro in (sync, async_)]
    owners += [
        next(c for c in mro if "request" in vars(c))
        for mro in (anthropic.Anthropic.__mro__, anthropic.AsyncAnthropic.__mro__)
    ]
    found = [vars(o)["request"] for o in owners]
    for sdk in (openai, anthropic):
        found += [vars(sdk.Stream)[n] for n in ("__iter__", "__next__")]
        found += [vars(sdk.AsyncStream)[n] for n in ("__aiter__", "__anext__")]
    return found


def test_uninstrument_restores_the_very_functions() -> None:
    before = _functions()
    otel.instrument(only=["openai", "anthropic"])
    otel.instrument(only=["openai", "anthropic"])
    assert all(a is not b for a, b in zip(_functions(), before, strict=True))
    otel.uninstrument()
    assert all(a is b for a, b in zip(_functions(), before, strict=True))


# Everything that our wrappers call, inside of their guards.
HOOKS = [
    (_sdk, "_enter"),
    (_sdk, "_begin"),
    (_sdk, "_address"),
    (_sdk, "prompt_hash"),
    (_sdk, "_leave_out_the_native_span"),
    (_following, "_watched"),
    (openai_instrumentor, "_provider"),
    (_sdk, "read_envelope"),
    (token_names, "take"),
]


@pytest.mark.parametrize(("module", "hook"), HOOKS)
@pytest.mark.parametrize("form", ["create", "create stream", "stream", "raw", "streaming response"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_fault_of_ours_changes_nothing_for_the_program(
    traced: InMemorySpanExporter,
    llm: LLM,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    hook: str,
    form: str,
    is_async: bool,
) -> None:
    monkeypatch.setattr(_guard, "strict", False)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(module, hook, broken)
    call("openai", llm.url, form, is_async=is_async)
    assert len(llm.requests) == 1


def test_a_response_still_tells_how_long_it_took(traced: InMemorySpanExporter, llm: LLM) -> None:
    with openai_client(llm.url) as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        for _ in stream:
            pass
        assert stream.response.elapsed.total_seconds() > 0
        assert trace.get_current_span() is trace.INVALID_SPAN

"""What a LangChain model says of its first token and its stream equals what the server did.

However it came to stream: asked to by `stream`, made so, or because somebody listens to its tokens.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks.manager import CallbackManagerForLLMRun
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..clocks import same, seconds
from ..llm_server import LLM, Reply
from ..trees import attributes_of
from .callers import KEY, http_module, langchain_model
from .measuring import named, until_it_agrees

HAS_EVENTS = hasattr(CallbackManagerForLLMRun, "on_stream_event")


def _openai(url: str, http: Any = None, **options: Any) -> Any:
    return langchain_model(url, http_async_client=http, **options)


def _responses(url: str, http: Any = None, **options: Any) -> Any:
    return _openai(url, http, use_responses_api=True, **options)


def _claude(url: str, http: Any = None, **options: Any) -> Any:
    asked: Any = {"model_name": "claude-asked", "base_url": url, "api_key": KEY}
    model = ChatAnthropic(**asked, **options)
    # It takes no HTTP client, but what it has once made it keeps.
    model.__dict__["_async_client"] = anthropic.AsyncAnthropic(
        base_url=url, api_key=KEY, http_client=http
    )
    return model


def _claude_in_blocks(url: str, http: Any = None, **options: Any) -> Any:
    return _claude(url, http, output_version="v1", **options)


MODELS = [_openai, _responses, _claude, _claude_in_blocks]
Make = Callable[..., Any]


def _graph(model: Any) -> Any:
    def sync(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def not_sync(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", RunnableLambda(sync, not_sync))
    graph.add_edge(START, "ask")
    return graph.compile()


ASKED: Any = {"messages": [HumanMessage("x")]}


def _stream(make: Make, url: str) -> None:
    list(make(url).stream("x"))


def _invoke(make: Make, url: str) -> None:
    make(url, streaming=True).invoke("x")


def _messages(make: Make, url: str) -> None:
    list(_graph(make(url)).stream(ASKED, stream_mode="messages"))


def _events(make: Make, url: str) -> None:
    for message in _graph(make(url)).stream_events(ASKED, version="v3").messages:
        list(message.text)


def _model_events(make: Make, url: str) -> None:
    """The model is asked neither to `stream` nor to `invoke`: the SDK below it has the span."""
    assert make(url).stream_events("x", version="v3").output.text


def in_loop(ask: Callable[[Make, str, Any], Any]) -> Callable[[Make, str], None]:
    """Return `ask`, a coroutine function, as a function that lends it an HTTP client.

    By themselves, the models share one for the whole process, which belongs to one loop.
    """

    @functools.wraps(ask)
    def run(make: Make, url: str) -> None:
        sdk = anthropic if make in (_claude, _claude_in_blocks) else openai

        async def lend() -> None:
            async with http_module(sdk).AsyncClient() as http:
                await ask(make, url, http)

        asyncio.run(lend())

    return run


@in_loop
async def _astream(make: Make, url: str, http: Any) -> None:
    async for _ in make(url, http).astream("x"):
        pass


@in_loop
async def _ainvoke(make: Make, url: str, http: Any) -> None:
    await make(url, http, streaming=True).ainvoke("x")


@in_loop
async def _amessages(make: Make, url: str, http: Any) -> None:
    async for _ in _graph(make(url, http)).astream(ASKED, stream_mode="messages"):
        pass


@in_loop
async def _aevents(make: Make, url: str, http: Any) -> None:
    events = await _graph(make(url, http)).astream_events(ASKED, version="v3")
    async for message in events.messages:
        async for _ in message.text:
            pass


needs_events = pytest.mark.skipif(not HAS_EVENTS, reason="an older langchain-core")
WAYS = [
    *(_stream, _invoke, _messages),
    *(pytest.param(ask, marks=needs_events) for ask in (_events, _model_events)),
    *(_astream, _ainvoke, _amessages, pytest.param(_aevents, marks=needs_events)),
]


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("ask", WAYS)
def test_first_token_and_stream(
    traced: InMemorySpanExporter, llm: LLM, ask: Callable[[Make, str], None], make: Make
) -> None:
    def scenario() -> None:
        llm.replies += [Reply(status=429, retry_after_s=0.1), Reply(first_s=0.15, pause_s=0.03)]
        ask(make, llm.url)
        _, answered = llm.seen
        (chat,) = named(traced, "chat")
        told = attributes_of(chat)
        assert told[Attr.LLM_ATTEMPTS] == 2
        assert told[Attr.LLM_CHUNKS] == 4
        assert told[Attr.REQUEST_STREAM] is True
        assert told[Attr.OUTPUT_TOKENS] == 4
        assert chat.start_time is not None
        first = (answered.first_token_ns - chat.start_time) / 1e9
        same("first token", told[Attr.TIME_TO_FIRST_CHUNK], first)
        streamed = (answered.ended_ns - answered.first_token_ns) / 1e9
        same("stream", seconds(chat) - told[Attr.TIME_TO_FIRST_CHUNK], streamed)

    until_it_agrees(scenario, traced, llm)


@needs_events
@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("ask", [_events, _aevents])
def test_what_a_cache_repeats_did_not_stream(
    traced: InMemorySpanExporter, llm: LLM, ask: Callable[[Make, str], None]
) -> None:
    """Whoever listens for events gets those of an answer out of a cache, too."""
    cache = InMemoryCache()
    for _ in range(2):
        ask(functools.partial(_openai, cache=cache), llm.url)
    first, again = (attributes_of(span) for span in named(traced, "chat"))
    assert first[Attr.LLM_CHUNKS] == 4
    assert again[Attr.LLM_CACHED] is True
    assert Attr.LLM_CHUNKS not in again

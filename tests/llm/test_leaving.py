"""Streams that are not read to their end: how the call ends, and when."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import metrics
from otel_orchestrator.lifecycle import collecting, waits
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from ..clocks import same, seconds
from ..llm_server import LLM, Reply
from ..trees import attributes_of
from .callers import CHAT, MESSAGE, USAGE, anthropic_client, langchain_model, openai_client
from .measuring import (
    KINDS,
    MODULES,
    adds_up,
    http_client,
    named,
    until_it_agrees,
)  # fmt: skip
from .told import chat_of, tokens


def _leave_by_break(client: Any) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True)
    for _ in stream:
        break
    stream.close()


def _leave_by_close(client: Any) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True)
    next(stream)
    stream.close()


def _leave_helper(client: Any) -> None:
    with client.chat.completions.stream(**CHAT) as stream:
        for _ in stream:
            break


def _leave_unread(client: Any) -> None:
    client.chat.completions.create(**CHAT, stream=True)
    gc.collect()


def _leave_raw(client: Any) -> None:
    with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
        next(response.iter_lines())


@pytest.mark.parametrize(
    "leave", [_leave_by_break, _leave_by_close, _leave_helper, _leave_unread, _leave_raw]
)
def test_a_stream_that_is_left_is_abandoned(
    traced: InMemorySpanExporter, llm: LLM, leave: Any
) -> None:
    llm.replies += [Reply(pause_s=0.02)]
    with openai_client(llm.url) as client, otel.node("worker"):
        leave(client)
    assert chat_of(traced)[Attr.OUTCOME] == "abandoned"


@pytest.mark.parametrize("how", ["break", "close", "helper", "cancel"])
def test_an_async_stream_that_is_left(traced: InMemorySpanExporter, llm: LLM, how: str) -> None:
    async def leave() -> None:
        async with anthropic_client(llm.url, is_async=True) as client:
            if how == "helper":
                async with client.messages.stream(**MESSAGE) as helper:
                    async for _ in helper:
                        break
                return
            stream = await client.messages.create(**MESSAGE, stream=True)
            if how == "break":
                async for _ in stream:
                    break
                await asyncio.sleep(0.01)
            elif how == "close":
                await anext(stream)
            else:
                reading = asyncio.create_task(_drain(stream))
                await asyncio.sleep(0.05)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            await stream.close()

    llm.replies += [Reply(pause_s=0.2 if how == "cancel" else 0.02)]
    asyncio.run(leave())
    assert chat_of(traced)[Attr.OUTCOME] == ("cancelled" if how == "cancel" else "abandoned")


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass


def test_a_reader_that_has_seen_why_the_model_stopped_leaves_nothing(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    with openai_client(llm.url) as client, otel.node("worker"):
        for chunk in client.chat.completions.create(**CHAT, stream=True):
            if chunk.choices[0].finish_reason:
                break
    assert chat_of(traced)[Attr.OUTCOME] == "ok"


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_stream_that_is_dropped_ends_when_the_server_drops_it(
    traced: InMemorySpanExporter, llm: LLM, module: Any, is_async: bool
) -> None:
    def scenario() -> None:
        llm.replies += [Reply(think_s=0.05, first_s=0.1, pause_s=0.05, drop_after=4)]
        with pytest.raises(Exception, match=r".") as raised:
            _read(llm.url, http_client(module, is_async), is_async=is_async)
        (dropped,) = llm.seen
        (chat,) = named(traced, "chat")
        told = attributes_of(chat)
        assert told[Attr.OUTCOME] == "error"
        assert told[Attr.ERROR_TYPE].endswith(raised.type.__name__)
        assert told[Attr.LLM_CHUNKS] == 3
        assert chat.start_time is not None
        first = (dropped.first_token_ns - chat.start_time) / 1e9
        same("first token", told[Attr.TIME_TO_FIRST_CHUNK], first)
        same("until dropped", seconds(chat), (dropped.ended_ns - chat.start_time) / 1e9)
        adds_up(traced, chat, (dropped.ended_ns - dropped.headers_ns) / 1e9)

    until_it_agrees(scenario, traced, llm)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_stream_that_is_left_ends_when_its_reader_leaves(
    traced: InMemorySpanExporter, llm: LLM, module: Any, is_async: bool
) -> None:
    """And not when it is closed, or when the next word would have come."""

    def scenario() -> None:
        llm.replies += [Reply(think_s=0.05, first_s=0.1, pause_s=0.05)]
        with otel.node("worker"):
            left_ns = _read(
                llm.url, http_client(module, is_async), is_async=is_async, leave_after=2
            )
        (chat,) = named(traced, "chat")
        told = attributes_of(chat)
        assert told[Attr.OUTCOME] == "abandoned"
        assert told[Attr.LLM_CHUNKS] == 2
        assert Attr.ERROR_TYPE not in told
        assert chat.start_time is not None
        same("until left", seconds(chat), (left_ns - chat.start_time) / 1e9)
        adds_up(traced, chat, (left_ns - llm.seen[0].headers_ns) / 1e9)

    until_it_agrees(scenario, traced, llm)


def _read(url: str, client: Any, *, is_async: bool, leave_after: int | None = None) -> int:
    """Read a stream, and return when it was left, a while before it is closed."""
    sdk = openai_client(url, is_async=is_async, http_client=client, max_retries=0)
    seen = 0

    def has_seen_enough(chunk: Any) -> bool:
        nonlocal seen
        seen += bool(chunk.choices and chunk.choices[0].delta.content)
        if seen == leave_after:
            time.sleep(0.1)  # it thinks about what it has read
            return True
        return False

    def read() -> int:
        with sdk.chat.completions.create(**CHAT, stream=True) as stream:
            for chunk in stream:
                if has_seen_enough(chunk):
                    break
            left_ns = time.time_ns()
            time.sleep(0.1)
        client.close()
        return left_ns

    async def aread() -> int:
        async with await sdk.chat.completions.create(**CHAT, stream=True) as stream:
            async for chunk in stream:
                if has_seen_enough(chunk):
                    break
            left_ns = time.time_ns()
            await asyncio.sleep(0.1)
        await client.aclose()
        return left_ns

    return asyncio.run(aread()) if is_async else read()


@pytest.mark.parametrize("is_async", KINDS)
def test_a_reader_that_comes_back_has_not_left(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM, is_async: bool
) -> None:
    async def read() -> None:
        async with openai_client(llm.url, is_async=True) as client:
            stream = await client.chat.completions.create(**CHAT, **USAGE, stream=True)
            async for _ in stream:
                break
            await anext(stream)
            async for _ in stream:
                pass

    if is_async:
        asyncio.run(read())
    else:
        with openai_client(llm.url) as client:
            stream = client.chat.completions.create(**CHAT, **USAGE, stream=True)
            for _ in stream:
                break
            next(stream)
            for _ in stream:
                pass
    told = chat_of(traced)
    assert told[Attr.OUTCOME] == "ok"
    assert told[Attr.LLM_CHUNKS] == 4
    assert tokens(measured) == {"input": 11, "output": 4}


def test_langchains_reader_that_has_seen_why_the_model_stopped_leaves_nothing(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    model = langchain_model(llm.url)
    for chunk in model.stream("x"):
        if chunk.response_metadata.get("finish_reason"):
            break
    assert chat_of(traced)[Attr.OUTCOME] == "ok"


@otel.llm_call("gpt-asked")
def asked_by_hand(client: Any) -> Iterator[Any]:
    yield from client.chat.completions.create(**CHAT, stream=True)


@pytest.mark.parametrize("who", ["openai", "langchain", "by hand"])
def test_what_the_collector_closes_is_told_when_it_is_done(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    llm: LLM,
    who: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected: list[str] = []

    def seen(record: Callable[..., None]) -> Callable[..., None]:
        def recorded(name: str, *args: Any, **kwargs: Any) -> None:
            collected.extend([name] if collecting.is_collecting() else [])
            record(name, *args, **kwargs)

        return recorded

    def begin(client: Any) -> None:
        if who == "openai":
            items = iter(client.chat.completions.create(**CHAT, stream=True))
        else:
            items = asked_by_hand(client)
            if who == "langchain":
                items = langchain_model(llm.url).stream("x")
        next(items)
        cycle = [items]
        cycle.append(cycle)
        time.sleep(0.005)

    for module in (metrics, waits):
        monkeypatch.setattr(module, "record", seen(module.record))
    with openai_client(llm.url) as client:
        gc.disable()
        try:
            begin(client)
            gc.collect()
        finally:
            gc.enable()
        assert (collected, named(traced, "wait"), named(traced, "chat")) == ([], [], [])
        with otel.node("next"):
            pass
    (chat,) = named(traced, "chat")
    (hold,) = named(traced, "wait consumer")
    assert chat_of(traced)[Attr.OUTCOME] == "abandoned"
    assert 0.005 <= seconds(hold) <= seconds(chat)


PROGRAM = """
import sys
import openai
import otel_orchestrator as otel

otel.configure("forgetful")
otel.instrument()
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="x")
messages = [{"role": "user", "content": "x"}]
with otel.run("forgetful"):
    stream = client.chat.completions.create(model="gpt-asked", messages=messages, stream=True)
    next(stream)
"""


def test_a_stream_that_a_program_forgets_ends_with_the_program(llm: LLM, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment["OTEL_ORCHESTRATOR_RUN_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, llm.url], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    run = read_run(find_run(None, tmp_path))
    (chat,) = [s for s in run.spans if s.name == "chat gpt-asked"]
    assert chat.outcome == "abandoned"

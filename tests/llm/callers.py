"""Every way to call a model with the OpenAI and the Anthropic SDK, sync and async."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import anthropic
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

PROMPT = "a prompt with a secret, hunter2"
KEY = "sk-very-secret"
MESSAGES: Any = [{"role": "user", "content": PROMPT}]

CHAT = {"model": "gpt-asked", "messages": MESSAGES}
RESPONSE = {"model": "gpt-asked", "input": PROMPT}
MESSAGE = {"model": "claude-asked", "messages": MESSAGES, "max_tokens": 100}
USAGE = {"stream_options": {"include_usage": True}}


def http_module(sdk: Any) -> Any:
    """Return the module whose clients an SDK is made on: httpx, or since late 2026 httpx2."""
    names = (c.__module__.partition(".")[0] for c in sdk.DefaultHttpxClient.__mro__)
    return sys.modules[next(name for name in names if name.startswith("httpx"))]


def openai_client(url: str, *, is_async: bool = False, **options: Any) -> Any:
    make = openai.AsyncOpenAI if is_async else openai.OpenAI
    return make(base_url=f"{url}/v1", api_key=KEY, **options)


def langchain_model(url: str, **options: Any) -> ChatOpenAI:
    key: Any = SecretStr(KEY)
    return ChatOpenAI(model="gpt-asked", base_url=f"{url}/v1", api_key=key, **options)


def anthropic_client(url: str, *, is_async: bool = False, **options: Any) -> Any:
    make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    return make(base_url=url, api_key=KEY, **options)


def _iterated(stream: Any) -> None:
    with stream as items:
        for _ in items:
            pass


def _by_next(stream: Any) -> None:
    while next(stream, None) is not None:
        pass


def _read_lines(manager: Any) -> None:
    with manager as response:
        list(response.iter_lines())


def _parsed(manager: Any) -> None:
    with manager as response:
        response.parse()


def _parsed_stream(manager: Any) -> None:
    with manager as response:
        _iterated(response.parse())


Form = Callable[[Any], Any]

OPENAI: dict[str, Form] = {
    "parse": lambda c: c.chat.completions.parse(**CHAT),
    "responses.parse": lambda c: c.responses.parse(**RESPONSE),
    "create": lambda c: c.chat.completions.create(**CHAT),
    "create stream": lambda c: _iterated(c.chat.completions.create(**CHAT, **USAGE, stream=True)),
    "create stream, next": lambda c: _by_next(
        c.chat.completions.create(**CHAT, **USAGE, stream=True)
    ),
    "stream": lambda c: _iterated(c.chat.completions.stream(**CHAT, **USAGE)),
    "raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse(),
    "raw stream": lambda c: _iterated(
        c.chat.completions.with_raw_response.create(**CHAT, **USAGE, stream=True).parse()
    ),
    "streaming response": lambda c: _parsed(
        c.chat.completions.with_streaming_response.create(**CHAT)
    ),
    "streaming response, lines": lambda c: _read_lines(
        c.chat.completions.with_streaming_response.create(**CHAT)
    ),
    "streaming response, stream": lambda c: _parsed_stream(
        c.chat.completions.with_streaming_response.create(**CHAT, **USAGE, stream=True)
    ),
    "streaming response, lines of a stream": lambda c: _read_lines(
        c.chat.completions.with_streaming_response.create(**CHAT, **USAGE, stream=True)
    ),
    "responses": lambda c: c.responses.create(**RESPONSE),
    "responses stream": lambda c: _iterated(c.responses.create(**RESPONSE, stream=True)),
    "responses.stream": lambda c: _iterated(c.responses.stream(**RESPONSE)),
    "responses raw": lambda c: c.responses.with_raw_response.create(**RESPONSE).parse(),
    "responses, lines of a stream": lambda c: _read_lines(
        c.responses.with_streaming_response.create(**RESPONSE, stream=True)
    ),
}

ANTHROPIC: dict[str, Form] = {
    "parse": lambda c: c.messages.parse(**MESSAGE),
    "create": lambda c: c.messages.create(**MESSAGE),
    "create stream": lambda c: _iterated(c.messages.create(**MESSAGE, stream=True)),
    "create stream, next": lambda c: _by_next(c.messages.create(**MESSAGE, stream=True)),
    "stream": lambda c: _iterated(c.messages.stream(**MESSAGE)),
    "raw": lambda c: c.messages.with_raw_response.create(**MESSAGE).parse(),
    "streaming response": lambda c: _parsed(c.messages.with_streaming_response.create(**MESSAGE)),
    "streaming response, stream": lambda c: _parsed_stream(
        c.messages.with_streaming_response.create(**MESSAGE, stream=True)
    ),
    "streaming response, lines of a stream": lambda c: _read_lines(
        c.messages.with_streaming_response.create(**MESSAGE, stream=True)
    ),
    "beta": lambda c: c.beta.messages.create(**MESSAGE),
}


async def _aiterated(stream: Any) -> None:
    async with stream as items:
        async for _ in items:
            pass


async def _aby_next(stream: Any) -> None:
    while await anext(stream, None) is not None:
        pass


async def _aparsed(manager: Any) -> None:
    async with manager as response:
        await response.parse()


async def _aparsed_stream(manager: Any) -> None:
    async with manager as response:
        await _aiterated(await response.parse())


async def _aread_bytes(manager: Any) -> None:
    async with manager as response:
        async for _ in response.iter_bytes(7):
            pass


async def _astreamed(awaitable: Any) -> None:
    await _aiterated(await awaitable)


async def _anexted(awaitable: Any) -> None:
    await _aby_next(await awaitable)


async def _araw(awaitable: Any) -> None:
    parsed = (await awaitable).parse()
    if hasattr(parsed, "__await__"):
        parsed = await parsed
    if hasattr(parsed, "__aiter__"):
        await _aiterated(parsed)


ASYNC_OPENAI: dict[str, Form] = {
    "parse": lambda c: c.chat.completions.parse(**CHAT),
    "responses.parse": lambda c: c.responses.parse(**RESPONSE),
    "create": lambda c: c.chat.completions.create(**CHAT),
    "create stream": lambda c: _astreamed(c.chat.completions.create(**CHAT, **USAGE, stream=True)),
    "create stream, next": lambda c: _anexted(
        c.chat.completions.create(**CHAT, **USAGE, stream=True)
    ),
    "stream": lambda c: _aiterated(c.chat.completions.stream(**CHAT, **USAGE)),
    "raw": lambda c: _araw(c.chat.completions.with_raw_response.create(**CHAT)),
    "raw stream": lambda c: _araw(
        c.chat.completions.with_raw_response.create(**CHAT, **USAGE, stream=True)
    ),
    "streaming response": lambda c: _aparsed(
        c.chat.completions.with_streaming_response.create(**CHAT)
    ),
    "streaming response, stream": lambda c: _aparsed_stream(
        c.chat.completions.with_streaming_response.create(**CHAT, **USAGE, stream=True)
    ),
    "streaming response, bytes of a stream": lambda c: _aread_bytes(
        c.chat.completions.with_streaming_response.create(**CHAT, **USAGE, stream=True)
    ),
    "responses": lambda c: c.responses.create(**RESPONSE),
    "responses raw": lambda c: _araw(c.responses.with_raw_response.create(**RESPONSE)),
    "responses stream": lambda c: _astreamed(c.responses.create(**RESPONSE, stream=True)),
    "responses.stream": lambda c: _aiterated(c.responses.stream(**RESPONSE)),
}

ASYNC_ANTHROPIC: dict[str, Form] = {
    "parse": lambda c: c.messages.parse(**MESSAGE),
    "create": lambda c: c.messages.create(**MESSAGE),
    "create stream": lambda c: _astreamed(c.messages.create(**MESSAGE, stream=True)),
    "create stream, next": lambda c: _anexted(c.messages.create(**MESSAGE, stream=True)),
    "stream": lambda c: _aiterated(c.messages.stream(**MESSAGE)),
    "raw": lambda c: _araw(c.messages.with_raw_response.create(**MESSAGE)),
    "streaming response": lambda c: _aparsed(c.messages.with_streaming_response.create(**MESSAGE)),
    "streaming response, stream": lambda c: _aparsed_stream(
        c.messages.with_streaming_response.create(**MESSAGE, stream=True)
    ),
    "streaming response, bytes of a stream": lambda c: _aread_bytes(
        c.messages.with_streaming_response.create(**MESSAGE, stream=True)
    ),
    "beta": lambda c: c.beta.messages.create(**MESSAGE),
}

FORMS = [
    *(("openai", False, form) for form in OPENAI),
    *(("anthropic", False, form) for form in ANTHROPIC),
    *(("openai", True, form) for form in ASYNC_OPENAI),
    *(("anthropic", True, form) for form in ASYNC_ANTHROPIC),
]


def call(api: str, url: str, form: str, *, is_async: bool, **options: Any) -> None:
    """Call a model in one of the forms, with a client of its own."""
    make = openai_client if api == "openai" else anthropic_client
    if not is_async:
        with make(url, **options) as client:
            (OPENAI if api == "openai" else ANTHROPIC)[form](client)
        return

    async def run() -> None:
        async with make(url, is_async=True, **options) as client:
            await (ASYNC_OPENAI if api == "openai" else ASYNC_ANTHROPIC)[form](client)

    asyncio.run(run())

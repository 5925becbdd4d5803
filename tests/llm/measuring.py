"""Compare what spans say with what a server did, on machines that are busy now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import signature
from typing import Any

import httpx
import httpx2
import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from .. import clocks
from ..clocks import Differs, same, seconds
from ..llm_server import LLM
from ..trees import attributes_of, tree
from .callers import CHAT, USAGE, anthropic_client, http_module, openai_client
from .callers import MESSAGE as CLAUDE

BOTH = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]
# openai takes clients of httpx, and since it is made on httpx2, of either.
MODULES = BOTH if http_module(openai) is httpx2 else BOTH[:1]
KINDS = [pytest.param(False, id="sync"), pytest.param(True, id="async")]


def looks_like(traced: InMemorySpanExporter, expected: str, *, show: list[str]) -> None:
    # On a busy machine it may take a millisecond to get a free connection, or to read on.
    drawn = tree(traced.get_finished_spans(), waits=True, show=show)
    if drawn != expected and ("wait pool" in drawn or "wait consumer" in drawn):
        raise Differs(drawn)
    assert drawn == expected


def until_it_agrees(scenario: Callable[[], None], traced: InMemorySpanExporter, llm: LLM) -> None:
    def forget() -> None:
        traced.clear()
        llm.replies.clear()
        llm.seen.clear()

    clocks.until_it_agrees(scenario, forget)


def named(traced: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    found = [s for s in traced.get_finished_spans() if s.name.startswith(name)]
    return sorted(found, key=lambda s: s.start_time or 0)


def http_client(module: Any, is_async: bool, **options: Any) -> Any:
    make = module.AsyncClient if is_async else module.Client
    if "proxy" in options and "proxy" not in signature(make).parameters:  # httpx before 0.26
        options["proxies"] = options.pop("proxy")
    return make(**options)


def stream_chat(url: str, client: Any, *, is_async: bool, api: str = "openai") -> None:
    """Read one streamed answer."""
    make = openai_client if api == "openai" else anthropic_client
    ask: Callable[[], Any]
    sdk = make(url, is_async=is_async, http_client=client, max_retries=4)
    if api == "openai":
        ask = lambda: sdk.chat.completions.create(**CHAT, **USAGE, stream=True)  # noqa: E731
    else:
        ask = lambda: sdk.messages.create(**CLAUDE, stream=True)  # noqa: E731
    if not is_async:
        for _ in ask():
            pass
        client.close()
        return

    async def run() -> None:
        async for _ in await ask():
            pass
        await client.aclose()

    asyncio.run(run())


_PHASES = (Attr.HTTP_CONNECT, Attr.HTTP_TLS, Attr.HTTP_SEND, Attr.HTTP_FIRST_BYTE)


def adds_up(traced: InMemorySpanExporter, chat: ReadableSpan, answered_s: float) -> None:
    """Check that attempts and waits cover a call but for what comes after the last headers.

    And that an attempt is its wait for a connection and its phases.
    """
    assert chat.start_time is not None
    assert chat.end_time is not None
    before, uncovered = chat.start_time, 0
    for child in _below(traced, chat):
        assert child.start_time is not None
        assert child.end_time is not None
        assert child.start_time // 1000 > before // 1000, "siblings touch"
        uncovered += child.start_time - before
        if child.name == "wait consumer":  # its reader's, after the headers
            uncovered -= child.start_time - before
            continue
        before = child.end_time
        if child.name == "POST":
            told = attributes_of(child)
            parts = [told.get(phase, 0.0) for phase in _PHASES]
            waits = [seconds(wait) for wait in _below(traced, child)]
            same("attempt", sum([*parts, *waits]), seconds(child))
    same("not covered", uncovered / 1e9, 0)
    same("after the headers", (chat.end_time - before) / 1e9, answered_s)


def _below(traced: InMemorySpanExporter, parent: ReadableSpan) -> list[ReadableSpan]:
    assert parent.context is not None
    span_id = parent.context.span_id
    return [s for s in named(traced, "") if s.parent is not None and s.parent.span_id == span_id]

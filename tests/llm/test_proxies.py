"""Through a real proxy: the phases are right, whether it tunnels, forwards or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..clocks import same, seconds
from ..llm_server import LLM, Reply, serving
from ..trees import attributes_of
from .callers import CHAT, call, openai_client
from .certificates import client_context, server_context
from .measuring import (
    BOTH,
    KINDS,
    MODULES,
    http_client,
    named,
    stream_chat,
    until_it_agrees,
)  # fmt: skip
from .proxy import Proxy, proxying

PHASES = (Attr.HTTP_CONNECT, Attr.HTTP_TLS, Attr.HTTP_SEND, Attr.HTTP_FIRST_BYTE)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def slow_tls(certificates: Path) -> Iterator[LLM]:
    with serving(tls=server_context(certificates, ["http/1.1"]), handshake_s=0.2) as llm:
        yield llm


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as proxy:
        yield proxy


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_tunnel_is_part_of_connecting(
    traced: InMemorySpanExporter,
    slow_tls: LLM,
    certificates: Path,
    proxy: Proxy,
    module: Any,
    is_async: bool,
) -> None:
    proxy.delay_s = 0.15

    def scenario() -> None:
        slow_tls.replies += [Reply(think_s=0.05)]
        client = http_client(module, is_async, verify=client_context(certificates), proxy=proxy.url)
        stream_chat(slow_tls.url, client, is_async=is_async)
        (post,) = named(traced, "POST")
        told = attributes_of(post)
        same("tunnel", told[Attr.HTTP_CONNECT], 0.15)
        same("handshake", told[Attr.HTTP_TLS], 0.2)
        same("thinking", told[Attr.HTTP_FIRST_BYTE], 0.05)
        same("attempt", sum(told[p] for p in PHASES), seconds(post))
        assert told[Attr.HTTP_REUSED] is False

    until_it_agrees(scenario, traced, slow_tls)
    assert all(line.startswith("CONNECT ") for line in proxy.asked)


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_tunnel_is_used_again(
    traced: InMemorySpanExporter,
    slow_tls: LLM,
    certificates: Path,
    proxy: Proxy,
    module: Any,
    is_async: bool,
) -> None:
    client = http_client(module, is_async, verify=client_context(certificates), proxy=proxy.url)
    url = f"{slow_tls.url}/v1/messages"

    async def ask() -> None:
        for _ in range(2):
            await client.post(url, json={})
        await client.aclose()

    if is_async:
        asyncio.run(ask())
    else:
        for _ in range(2):
            client.post(url, json={})
        client.close()
    told = [attributes_of(s) for s in named(traced, "POST")]
    assert [t[Attr.HTTP_REUSED] for t in told] == [False, True]
    assert Attr.HTTP_CONNECT not in told[1]
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_what_is_forwarded_goes_over_a_connection_to_the_proxy(
    traced: InMemorySpanExporter, llm: LLM, proxy: Proxy, module: Any, is_async: bool
) -> None:
    def scenario() -> None:
        llm.replies += [Reply(think_s=0.1, first_s=0.1)]
        stream_chat(llm.url, http_client(module, is_async, proxy=proxy.url), is_async=is_async)
        (post,), (chat,) = named(traced, "POST"), named(traced, "chat")
        told = attributes_of(post)
        same("connect", told[Attr.HTTP_CONNECT], 0)
        same("thinking", told[Attr.HTTP_FIRST_BYTE], 0.1)
        assert Attr.HTTP_TLS not in told
        assert chat.start_time is not None
        first = (llm.seen[0].first_token_ns - chat.start_time) / 1e9
        same("first token", attributes_of(chat)[Attr.TIME_TO_FIRST_CHUNK], first)

    until_it_agrees(scenario, traced, llm)
    assert all(line.startswith(f"POST {llm.url}/v1/") for line in proxy.asked)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_tunnel_that_is_refused_was_never_more_than_connecting(
    traced: InMemorySpanExporter, slow_tls: LLM, proxy: Proxy, module: Any, is_async: bool
) -> None:
    proxy.delay_s, proxy.refuses = 0.15, True

    def scenario() -> None:
        client = http_client(module, is_async, proxy=proxy.url)
        with pytest.raises(Exception, match="onnection error"):
            call(
                "openai",
                slow_tls.url,
                "create",
                is_async=is_async,
                http_client=client,
                max_retries=0,
            )
        (post,), (chat,) = named(traced, "POST"), named(traced, "chat")
        told = attributes_of(post)
        same("connect", told[Attr.HTTP_CONNECT], 0.15)
        same("attempt", told[Attr.HTTP_CONNECT], seconds(post))
        assert [p for p in PHASES if p in told] == [Attr.HTTP_CONNECT]
        assert told[Attr.ERROR_TYPE].endswith("ProxyError")
        assert attributes_of(chat)[Attr.OUTCOME] == "error"

    until_it_agrees(scenario, traced, slow_tls)


def test_a_proxy_out_of_the_environment(
    traced: InMemorySpanExporter, llm: LLM, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with openai_client(llm.url) as client:
        client.chat.completions.create(**CHAT)
    assert len(proxy.asked) == 1
    assert attributes_of(named(traced, "POST")[0])[Attr.HTTP_REUSED] is False

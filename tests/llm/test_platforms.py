"""The SDKs' clients for Azure, AWS and Google: one call is one span with its tokens there, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..llm_server import LLM, Reply
from ..trees import tree
from .callers import (
    ANTHROPIC,
    ASYNC_ANTHROPIC,
    ASYNC_OPENAI,
    KEY,
    OPENAI,
)  # fmt: skip
from .told import chat_of, tokens

Make = Callable[[Any, str], Any]

MAKERS: dict[str, tuple[str, str, Make]] = {
    "AzureOpenAI": (
        "openai",
        "azure.ai.openai",
        lambda make, url: make(azure_endpoint=url, api_key=KEY, api_version="2024-10-21"),
    ),
    "BedrockOpenAI": (
        "openai",
        "aws.bedrock",
        lambda make, url: make(base_url=f"{url}/v1", api_key=KEY, aws_region="us-east-1"),
    ),
    "AnthropicVertex": (
        "anthropic",
        "gcp.vertex_ai",
        lambda make, url: make(base_url=url, access_token=KEY, region="r", project_id="p"),
    ),
    "AnthropicBedrock": (
        "anthropic",
        "aws.bedrock",
        lambda make, url: make(base_url=url, api_key=KEY, aws_region="r"),
    ),
    "AnthropicBedrockMantle": (
        "anthropic",
        "aws.bedrock",
        lambda make, url: make(base_url=url, api_key=KEY, aws_region="r"),
    ),
    "AnthropicAWS": (
        "anthropic",
        "anthropic",
        lambda make, url: make(base_url=url, api_key=KEY, aws_region="r", workspace_id="w"),
    ),
    "AnthropicFoundry": (
        "anthropic",
        "anthropic",
        lambda make, url: make(base_url=url, api_key=KEY),
    ),
}

# Bedrock's own streams are binary, and need botocore to be read.
CASES = [
    (name, form)
    for name, (api, _, _) in MAKERS.items()
    for form in (
        *("create", "create stream", "raw"),
        *(("responses", "responses stream") if api == "openai" else ("stream",)),
    )
    if name != "AnthropicBedrock" or "stream" not in form
    if hasattr(openai, name) or hasattr(anthropic, name)  # older ones have fewer
]


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_is_one_span_with_its_tokens(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    llm: LLM,
    name: str,
    form: str,
    is_async: bool,
) -> None:
    api, provider, make = MAKERS[name]
    sdk: Any = openai if api == "openai" else anthropic
    llm.replies += [Reply(status=429)]

    async def run() -> None:
        async with make(getattr(sdk, f"Async{name}"), llm.url) as client:
            await (ASYNC_OPENAI if api == "openai" else ASYNC_ANTHROPIC)[form](client)

    if is_async:
        asyncio.run(run())
    else:
        with make(getattr(sdk, name), llm.url) as client:
            (OPENAI if api == "openai" else ANTHROPIC)[form](client)
    asked = "gpt-asked" if api == "openai" else "claude-asked"
    assert tree(traced.get_finished_spans()) == f"chat {asked}\n  POST\n  POST"
    told = chat_of(traced)
    assert told[Attr.PROVIDER] == provider
    assert told[Attr.LLM_ATTEMPTS] == 2
    assert (told[Attr.INPUT_TOKENS], told[Attr.OUTPUT_TOKENS]) == (11, 4)
    assert tokens(measured) == {"input": 11, "output": 4}

"""Chat models of LangChain against a local server, and ways to ask them."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from ..llm.callers import langchain_model
from ..llm_server import LLM
from ..trees import attributes_of

PROMPT = "a prompt with a secret: hunter2"
KEY = "sk-very-secret"


# One loop for all tests: langchain-openai keeps its async HTTP client for the whole process.
_runner = asyncio.Runner()


def in_loop(coroutine: Any) -> Any:
    return _runner.run(coroutine)


def openai(llm: LLM, **options: Any) -> ChatOpenAI:
    return langchain_model(llm.url, **options)


def anthropic(llm: LLM, **options: Any) -> ChatAnthropic:
    key = SecretStr(KEY)
    return ChatAnthropic(model_name="claude-asked", base_url=llm.url, api_key=key, **options)


def ask(model: Any, how: str) -> Any:
    """Ask in one of the ways a program may; returns the whole text."""
    if how == "invoke":
        return model.invoke(PROMPT).text
    if how == "stream":
        return "".join(chunk.text for chunk in model.stream(PROMPT))
    if how == "batch":
        return model.batch([PROMPT])[0].text

    async def drain() -> str:
        if how == "ainvoke":
            return str((await model.ainvoke(PROMPT)).text)
        if how == "abatch":
            return str((await model.abatch([PROMPT]))[0].text)
        return "".join([chunk.text async for chunk in model.astream(PROMPT)])

    return in_loop(drain())


WAYS = ("invoke", "stream", "batch", "ainvoke", "astream", "abatch")


def counts(measured: InMemoryMetricReader) -> dict[str, int]:
    """Return how many values each histogram got."""
    data = measured.get_metrics_data()
    found = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
    return {m.name: sum(p.count for p in m.data.data_points) for m in found}  # type: ignore[union-attr, misc]


def chats(exported: InMemorySpanExporter) -> list[dict[str, Any]]:
    spans = [s for s in exported.get_finished_spans() if s.name.startswith("chat")]
    return [attributes_of(s) for s in sorted(spans, key=lambda s: s.start_time or 0)]

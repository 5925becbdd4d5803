"""What has no async form waits for a thread of the event loop's pool, and works only then."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool, Tool
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors import _pools
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree

pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])

WORK_S = 0.1


def work(given: str) -> str:
    """Work."""
    with otel.node("work"):
        time.sleep(WORK_S)
        return given


class OwnRunnable(Runnable[str, str]):
    def invoke(self, given: str, config: Any = None, **_: Any) -> str:  # type: ignore[override]
        return work(given)


class OwnTool(BaseTool):
    name: str = "own"
    description: str = "Work."

    def _run(self, given: str) -> str:
        return work(given)


def in_small_pool(called: Any, count: int) -> list[Any]:
    async def main() -> list[Any]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        with otel.node("caller"):
            return await asyncio.gather(*[called.ainvoke("x") for _ in range(count)])

    return asyncio.run(main())


CALLED = (
    RunnableLambda(work),
    OwnRunnable(),
    OwnTool(),
    Tool("simple", work, "Work."),
    StructuredTool.from_function(work),
)


@pytest.mark.parametrize("called", CALLED, ids=lambda called: type(called).__name__)
def test_waiting_for_a_thread_is_a_wait(traced: InMemorySpanExporter, called: Any) -> None:
    assert in_small_pool(called, 3) == ["x"] * 3
    spans = traced.get_finished_spans()
    waits = [s for s in spans if s.name.startswith("wait")]
    assert {attributes_of(s)[Attr.CATEGORY] for s in waits} == {"queue"}
    seconds = sorted(((s.end_time or 0) - (s.start_time or 0)) / 1e9 for s in waits)[-2:]
    assert WORK_S * 0.8 < seconds[0] < WORK_S * 1.8
    assert WORK_S * 1.8 < seconds[1] < WORK_S * 2.8
    inside = {s.context.span_id for s in spans if s.context and "work" not in s.name}
    assert all(s.parent and s.parent.span_id in inside for s in waits)


def test_handing_a_call_to_a_thread_is_no_wait(
    traced: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pools, "_HAND_OFF_NS", 10**10)  # however busy this machine is
    in_small_pool(CALLED[0], 1)
    assert tree(traced.get_finished_spans(), waits=True) == "node caller\n  node work"


def test_where_nothing_works_nothing_is_recorded(traced: InMemorySpanExporter) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        with otel.run("plain"):
            await asyncio.gather(*[RunnableLambda(work).ainvoke("x") for _ in range(2)])

    asyncio.run(main())
    assert {s.name for s in traced.get_finished_spans()} == {"invoke_workflow plain", "node work"}

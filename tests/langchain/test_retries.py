"""LangChain's own retries: what they pause for is a wait, and no work."""

from __future__ import annotations

import asyncio
import gc
import time
import types
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import middleware
from langchain_core.runnables import RunnableLambda
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.lifecycle import collecting, spans
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree

pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])

PAUSE_S = 0.05
FAILURES = 2
RETRYING = (
    "node caller\n"
    "  node attempt [error]\n"
    "  wait retry_backoff\n"
    "  node attempt [error]\n"
    "  wait retry_backoff\n"
    "  node attempt"
)


class Flaky:
    """Fails twice, and then gives what it is given."""

    def __init__(self) -> None:
        self._failed = 0

    def __call__(self, given: Any) -> Any:
        with otel.node("attempt"):
            if self._failed < FAILURES:
                self._failed += 1
                raise ConnectionError
            return given

    async def later(self, given: Any) -> Any:
        return self(given)


def by_with_retry() -> Any:
    return _runnable(Flaky()).invoke("x")


def by_with_retry_async() -> Any:
    return asyncio.run(_runnable(Flaky()).ainvoke("x"))


def by_with_retry_of_several() -> Any:
    return _runnable(Flaky()).batch(["x"])[0]


def _runnable(flaky: Flaky) -> Any:
    return RunnableLambda(flaky, flaky.later).with_retry(
        exponential_jitter_params={"max": PAUSE_S, "jitter": 0}
    )


def _middleware(name: str) -> Any:
    if (kind := getattr(middleware, name, None)) is None:
        pytest.skip("this LangChain has no such middleware")
    return kind(max_retries=FAILURES, initial_delay=PAUSE_S, backoff_factor=0.0, jitter=False)


CALL: Any = SimpleNamespace(tool=None, tool_call={"name": "look", "id": "call_9"})


def by_a_models_middleware() -> Any:
    _middleware("ModelRetryMiddleware").wrap_model_call(CALL, Flaky())
    return "x"


def by_a_models_middleware_async() -> Any:
    asyncio.run(_middleware("ModelRetryMiddleware").awrap_model_call(CALL, Flaky().later))
    return "x"


def by_a_tools_middleware() -> Any:
    assert _middleware("ToolRetryMiddleware").wrap_tool_call(request=CALL, handler=Flaky()) is CALL
    return "x"


def by_a_tools_middleware_async() -> Any:
    asyncio.run(_middleware("ToolRetryMiddleware").awrap_tool_call(CALL, Flaky().later))
    return "x"


WAYS = (
    by_with_retry,
    by_with_retry_async,
    by_with_retry_of_several,
    by_a_models_middleware,
    by_a_models_middleware_async,
    by_a_tools_middleware,
    by_a_tools_middleware_async,
)


@pytest.mark.parametrize("way", WAYS)
def test_pauses_between_attempts_are_waits(
    traced: InMemorySpanExporter, way: Callable[[], Any]
) -> None:
    with otel.node("caller"):
        assert way() == "x"
    assert tree(traced.get_finished_spans(), waits=True) == RETRYING
    for span in traced.get_finished_spans():
        if span.name == "wait retry_backoff":
            assert attributes_of(span)[Attr.CATEGORY] == "retry_backoff"
            seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
            assert PAUSE_S * 0.9 < seconds < PAUSE_S * 4


@pytest.mark.parametrize("way", WAYS)
def test_where_nobody_waits_no_trace_begins(
    traced: InMemorySpanExporter, way: Callable[[], Any]
) -> None:
    assert way() == "x"
    assert {s.name for s in traced.get_finished_spans()} == {"node attempt"}


def test_a_pause_may_be_broken_off(traced: InMemorySpanExporter) -> None:
    async def give_up() -> None:
        flaky = Flaky()
        retrying = RunnableLambda(flaky, flaky.later).with_retry(
            exponential_jitter_params={"jitter": 0}
        )
        with otel.node("caller"):
            await asyncio.wait_for(retrying.ainvoke("x"), PAUSE_S)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert tree(traced.get_finished_spans(), waits=True) == (
        "node caller [error]\n  node attempt [error]\n  wait retry_backoff"
    )


@types.coroutine
def forever(_: float) -> Iterator[None]:
    yield


def test_a_pause_that_the_collector_breaks_off_is_told_later_and_where_it_was(
    traced: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = spans.start

    def started(*args: Any, **options: Any) -> Any:
        assert not collecting.is_collecting()
        return start(*args, **options)

    monkeypatch.setattr(spans, "start", started)
    retrying: Any = RunnableLambda(str).with_retry()
    with otel.node("caller"):
        cycle = [retrying._async_retrying(sleep=forever).sleep(60)]
        cycle[0].send(None)
        cycle.append(cycle)
    time.sleep(PAUSE_S)
    with otel.node("another"):
        del cycle
        gc.collect()
    assert tree(traced.get_finished_spans(), waits=True) == (
        "node caller\n  wait retry_backoff\nnode another"
    )

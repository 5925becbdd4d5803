"""Nodes that LangGraph gives up, or that give themselves up: which of them are errors."""

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph import errors, types
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.langgraph.running import InContext, StandIn
from otel_orchestrator.lifecycle import spans as lifecycle
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.queue.tasks import subscribe
from otel_orchestrator.semconv import Attr

from ..trees import tree
from .driving import ainvoke, invoke
from .injected import INJECTED_S, waits, without_noise
from .plans import State, fan_out, planned, run, scheduler

# As in `test_waits`: tried again where another program held the machine for too long.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])

TIMEOUT_S = 0.2
SHOWN = [Attr.NODE_ATTEMPT, Attr.TASK_ID, Attr.ERROR_TYPE]
times_out = pytest.mark.skipif(
    "timeout" not in inspect.signature(StateGraph.add_node).parameters,
    reason="time-outs of nodes came with LangGraph 1.2",
)
tells_who_cancelled = pytest.mark.skipif(
    not hasattr(errors, "NodeCancelledError") or not hasattr(asyncio.Task, "cancelling"),
    reason="whether a node was cancelled or raised that itself cannot be told",
)


class Stuck:
    """Work that gets stuck at its first call, and cleans up when it is cancelled."""

    def __init__(self, clean_up_s: float = 0.0) -> None:
        self.calls = 0
        self._clean_up_s = clean_up_s

    async def __call__(self, name: str = "") -> None:
        self.calls += 1
        is_first = self.calls == 1
        try:
            await asyncio.sleep(60 if is_first else 0.05)
        finally:
            await asyncio.sleep(self._clean_up_s if is_first else 0)


def retried(seconds: float) -> dict[str, Any]:
    """A time-out and a second try."""
    policy = RetryPolicy(initial_interval=seconds, backoff_factor=1, jitter=False, max_attempts=2)
    return {"retry_policy": policy, "timeout": types.TimeoutPolicy(run_timeout=TIMEOUT_S)}


@times_out
def test_an_attempt_that_timed_out_is_an_error_and_its_retry_is_not(
    traced: InMemorySpanExporter,
) -> None:
    run(fan_out(Stuck(), "a", is_async=True, **retried(INJECTED_S)), is_async=True)
    spans = without_noise(traced.get_finished_spans())
    assert tree(spans, waits=True, show=SHOWN) == (
        "invoke_workflow fan\n  loop\n    superstep\n      task worker id=a\n"
        "        node worker [error] id=a type=langgraph.errors.NodeTimeoutError\n"
        "        wait retry_backoff\n"
        "        node worker attempt=2 id=a"
    )


@times_out
def test_an_attempt_that_cleans_up_while_the_next_one_runs_ends_before_it(
    traced: InMemorySpanExporter,
) -> None:
    run(fan_out(Stuck(clean_up_s=0.3), "a", is_async=True, **retried(0.1)), is_async=True)
    spans = without_noise(traced.get_finished_spans())
    assert tree(spans, waits=True, show=SHOWN) == (
        "invoke_workflow fan\n  loop\n    superstep\n      task worker id=a\n"
        "        node worker [error] id=a type=langgraph.errors.NodeTimeoutError\n"
        "        node worker attempt=2 id=a"
    )
    first, second = sorted(
        (s for s in spans if s.name == "node worker"), key=lambda s: s.start_time or 0
    )
    assert (second.start_time or 0) - (first.end_time or 0) == lifecycle.GAP_NS
    assert (first.end_time or 0) - (first.start_time or 0) > (TIMEOUT_S + 0.1) * 0.95e9
    assert waits(spans, "retry_backoff") == [], "nobody knows when it would have begun"


@times_out
@pytest.mark.parametrize("clean_up_s", [0.0, 0.3])
def test_a_node_that_times_out_for_good_fails_the_run(
    traced: InMemorySpanExporter, clean_up_s: float
) -> None:
    stuck = Stuck(clean_up_s)

    async def work(name: str) -> None:
        await (stuck(name) if name == "stuck" else asyncio.sleep(60))

    async def drive(graph: Any) -> None:
        with pytest.raises(errors.NodeTimeoutError):
            await graph.ainvoke({"out": []})
        await asyncio.sleep(clean_up_s + 0.1)

    policy = types.TimeoutPolicy(run_timeout=TIMEOUT_S)
    asyncio.run(drive(fan_out(work, "stuck", is_async=True, timeout=policy)))
    type_shown = "type=langgraph.errors.NodeTimeoutError"
    spans = traced.get_finished_spans()
    assert tree(spans, show=SHOWN) == (
        f"invoke_workflow fan [error] {type_shown}\n  loop [error] {type_shown}\n"
        f"    superstep [error] {type_shown}\n"
        f"      task worker [error] id=stuck {type_shown}\n"
        f"        node worker [error] id=stuck {type_shown}"
    )
    (root,) = [s for s in spans if s.parent is None]
    assert all((s.end_time or 0) <= (root.end_time or 0) for s in spans)


@times_out
def test_the_queue_agrees_with_the_spans_of_an_attempt_that_was_given_up(
    traced: InMemorySpanExporter,
) -> None:
    changes: list[QueueChange] = []
    unsubscribe = subscribe(changes.append)
    graph = scheduler(Stuck(clean_up_s=0.3), is_async=True, **retried(0.1))
    try:
        ainvoke(graph, {"out": [], "tasks": planned(("a", []))})
    finally:
        unsubscribe()
    active_s = sum(
        here.active * (there.at_ns - here.at_ns) / 1e9
        for here, there in itertools.pairwise(changes)
    )
    nodes = [s for s in traced.get_finished_spans() if s.name == "node worker"]
    worked_s = sum((s.end_time or 0) - (s.start_time or 0) for s in nodes) / 1e9
    assert active_s == pytest.approx(worked_s, abs=1e-5)


@tells_who_cancelled
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_node_that_raises_a_cancellation_itself_fails(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    def work(state: State) -> dict[str, Any]:
        raise asyncio.CancelledError

    async def awork(state: State) -> dict[str, Any]:
        raise asyncio.CancelledError

    graph = StateGraph(State)
    graph.add_node("work", awork if is_async else work)
    graph.add_edge(START, "work")
    with pytest.raises(errors.NodeCancelledError):
        (ainvoke if is_async else invoke)(graph.compile(), {"out": []})
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      node work [error]"
    )


def test_what_stands_in_for_a_node_can_be_copied() -> None:
    context = lifecycle.nothing().context
    stand_in = StandIn(RunnableLambda(lambda given: given + 1), lambda: InContext(context))
    assert copy.copy(stand_in).invoke(1) == 2

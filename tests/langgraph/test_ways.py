"""Every way of running a graph gives the same tree."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .driving import ASYNC, SYNC, Drive, ainvoke, in_user_span, invoke
from .graphs import orchestrator

TURN = """\
  loop
    superstep
      node director
        user director
    superstep
      task worker
        node worker
          user worker
      task worker
        node worker
          user worker
    superstep
      node strategist
        user strategist
"""
LAST_LOOK = """\
  loop
    superstep
      node director
        user director"""


@pytest.mark.parametrize("config", [None, {"max_concurrency": 1}], ids=["free", "one at a time"])
@pytest.mark.parametrize("drive", SYNC + ASYNC)
def test_every_way_of_running_gives_the_same_tree(
    traced: InMemorySpanExporter, drive: Drive, config: Any
) -> None:
    graph = orchestrator(is_async=drive in ASYNC)
    result = drive(graph, {"out": []}, config)
    assert sorted(result["out"]) == ["strategist"] * 2 + ["worker"] * 4
    expected = "invoke_workflow orchestrator\n" + TURN + TURN + LAST_LOOK
    assert tree(traced.get_finished_spans()) == expected


def test_sync_nodes_in_an_async_graph_give_the_same_tree(traced: InMemorySpanExporter) -> None:
    ainvoke(orchestrator(is_async=False), {"out": []})
    expected = "invoke_workflow orchestrator\n" + TURN + TURN + LAST_LOOK
    assert tree(traced.get_finished_spans()) == expected


@pytest.mark.parametrize("mode", ["custom", "messages", "debug", ["updates", "custom"]])
def test_stream_modes_that_disable_the_fast_path_give_the_same_tree(
    traced: InMemorySpanExporter, mode: Any
) -> None:
    list(orchestrator(is_async=False).stream({"out": []}, stream_mode=mode, subgraphs=True))
    expected = "invoke_workflow orchestrator\n" + TURN + TURN + LAST_LOOK
    assert tree(traced.get_finished_spans()) == expected


def test_batch_makes_one_run_for_each_input(traced: InMemorySpanExporter) -> None:
    orchestrator(is_async=False).batch([{"out": []}] * 3)
    runs = [s for s in traced.get_finished_spans() if s.parent is None]
    assert [s.name for s in runs] == ["invoke_workflow orchestrator"] * 3
    assert len({attributes_of(s)[Attr.RUN_ID] for s in runs}) == 3


def test_concurrent_runs_do_not_mix(traced: InMemorySpanExporter) -> None:
    async def both() -> None:
        graph = orchestrator(is_async=True)
        await asyncio.gather(*(graph.ainvoke({"out": []}) for _ in range(5)))

    asyncio.run(both())
    by_run: dict[Any, list[Any]] = {}
    for span in traced.get_finished_spans():
        by_run.setdefault(span.context.trace_id, []).append(span)
    expected = "invoke_workflow orchestrator\n" + TURN + TURN + LAST_LOOK
    # The user's own spans carry no run id here: no processor of ours is configured.
    assert [tree(spans) for spans in by_run.values()] == [expected] * 5


def test_a_run_is_a_child_of_the_callers_span(traced: InMemorySpanExporter) -> None:
    with in_user_span("request"):
        invoke(orchestrator(is_async=False), {"turn": 2, "out": []})
    assert tree(traced.get_finished_spans()) == (
        "request\n  invoke_workflow orchestrator\n"
        "    loop\n      superstep\n        node director\n          user director"
    )


def test_loop_and_superstep_carry_their_index_and_the_loop_its_head(
    traced: InMemorySpanExporter,
) -> None:
    invoke(orchestrator(is_async=False), {"turn": 1, "out": []})
    shown = (Attr.LOOP_INDEX, Attr.LOOP_HEAD, Attr.SUPERSTEP_INDEX)
    spans = [s for s in traced.get_finished_spans() if s.name in ("loop", "superstep")]
    assert tree(spans, show=shown) == (
        "loop index=0 head=director\n"
        "  superstep index=1\n  superstep index=2\n  superstep index=3\n"
        "loop index=1 head=director\n"
        "  superstep index=4"
    )

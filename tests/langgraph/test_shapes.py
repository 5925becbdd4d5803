"""Whole span trees of everything LangGraph can do, as text; sync and async alike."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command, Send
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .driving import ASYNC, SYNC, Drive, ainvoke, in_user_span, invoke
from .graphs import State, node, pair


@pytest.mark.parametrize("drive", SYNC + ASYNC)
def test_parallel_nodes_and_a_deferred_join(traced: InMemorySpanExporter, drive: Drive) -> None:
    is_async = drive in ASYNC
    graph = pair(
        is_async=is_async,
        left=node("left", is_async=is_async),
        right=node("right", is_async=is_async),
    ).compile()
    drive(graph, {"out": []})
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph\n"
        "  loop\n"
        "    superstep\n"
        "      task left\n        node left\n          user left\n"
        "      task right\n        node right\n          user right\n"
        "    superstep\n"
        "      node join\n        user join"
    )


@pytest.mark.parametrize("drive", SYNC + ASYNC)
def test_a_subgraph_is_a_workflow_below_its_node(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    is_async = drive in ASYNC
    inner = StateGraph(State)
    inner.add_node("step", node("step", is_async=is_async))
    inner.add_edge(START, "step")
    compiled = inner.compile(name="inner")

    def call(state: State) -> Any:
        return compiled.invoke({"out": []})

    async def acall(state: State) -> Any:
        return await compiled.ainvoke({"out": []})

    outer = StateGraph(State)
    outer.add_node("as_node", compiled)
    outer.add_node("inside", acall if is_async else call)
    outer.add_edge(START, "as_node")
    outer.add_edge("as_node", "inside")
    drive(outer.compile(name="outer"), {"out": []})
    below = (
        "        invoke_workflow inner\n          loop\n            superstep\n"
        "              node step\n                user step"
    )
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow outer\n  loop\n"
        f"    superstep\n      node as_node\n{below}\n"
        f"    superstep\n      node inside\n{below}"
    )
    ours = [s for s in traced.get_finished_spans() if not s.name.startswith("user")]
    runs = {attributes_of(s)[Attr.RUN_ID] for s in ours}
    assert len(runs) == 1, "a subgraph belongs to the run of the outermost graph"


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_command_goto_is_followed(traced: InMemorySpanExporter, drive: Drive) -> None:
    def first(state: State) -> Command[Any]:
        return Command(goto=["second", Send("third", {})], update={"out": ["first"]})

    graph = StateGraph(State)
    graph.add_node("first", first)
    graph.add_node("second", node("second", is_async=False))
    graph.add_node("third", node("third", is_async=False))
    graph.add_edge(START, "first")
    drive(graph.compile(), {"out": []})
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph\n  loop\n"
        "    superstep\n      node first\n"
        "    superstep\n"
        "      task second\n        node second\n          user second\n"
        "      task third\n        node third\n          user third"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_a_command_for_the_parent_graph_is_no_error(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    def leave(state: State) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="after")

    inner = StateGraph(State)
    inner.add_node("leave", leave)
    inner.add_edge(START, "leave")
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile(name="inner"), destinations=("after",))
    outer.add_node("after", node("after", is_async=False))
    outer.add_edge(START, "inner")
    drive(outer.compile(name="outer"), {"out": []})
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow outer\n  loop\n"
        "    superstep\n      node inner\n        invoke_workflow inner\n"
        "          loop\n            superstep\n              node leave\n"
        "    superstep\n      node after\n        user after"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_a_cached_node_is_an_instant_marked_cached(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    graph = StateGraph(State)
    graph.add_node("slow", node("slow", is_async=False), cache_policy=CachePolicy())
    graph.add_edge(START, "slow")
    compiled = graph.compile(cache=InMemoryCache())
    drive(compiled, {"out": []})
    traced.clear()
    drive(compiled, {"out": []})
    assert tree(traced.get_finished_spans(), show=[Attr.NODE_SOURCE]) == (
        "invoke_workflow LangGraph\n  loop\n    superstep\n      node slow source=cached"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_an_error_handler_is_a_task_of_the_same_superstep(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    if "error_handler" not in inspect.signature(StateGraph.add_node).parameters:
        pytest.skip("error handlers came with LangGraph 1.2")

    def fails(state: State) -> dict[str, Any]:
        raise ValueError

    def handler(state: State) -> Command[Any]:
        with in_user_span("user handler"):
            return Command(update={"out": ["handled"]}, goto="after")

    graph = StateGraph(State)
    graph.add_node("fails", fails, error_handler=handler)
    graph.add_node("after", node("after", is_async=False))
    graph.add_edge(START, "fails")
    result = drive(graph.compile(), {"out": []})
    assert result["out"] == ["handled", "after"]
    text = tree(traced.get_finished_spans())
    first, second = text.split("    superstep\n")[1:]
    assert first.startswith("      node fails [error]\n      task ")
    assert first.endswith("          user handler\n")
    assert second == "      node after\n        user after"
    assert "[error]" not in text.replace("node fails [error]", ""), "a handled error stays inside"


def test_functional_api_calls_nest_below_their_caller(traced: InMemorySpanExporter) -> None:
    @task
    def leaf(x: int) -> int:
        with in_user_span("user leaf"):
            return x + 1

    @task
    def branch(x: int) -> int:
        return leaf(x).result() + 10

    @entrypoint()
    def main(x: int) -> int:
        with in_user_span("user main"):
            return branch(x).result() + leaf(x).result()

    assert main.invoke(1) == 14
    assert tree(traced.get_finished_spans()) == FUNCTIONAL


def test_async_functional_api_gives_the_same_tree(traced: InMemorySpanExporter) -> None:
    @task
    async def leaf(x: int) -> int:
        with in_user_span("user leaf"):
            return x + 1

    @task
    async def branch(x: int) -> int:
        return await leaf(x) + 10

    @entrypoint()
    async def main(x: int) -> int:
        with in_user_span("user main"):
            return await branch(x) + await leaf(x)

    assert asyncio.run(main.ainvoke(1)) == 14
    assert tree(traced.get_finished_spans()) == FUNCTIONAL


FUNCTIONAL = """\
invoke_workflow main
  loop
    superstep
      node main
        user main
          task branch
            node branch
              task leaf
                node leaf
                  user leaf
          task leaf
            node leaf
              user leaf"""

"""Whole span trees of everything LangGraph can do, as text; sync and async alike."""

from __future__ import annotations

import asyncio
import gc
import inspect
import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .driving import ASYNC, SYNC, Drive, ainvoke, in_user_span, invoke


class State(TypedDict, total=False):
    turn: int
    out: Annotated[list[str], operator.add]


def node(name: str, *, is_async: bool) -> Callable[..., Any]:
    """A node that opens a span of the user's own and adds its name to `out`."""

    def work(state: Any) -> dict[str, Any]:
        with in_user_span(f"user {name}"):
            return {"out": [name]}

    async def awork(state: Any) -> dict[str, Any]:
        with in_user_span(f"user {name}"):
            await asyncio.sleep(0)
            return {"out": [name]}

    chosen: Callable[..., Any] = awork if is_async else work
    chosen.__name__ = name
    return chosen


def orchestrator(*, is_async: bool) -> Any:
    """Director → two Workers (Send) → Strategist → Director …, two turns and a last look."""

    def director(state: State) -> dict[str, Any]:
        with in_user_span("user director"):
            return {"turn": state.get("turn", 0) + 1}

    def route(state: State) -> Any:
        return [Send("worker", {"id": i}) for i in "ab"] if state["turn"] < 3 else END

    graph = StateGraph(State)
    graph.add_node("director", director)
    graph.add_node("worker", node("worker", is_async=is_async))
    graph.add_node("strategist", node("strategist", is_async=is_async))
    graph.add_edge(START, "director")
    graph.add_conditional_edges("director", route, ["worker", END])
    graph.add_edge("worker", "strategist")
    graph.add_edge("strategist", "director")
    return graph.compile(name="orchestrator")


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


def pair(*, is_async: bool, left: Any, right: Any, **options: Any) -> Any:
    """Two parallel nodes, `left` and `right`, then `join`."""
    graph = StateGraph(State)
    graph.add_node("left", left, **options)
    graph.add_node("right", right)
    graph.add_node("join", node("join", is_async=is_async), defer=True)
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")
    graph.add_edge("left", "join")
    graph.add_edge("right", "join")
    return graph


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
def test_each_attempt_of_a_retried_node_is_a_span(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    calls: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("not yet")
        return {"out": ["flaky"]}

    graph = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3)
    graph.add_node("flaky", flaky, retry_policy=policy)
    graph.add_edge(START, "flaky")
    drive(graph.compile(), {"out": []})
    assert tree(traced.get_finished_spans(), show=[Attr.NODE_ATTEMPT]) == (
        "invoke_workflow LangGraph\n  loop\n    superstep\n"
        "      node flaky [error]\n"
        "      node flaky [error] attempt=2\n"
        "      node flaky attempt=3"
    )
    attributes = [attributes_of(s) for s in traced.get_finished_spans()]
    errors = {a[Attr.ERROR_TYPE] for a in attributes if Attr.ERROR_TYPE in a}
    assert errors == {"ConnectionError"}


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_an_error_marks_every_span_that_it_escapes(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    started = threading.Event()

    def right(state: State) -> dict[str, Any]:
        started.set()
        return {"out": ["right"]}

    def left(state: State) -> dict[str, Any]:
        started.wait(5)
        raise ValueError("a secret")

    graph = pair(is_async=False, left=left, right=right).compile()
    with pytest.raises(ValueError, match="a secret"):
        drive(graph, {"out": []})
    spans = traced.get_finished_spans()
    assert tree(spans) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      task left [error]\n        node left [error]\n"
        "      task right\n        node right"
    )
    assert "secret" not in "".join(s.to_json() for s in spans)


def test_siblings_of_a_failing_async_node_are_cancelled(traced: InMemorySpanExporter) -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        async def left(state: State) -> dict[str, Any]:
            await started.wait()
            raise ValueError

        async def right(state: State) -> dict[str, Any]:
            started.set()
            await asyncio.sleep(60)
            return {}

        await pair(is_async=True, left=left, right=right).compile().ainvoke({"out": []})

    with pytest.raises(ValueError):
        asyncio.run(scenario())
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      task left [error]\n        node left [error]\n"
        "      task right [cancelled]\n        node right [cancelled]"
    )


def test_a_node_that_still_runs_when_its_superstep_breaks_off_is_cancelled_with_its_task(
    traced: InMemorySpanExporter,
) -> None:
    async def slow(state: State) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)  # LangGraph does not wait until a subgraph has cleaned up
        return {}

    async def fails(state: State) -> dict[str, Any]:
        await asyncio.sleep(0.02)
        raise ValueError

    inner = StateGraph(State)
    for name in ("a", "b"):
        inner.add_node(name, slow)
        inner.add_edge(START, name)
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile(name="inner"))
    outer.add_node("fails", fails)
    outer.add_edge(START, "inner")
    outer.add_edge(START, "fails")

    async def run() -> None:
        with pytest.raises(ValueError):
            await outer.compile(name="outer").ainvoke({"out": []})
        await asyncio.sleep(0.1)

    asyncio.run(run())
    ended = {s.name: attributes_of(s)[Attr.OUTCOME] for s in traced.get_finished_spans()}
    names = ("task a", "task b", "node a", "node b", "task inner")
    assert {name: ended[name] for name in names} == dict.fromkeys(names, "cancelled")


def test_a_task_that_never_started_is_cancelled_without_a_node(
    traced: InMemorySpanExporter,
) -> None:
    async def worker(state: dict[str, Any]) -> dict[str, Any]:
        if state["id"] == "fails":
            raise ValueError
        await asyncio.sleep(60)
        return {}

    def plan(state: State) -> list[Send]:
        return [Send("worker", {"id": i}) for i in ("fails", "runs", "never starts")]

    graph = StateGraph(State)
    graph.add_node("worker", worker)
    graph.add_conditional_edges(START, plan, ["worker"])
    with pytest.raises(ValueError):
        ainvoke(graph.compile(), {"out": []}, {"max_concurrency": 1})
    assert tree(traced.get_finished_spans(), show=[Attr.TASK_ID]) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      task worker [error] id=fails\n        node worker [error] id=fails\n"
        "      task worker [cancelled] id=runs\n        node worker [cancelled] id=runs\n"
        "      task worker [cancelled] id=never starts"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_an_interrupt_is_no_error_and_its_resume_links_to_it(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    def ask(state: State) -> dict[str, Any]:
        return {"out": [interrupt("go on?")]}

    graph = pair(is_async=False, left=ask, right=node("right", is_async=False))
    compiled = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "thread-1"}}
    drive(compiled, {"out": []}, config)
    interrupted = traced.get_finished_spans()
    assert tree(interrupted) == (
        "invoke_workflow LangGraph [interrupted]\n  loop [interrupted]\n"
        "    superstep [interrupted]\n"
        "      task left [interrupted]\n        node left [interrupted]\n"
        "      task right\n        node right\n          user right"
    )
    traced.clear()
    result = drive(compiled, Command(resume="yes"), config)
    assert result["out"] == ["yes", "right", "join"]
    resumed = traced.get_finished_spans()
    assert tree(resumed, show=[Attr.NODE_SOURCE]) == (
        "invoke_workflow LangGraph\n  loop\n"
        "    superstep\n"
        "      task left\n        node left\n"
        "      task right\n        node right source=restored\n"
        "    superstep\n      node join\n        user join"
    )
    root = next(s for s in resumed if s.parent is None)
    before = next(s for s in interrupted if s.parent is None)
    assert [link.context.span_id for link in root.links] == [before.context.span_id]
    assert attributes_of(root)[Attr.CONVERSATION_ID] == "thread-1"


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_breakpoints_interrupt_the_run(
    traced: InMemorySpanExporter, drive: Drive, where: str
) -> None:
    graph = orchestrator(is_async=False)
    graph.checkpointer = InMemorySaver()
    config = {"configurable": {"thread_id": "thread-2"}}
    drive(graph, {"out": []}, config, **{where: ["director"]})
    root = next(s for s in traced.get_finished_spans() if s.parent is None)
    assert attributes_of(root)[Attr.OUTCOME] == "interrupted"
    assert root.status.is_unset


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


def test_a_dropped_stream_abandons_the_run(traced: InMemorySpanExporter) -> None:
    stream = orchestrator(is_async=False).stream({"out": []}, stream_mode="updates")
    next(stream)
    del stream
    gc.collect()
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow orchestrator [abandoned]\n  loop [abandoned]\n"
        "    superstep\n      node director\n        user director\n"
        "    superstep [abandoned]\n      task worker [cancelled]\n      task worker [cancelled]"
    )


@pytest.mark.parametrize("way", ["aclose", "drop"])
def test_an_abandoned_async_stream_abandons_the_run(traced: InMemorySpanExporter, way: str) -> None:
    async def scenario() -> None:
        stream = orchestrator(is_async=True).astream({"out": []}, stream_mode="updates")
        await anext(stream)
        if way == "aclose":
            await stream.aclose()
        else:
            del stream
            gc.collect()
            while not any(s.parent is None for s in traced.get_finished_spans()):
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow orchestrator [abandoned]\n  loop [abandoned]\n"
        "    superstep\n      node director\n        user director\n"
        "    superstep [abandoned]\n      task worker [cancelled]\n      task worker [cancelled]"
    )


def test_cancelling_the_callers_task_cancels_every_open_span(
    traced: InMemorySpanExporter,
) -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        async def stuck(state: State) -> dict[str, Any]:
            started.set()
            await asyncio.sleep(60)
            return {}

        graph = StateGraph(State)
        graph.add_node("stuck", stuck)
        graph.add_edge(START, "stuck")
        running = asyncio.create_task(graph.compile().ainvoke({"out": []}))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph [cancelled]\n  loop [cancelled]\n"
        "    superstep [cancelled]\n      node stuck [cancelled]"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_running_out_of_steps_is_an_error_of_the_run(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    with pytest.raises(GraphRecursionError):
        drive(orchestrator(is_async=False), {"out": []}, {"recursion_limit": 2})
    root = next(s for s in traced.get_finished_spans() if s.parent is None)
    assert attributes_of(root)[Attr.ERROR_TYPE] == "langgraph.errors.GraphRecursionError"
    assert not root.status.is_ok
    assert not root.status.is_unset


def test_wrong_input_ends_the_run_with_the_programs_own_error(
    traced: InMemorySpanExporter,
) -> None:
    with pytest.raises(Exception) as untraced:
        orchestrator(is_async=False).invoke(None)
    assert tree(traced.get_finished_spans()) == "invoke_workflow orchestrator [error]"
    root = traced.get_finished_spans()[0]
    assert str(attributes_of(root)[Attr.ERROR_TYPE]).endswith(untraced.type.__name__)


def test_the_consumer_of_a_stream_runs_outside_of_every_span(
    traced: InMemorySpanExporter,
) -> None:
    with in_user_span("consumer"):
        for _ in orchestrator(is_async=False).stream({"turn": 2, "out": []}):
            with in_user_span("between items"):
                pass
    consumer = {"consumer", "between items"}
    spans = [s for s in traced.get_finished_spans() if s.name in consumer]
    assert tree(spans) == "consumer\n  between items"


def test_the_consumer_of_an_async_stream_runs_outside_of_every_span(
    traced: InMemorySpanExporter,
) -> None:
    async def consume() -> None:
        with in_user_span("consumer"):
            async for _ in orchestrator(is_async=True).astream({"turn": 2, "out": []}):
                with in_user_span("between items"):
                    await asyncio.sleep(0)

    asyncio.run(consume())
    consumer = {"consumer", "between items"}
    spans = [s for s in traced.get_finished_spans() if s.name in consumer]
    assert tree(spans) == "consumer\n  between items"

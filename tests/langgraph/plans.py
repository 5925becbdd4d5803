"""Graphs that work through tasks, at once or as a plan says."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from opentelemetry.sdk.trace import ReadableSpan

from otel_orchestrator.semconv import Attr

from ..trees import attributes_of
from .driving import ainvoke, invoke

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


class State(TypedDict, total=False):
    out: Annotated[list[str], operator.add]
    tasks: list[dict[str, Any]]


def fan_out(work: Callable[[str], Any], *ids: str, is_async: bool, **options: Any) -> Any:
    """A graph whose only superstep runs `work` for each id at once."""

    def worker(state: Any) -> dict[str, Any]:
        work(state["id"])
        return {"out": [state["id"]]}

    async def aworker(state: Any) -> dict[str, Any]:
        await work(state["id"])
        return {"out": [state["id"]]}

    graph = StateGraph(State)
    graph.add_node("worker", aworker if is_async else worker, **options)
    graph.add_conditional_edges(
        START, lambda _: [Send("worker", {"id": i}) for i in ids], ["worker"]
    )
    return graph.compile(name="fan")


def run(graph: Any, *, is_async: bool, config: Any = None, **options: Any) -> Any:
    return (ainvoke if is_async else invoke)(graph, {"out": []}, config, **options)


def by_id(spans: Any, name: str) -> dict[str, ReadableSpan]:
    return {str(attributes_of(s).get(Attr.TASK_ID)): s for s in spans if s.name == name}


def planned(*tasks: tuple[str, list[str]]) -> list[dict[str, Any]]:
    return [{"id": i, "status": "planned", "depends_on": needs} for i, needs in tasks]


def scheduler(
    work: Callable[[str], Any], *, is_async: bool, director_s: float = 0.0, **options: Any
) -> Any:
    """Director → Workers → Director: sends every task whose dependencies are done."""

    def director(state: State) -> dict[str, Any]:
        done = set(state["out"])
        time.sleep(director_s if done else 0)
        return {
            "tasks": [
                {**t, "status": "done" if t["id"] in done else "planned"} for t in state["tasks"]
            ]
        }

    def route(state: State) -> Any:
        done = {t["id"] for t in state["tasks"] if t["status"] == "done"}
        ready = [
            t for t in state["tasks"] if t["id"] not in done and done.issuperset(t["depends_on"])
        ]
        return [Send("worker", {"task": t}) for t in ready] or END

    def worker(state: Any) -> dict[str, Any]:
        work(state["task"]["id"])
        return {"out": [state["task"]["id"]]}

    async def aworker(state: Any) -> dict[str, Any]:
        await work(state["task"]["id"])
        return {"out": [state["task"]["id"]]}

    graph = StateGraph(State)
    graph.add_node("director", director)
    graph.add_node("worker", aworker if is_async else worker, **options)
    graph.add_edge(START, "director")
    graph.add_conditional_edges("director", route, ["worker", END])
    graph.add_edge("worker", "director")
    return graph.compile(name="orchestrator")


SEED = planned(("A", []), ("B", []), ("C", []), ("D", ["A"]), ("E", ["A", "C"]), ("F", ["B"]))
SECONDS = {"A": 0.03, "B": 0.6, "C": 0.03, "D": 0.05, "E": 0.05, "F": 0.05}

"""Graphs whose nodes open spans of the user's own."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from .driving import in_user_span


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

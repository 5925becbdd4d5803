"""The picture that the project started from, scaled down, as a program of its own.

A, B and C start together; B takes far longer. D needs A, E needs A and C: in a LangGraph graph
both start only when B has ended, with continuous dispatch when A and C have.

    python -m tests.picture.program supersteps|continuous

prints, as JSON, when each task began and ended by its own clock.
"""

from __future__ import annotations

import asyncio
import json
import operator
import sys
import time
from typing import Annotated, Any, Final, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import otel_orchestrator as otel

SECONDS: Final = {"A": 0.15, "B": 3.0, "C": 0.15, "D": 1.5, "E": 1.5}
NEEDS: Final[dict[str, list[str]]] = {"A": [], "B": [], "C": [], "D": ["A"], "E": ["A", "C"]}
WORKERS: Final = 3

_noted: dict[str, tuple[int, int]] = {}


class State(TypedDict, total=False):
    tasks: list[dict[str, Any]]
    done: Annotated[list[str], operator.add]


async def work(name: str) -> None:
    began = time.time_ns()
    await asyncio.sleep(SECONDS[name])
    _noted[name] = (began, time.time_ns())


def plan() -> list[dict[str, Any]]:
    return [{"id": i, "status": "planned", "depends_on": needs} for i, needs in NEEDS.items()]


def ready(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = {t["id"] for t in tasks if t["status"] == "done"}
    return [t for t in tasks if t["status"] == "planned" and done.issuperset(t["depends_on"])]


async def in_supersteps() -> None:
    def director(state: State) -> State:
        done = set(state["done"])
        return {
            "tasks": [
                {**t, "status": "done" if t["id"] in done else "planned"} for t in state["tasks"]
            ]
        }

    async def worker(state: Any) -> State:
        await work(state["id"])
        return {"done": [state["id"]]}

    def route(state: State) -> Any:
        return [Send("worker", task) for task in ready(state["tasks"])] or END

    graph = StateGraph(State)
    graph.add_node("director", director)
    graph.add_node("worker", worker)
    graph.add_edge(START, "director")
    graph.add_conditional_edges("director", route, ["worker", END])
    graph.add_edge("worker", "director")
    config: Any = {"max_concurrency": WORKERS}
    await graph.compile(name="picture").ainvoke({"tasks": plan(), "done": []}, config)


@otel.run("picture", concurrency_limit=WORKERS)
async def continuously() -> None:
    tasks = plan()
    slots = asyncio.Semaphore(WORKERS)
    otel.observe_tasks(tasks)

    async def one(task: dict[str, Any]) -> None:
        async with slots:
            with otel.task("worker", task), otel.node("worker"):
                await work(task["id"])
        task["status"] = "done"

    running: set[asyncio.Task[None]] = set()
    while running or ready(tasks):
        for task in ready(tasks):
            task["status"] = "active"
            running.add(asyncio.create_task(one(task)))
        _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        otel.observe_tasks(tasks)


if __name__ == "__main__":
    otel.configure("picture")
    otel.instrument(only=["langgraph"])
    asyncio.run({"supersteps": in_supersteps, "continuous": continuously}[sys.argv[1]]())
    otel.shutdown()
    print(json.dumps(_noted))

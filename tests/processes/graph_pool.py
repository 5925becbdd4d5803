"""A LangGraph node that hands tasks to a process pool, whose workers run graphs of their own."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph

import otel_orchestrator as otel
from tests.processes.program import Sent, tell

otel.configure("graph-pool")
otel.instrument()

WORKERS, TASKS = 2, 4


class State(TypedDict):
    record: list[Any]


def edit(state: State) -> dict[str, Any]:
    time.sleep(0.05)
    return {}


AGENT = StateGraph(State).add_node("edit", edit).add_edge(START, "edit").compile(name="inner")


def work(task_id: str, carrier: dict[str, str], sent_ns: int) -> Sent:
    record = Sent.now(task_id, sent_ns)
    with otel.task("worker", task_id, carrier=carrier) as task:
        task.span.set_attribute("pid", os.getpid())
        AGENT.invoke({"record": []})
    return record


def direct(state: State) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    # All workers begin at once: a fast one would else do everything.
    ready = context.Barrier(WORKERS)
    with ProcessPoolExecutor(WORKERS, context, initializer=ready.wait) as pool:
        jobs = [pool.submit(work, f"t{i}", otel.inject(), time.time_ns()) for i in range(TASKS)]
        return {"record": [job.result() for job in jobs]}


if __name__ == "__main__":
    graph = StateGraph(State).add_node("director", direct).add_edge(START, "director").compile()
    tell(graph.invoke({"record": []})["record"])

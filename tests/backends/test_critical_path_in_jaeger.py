"""The critical path that Jaeger draws names the culprit: the task that its siblings waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from otel_orchestrator.analysis.critical_path import critical_path
from otel_orchestrator.analysis.tree import Forest, forest_of
from otel_orchestrator.model import Span
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from .processes import Collector, Jaeger
from .reading import in_the_ui, trace_of

PROGRAM = """
import asyncio, sys, time
from typing import Any, TypedDict
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
import otel_orchestrator as otel

otel.configure("critical.test")
otel.instrument(only=["langgraph"])

TASKS = [{"id": "first", "s": 0.05}, {"id": "straggler", "s": 0.3}, {"id": "last", "s": 0.1}]

class State(TypedDict, total=False):
    wave: int
    s: float

def director(state):
    with otel.llm_call("m"):
        time.sleep(0.05)
    return {"wave": state.get("wave", 0) + 1}

def route(state):
    return [Send("worker", task) for task in TASKS] if state["wave"] < 3 else END

def worker(task):
    with otel.llm_call("m"):
        time.sleep(task["s"])
    with otel.tool_call("edit"):
        time.sleep(task["s"] / 3)
    return {}

async def adirector(state):
    with otel.llm_call("m"):
        await asyncio.sleep(0.05)
    return {"wave": state.get("wave", 0) + 1}

async def aworker(task):
    with otel.llm_call("m"):
        await asyncio.sleep(task["s"])
    with otel.tool_call("edit"):
        await asyncio.sleep(task["s"] / 3)
    return {}

is_async = sys.argv[1] == "async"
graph = StateGraph(State)
graph.add_node("director", adirector if is_async else director)
graph.add_node("worker", aworker if is_async else worker)
graph.add_edge(START, "director")
graph.add_conditional_edges("director", route, ["worker", END])
graph.add_edge("worker", "director")
compiled = graph.compile(name="g")
asyncio.run(compiled.ainvoke({})) if is_async else compiled.invoke({})
"""


@pytest.mark.parametrize("way", ["sync", "async"])
def test_it_runs_through_the_straggler_down_to_its_calls(
    jaeger: Jaeger, collector: Collector, tmp_path: Path, way: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way],
        env={
            **environment,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    run = read_run(find_run(None, tmp_path))
    found = trace_of(jaeger, run.spans[0].trace_id, spans=len(run.spans))
    forest = forest_of(in_the_ui(shown.span) for shown in found)
    (root,) = forest.roots
    assert root.end_ns is not None
    sections = critical_path(root, forest.below, root.end_ns)

    # Without gaps from the run's start to its end.
    assert (sections[0].start_ns, sections[-1].end_ns) == (root.start_ns, root.end_ns)
    assert all(a.end_ns == b.start_ns for a, b in pairwise(sections))

    tasks = _task_of_each(forest)
    long = [s for s in sections if s.end_ns - s.start_ns >= 20_000_000]
    one_turn = [("chat m", None), ("chat m", "straggler"), ("execute_tool edit", "straggler")]
    assert [(s.span.name, tasks[s.span.span_id]) for s in long] == [
        *one_turn,
        *one_turn,
        ("chat m", None),
    ]
    # Not even for a moment through a task that was done and waited at the barrier.
    assert {tasks[s.span.span_id] for s in sections} == {None, "straggler"}


def _task_of_each(forest: Forest) -> dict[str, str | None]:
    """Map each span to the task that it is part of."""
    found: dict[str, str | None] = {}
    stack: list[tuple[Span, str | None]] = [(root, None) for root in forest.roots]
    while stack:
        span, task = stack.pop()
        task = span.text(Attr.TASK_ID) or task
        found[span.span_id] = task
        stack.extend((child, task) for child in forest.children(span))
    return found

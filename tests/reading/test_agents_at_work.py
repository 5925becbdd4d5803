"""Orchestrators that are agents: whom they hand work to are workers, they themselves the cycle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from otel_orchestrator.analysis.study import Study, study
from otel_orchestrator.model import Run
from otel_orchestrator.reports import words
from otel_orchestrator.reports.text import render
from otel_orchestrator.sources.runfiles import find_run, read_run

from ..llm_server import Reply, serving
from .generated import Spans

_BEGIN = """
import sys

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

import otel_orchestrator as otel

otel.configure("agents")
otel.instrument()
model = ChatOpenAI(model="gpt-4o", base_url=sys.argv[1], api_key="none", max_retries=0)
question = {"messages": [{"role": "user", "content": "go on"}]}
"""
_BY_TOOLS = """
def edit_file() -> str:
    "Ask another agent to edit a file."
    coder.invoke(question)
    return "done"

coder = create_agent(model, [], name="coder")
create_agent(model, [edit_file], name="lead").invoke(question)
otel.shutdown()
"""
_BY_TURNS = """
order = iter(["coder", "tester", "coder", "tester", END])
graph = StateGraph(MessagesState)
graph.add_node("supervisor", create_agent(model, [], name="supervisor"))
graph.add_edge(START, "supervisor")
for name in ("coder", "tester"):
    graph.add_node(name, create_agent(model, [], name=name))
    graph.add_edge(name, "supervisor")
graph.add_conditional_edges("supervisor", lambda _: next(order), ["coder", "tester", END])
graph.compile().invoke(question)
otel.shutdown()
"""
QUICK, SLOW = Reply(think_s=0.01), Reply(think_s=0.3)


@pytest.fixture
def ran(tmp_path: Path) -> Callable[[str, list[Reply]], Study]:
    def runs(program: str, replies: list[Reply]) -> Study:
        with serving() as llm:
            llm.replies = replies
            done = subprocess.run(
                [sys.executable, "-c", _BEGIN + program, f"{llm.url}/v1"],
                env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
                | {"OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path)},
                capture_output=True,
                text=True,
            )
        assert (done.returncode, done.stderr) == (0, "")
        return study(read_run(find_run(None, tmp_path)))

    return runs


def standings(told: Study) -> dict[str, str]:
    return {finding.key: finding.standing for finding in told.verdict.findings}


def test_agents_that_an_agent_calls_are_its_workers(
    ran: Callable[[str, list[Reply]], Study],
) -> None:
    asks = Reply(think_s=0.01, tool="edit_file")
    told = ran(_BY_TOOLS, [asks, SLOW, asks, SLOW, asks, SLOW, QUICK])
    outline = told.accounting.outline
    assert [(job.name, job.is_worker) for job in outline.jobs] == [("coder", True)] * 3
    assert standings(told) == {
        "llm": "supported",
        "git": "cannot be told",
        "superstep": "cannot be told",
        "cycle": "not supported",
    }
    # The only slot works, or waits for the agent that hands out work: one or the other.
    slots = told.accounting.slots
    worked = sum(job.ended_ns - job.started_ns for job in outline.jobs)
    assert slots.total.ns("cycle", state="waiting") == outline.wall_ns - worked
    assert slots.total.ns("framework") == 0


def test_an_agent_that_is_slow_between_its_agents_is_the_cycle(
    ran: Callable[[str, list[Reply]], Study],
) -> None:
    asks = Reply(think_s=0.3, tool="edit_file")
    told = ran(_BY_TOOLS, [asks, QUICK, asks, QUICK, asks, QUICK, SLOW])
    cycle = told.verdict.of("cycle")
    assert cycle.standing == "supported"
    assert cycle.title == "Sequential cycle: workers wait for the agent lead"
    assert [example.span_name for example in cycle.examples] == ["chat gpt-4o"] * 3
    # What it thought before it handed out anything is its plan, which nobody could have begun with.
    jobs = told.accounting.outline.jobs
    gaps = sum(after.started_ns - before.ended_ns for before, after in pairwise(jobs))
    on_wall = gaps + told.accounting.outline.wall[1] - jobs[-1].ended_ns
    assert cycle.share_of_wall == pytest.approx(on_wall / told.accounting.outline.wall_ns)
    assert cycle.share_of_slots == pytest.approx(cycle.share_of_wall), "the one slot was idle then"
    assert ("in the agent lead", on_wall, "ns") in {
        (n.label, n.value, n.unit) for n in cycle.numbers
    }


def test_agents_between_a_supervisor_s_turns_are_its_workers(
    ran: Callable[[str, list[Reply]], Study],
) -> None:
    told = ran(_BY_TURNS, [QUICK, SLOW, QUICK, SLOW, QUICK, SLOW, QUICK, SLOW, QUICK])
    assert [(job.name, job.is_worker) for job in told.accounting.outline.jobs] == [
        ("supervisor", False),
        ("coder", True),
        ("supervisor", False),
        ("tester", True),
        ("supervisor", False),
        ("coder", True),
        ("supervisor", False),
        ("tester", True),
        ("supervisor", False),
    ]
    assert standings(told) == {
        "llm": "supported",
        "git": "cannot be told",
        "superstep": "not supported",
        "cycle": "not supported",
    }
    assert told.estimates.named("llm_twice_as_fast").saves > 0.3  # type: ignore[operator]


def turns(*names: str, agents: str = "abc", head: str = "lead") -> Run:
    """A graph of one node after the other, some of which hold an agent."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 10 * len(names), None)
    loop = root
    for n, name in enumerate(names):
        at = 10 * n
        if name == head or not n:
            loop = spans.add("loop", at, 10 * len(names), root, loop__head=head)
        step = spans.add("superstep", at, at + 10, loop)
        node = spans.add(f"node {name}", at, at + 10, step, "working", "compute", node__name=name)
        if name in agents:
            spans.add(f"invoke_agent {name}", at, at + 9, node, "working", "compute")
    return spans.run()


@pytest.mark.parametrize(
    ("names", "workers"),
    [
        (["lead", "a", "lead", "b", "lead"], "ab"),
        (["lead", "a", "look", "lead", "b", "lead"], "ab"),  # `look` holds no agent
        (["lead", "a", "b", "lead", "a"], ""),  # one hands over to the other: peers
        (["lead", "a", "lead", "a", "lead"], ""),  # it may as well be the other way round
        (["lead", "tools", "lead", "more", "lead"], ""),  # an agent made by hand, and its tools
        (["a", "b", "c"], ""),
    ],
)
def test_who_works_for_a_supervisor_is_clear_or_nobody(names: list[str], workers: str) -> None:
    found = study(turns(*names)).accounting.outline.jobs
    assert {job.name for job in found if job.is_worker} == set(workers)


def test_an_agent_alone_is_its_only_job() -> None:
    spans = Spans()
    agent = spans.add("invoke_agent coder", 0, 100, None, "working", "compute")
    spans.add("chat m", 0, 80, agent, "working", "llm")
    told = study(spans.run())
    assert [job.name for job in told.accounting.outline.jobs] == ["coder"]
    assert told.accounting.slots.total == told.accounting.wall
    text = render(told, width=100, colour=False)
    assert (
        "? No verdict: it takes at least 3 jobs of workers; there are 1.\n"
        "    The largest part of the wall is LLM calls: 80.0 %.\n"
    ) in text


def test_an_agent_has_started_before_its_tool_waits_for_a_thread() -> None:
    spans = Spans()
    agent = spans.add("invoke_agent coder", 0, 100, None, "working", "compute")
    spans.add("chat m", 10, 40, agent, "working", "llm")
    spans.add("wait queue", 40, 60, agent, "waiting", "queue")
    spans.add("execute_tool edit", 60, 80, agent, "working", "tool")
    told = study(spans.run()).accounting
    (job,) = told.outline.jobs
    assert (job.started_ns, job.ended_ns) == (0, 100)
    assert told.slots.total == told.wall


def test_what_takes_most_is_told_only_where_nothing_is_missing() -> None:
    spans = Spans()
    agent = spans.add("invoke_agent coder", 0, 100, None, "working", "compute")
    spans.add("chat m", 0, 80, agent, "working", "llm")
    run = spans.run()
    assert words.largest(study(run).verdict) == "The largest part of the wall is LLM calls: 80.0 %."
    lost = replace(run, warnings=("lost",), lost=("lost",))
    assert words.largest(study(lost).verdict) is None

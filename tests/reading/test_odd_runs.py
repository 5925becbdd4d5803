"""Runs that are odd, but can be read: every report of them says something, and the right thing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.study import study
from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run
from otel_orchestrator.reports import html as html_report
from otel_orchestrator.reports import json as json_report
from otel_orchestrator.reports import text as text_report
from otel_orchestrator.reports.html.data import document
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from .generated import Spans, trees
from .runs import RUN_ID, Writer


def not_finite(word: str) -> int:
    raise AssertionError(f"{word} is no JSON")


def reported(run: Run) -> str:
    """Make every report; return the one for people."""
    told = study(run)
    json.loads(json_report.render(told), parse_constant=not_finite)
    assert html_report.render(told, jaeger_url="http://localhost:16686")
    return text_report.render(told, width=100, colour=False)


def test_a_run_that_is_an_agent_is_not_the_graph_that_a_tool_of_it_runs() -> None:
    spans = Spans()
    agent = spans.add("invoke_agent a", 5, 90, None)
    tool = spans.add("execute_tool t", 10, 50, agent, "working", "tool")
    spans.add("invoke_workflow w", 20, 40, tool)
    assert account(outline_of(spans.run())).outline.wall == (5, 90)
    spans.add("invoke_workflow of another trace", 60, 70, None)
    assert account(outline_of(spans.run())).outline.wall == (60, 70)


def test_what_a_thread_does_after_the_run_is_no_share_of_it() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    node = spans.add("node n", 0, 100, root, "working", "compute")
    spans.add("execute_tool upload", 200, 300, node, "working", "tool")
    assert reported(spans.run())
    shares = {r.category: r.share for r in summarize(spans.run()).categories}
    assert shares == {"compute": 1.0, "tool": 0.0}
    spans.add("execute_tool edit", 10, 30, node, "working", "tool")
    assert {r.category: r.share for r in summarize(spans.run()).categories}["tool"] == 0.2


@settings(max_examples=60, deadline=None)
@given(trees())
def test_no_share_is_less_than_nothing_or_more_than_everything(run: Run) -> None:
    assert all(0 <= r.share <= 1 for r in summarize(run).categories)


@pytest.mark.parametrize("inside", [True, False])
def test_a_task_that_is_held_in_a_run_by_hand_lies_beside_it(inside: bool) -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    task = spans.add("task a", 0, 60, root, task__id="a")
    around = task if inside else root
    spans.add("wait held", 10, 50, around, "waiting", "held", task__id="b")
    assert reported(spans.run())
    found = account(outline_of(spans.run())).wall
    assert {p.category: p.ns for p in found.parts} == {"framework": 100}


@pytest.mark.parametrize("needs", [{"a": "b"}, {"b": "a"}, {"a": "b", "b": "a"}])
def test_jobs_without_length_in_one_instant_may_need_each_other(needs: dict[str, str]) -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    superstep = spans.add("superstep", 0, 100, spans.add("loop", 0, 100, root))
    for name in "abc":
        said: dict[str, Any] = {"task__id": name, "task__depends_on": tuple(needs.get(name, ""))}
        task = spans.add("task w", 0, 100, superstep, **said)
        start = 0 if name == "c" else 100
        spans.add("node w", start, 100, task, "working", "compute", **said)
    assert reported(spans.run())


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1e300, -1.0])
def test_numbers_that_cannot_be_are_left_out(tmp_path: Path, number: float) -> None:
    writer = Writer(tmp_path)
    said = {Attr.TIME_TO_FIRST_CHUNK: number, Attr.LLM_COST: number * 1e8, Attr.LLM_CHUNKS: 3}
    with writer.span("invoke_workflow w", 0, 100, "container"):
        for _ in range(2):
            with writer.span("chat m", 10, 20, category="llm", attributes=said):
                pass
    writer.close()
    run = read_run(find_run(RUN_ID, tmp_path))
    assert reported(run)
    (model,) = study(run).models
    assert model.first_token_ns is None
    assert model.cost == (-2e8 if number == -1 else None)


def test_turns_of_a_subgraph_are_not_those_of_the_run() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    superstep = spans.add("superstep", 0, 100, spans.add("loop", 0, 100, root))
    node = spans.add("node n", 0, 100, superstep, "working", "compute")
    graph = spans.add("invoke_workflow sub", 0, 100, node)
    for at in range(0, 100, 20):
        inner = spans.add("superstep", at, at + 20, spans.add("loop", at, at + 20, graph))
        spans.add("node m", at, at + 20, inner, "working", "compute")
    assert "1 loop · 1 superstep ·" in reported(spans.run())


def test_a_task_out_of_the_cache_does_not_wait_for_a_slot() -> None:
    """Two slots: a works until 80, b was in the cache."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None, concurrency__limit=2)
    superstep = spans.add("superstep", 0, 100, spans.add("loop", 0, 100, root))
    task = spans.add("task w", 0, 100, superstep, task__id="a", task__depends_on=())
    spans.add("node w", 0, 80, task, "working", "compute")
    task = spans.add("task w", 0, 100, superstep, task__id="b", task__depends_on=())
    spans.add("node w", 100, 100, task, "working", "compute", node__source="cached")
    total = account(outline_of(spans.run())).slots.total
    assert {p.category: p.ns for p in total.parts} == {"compute": 80, "no_work": 120}


def test_a_wait_that_a_user_calls_llm_is_no_call() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    superstep = spans.add("superstep", 0, 100, spans.add("loop", 0, 100, root))
    for name in "abc":
        task = spans.add("task w", 0, 100, superstep, task__id=name)
        node = spans.add("node w", 0, 100, task, "working", "compute")
        spans.add("wait llm", 0, 90, node, "waiting", "llm")
    told = study(spans.run())
    assert told.summary.llm_calls == 0
    llm = next(f for f in told.verdict.findings if f.key == "llm")
    assert (llm.measure, llm.share_of_wall, llm.share_of_slots) == (0, 0, 0)
    assert next(bet for bet in told.verdict.bets if bet.key == "llm").measured == 0


def test_a_task_without_a_node_works_all_the_while_and_backs_off_never() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100_000_000, None)
    task = spans.add("task worker", 0, 100_000_000, root, task__id="a")
    spans.add("wait lock", 0, 5_000_000, task, "waiting", "lock")
    spans.add("execute_tool edit", 20_000_000, 100_000_000, task, "working", "tool")
    told = study(spans.run())
    text = text_report.render(told, width=100, colour=False, spans=False)
    bars = [line.split()[-1] for line in text.splitlines() if line.startswith(("  a ", "  slot "))]
    assert bars == ["█" * 56] * 2
    jobs = document(told, "http://localhost:16686")["jobs"]
    row = dict(zip(jobs["fields"], jobs["rows"][0], strict=True))
    assert row["attempts"] == [0, 100_000]


def test_a_run_that_was_cancelled_says_that_its_numbers_end_there() -> None:
    spans = Spans()
    spans.add("invoke_workflow w", 0, 100, None, outcome="cancelled")
    assert "it was cancelled: all numbers are of what ran until then" in reported(spans.run())


def test_spans_of_two_traces_with_the_same_ids_are_all_there_once(tmp_path: Path) -> None:
    spans = [
        {
            "traceId": trace * 32,
            "spanId": f"{n:016x}",
            "parentSpanId": f"{n - 1:016x}" if n > 1 else "",
            "name": "node n",
            "startTimeUnixNano": str(10**18 + n),
            "endTimeUnixNano": str(10**18 + 100),
        }
        for trace in "ab"
        for n in range(1, 25)
    ]
    blocks = [{"resource": {}, "scopeSpans": [{"spans": spans}]}]
    (tmp_path / "r.jsonl").write_text(
        json.dumps({"runFile": {"version": 1}, "resourceSpans": blocks})
    )
    run = read_run(find_run(None, tmp_path))
    assert run.warnings == ()
    walked = [span.span_id for span, _ in forest_of(run.spans).walk()]
    assert len(walked) == len(set(walked)) == 48

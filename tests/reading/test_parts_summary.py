"""What parts of a run count for, told from process to process and joined, is what the run does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from otel_orchestrator.analysis.advice.models import ModelCalls, ModelUse, model_calls, models_of
from otel_orchestrator.analysis.advice.pieces import Look
from otel_orchestrator.analysis.counted import Counted, counted
from otel_orchestrator.analysis.roots import root_of
from otel_orchestrator.analysis.summary import Summary, summarize, summary_of
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run, Span, changed
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from .generated import Spans, orchestrators
from .made import Task, made
from .runs import write_example

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LARGEST = 2**63 - 1

_counted = msgpack.Decoder(Counted)
_models = msgpack.Decoder(tuple[ModelCalls, ...])


class Cut:
    """A run, cut at its top-level loops, and what one knows of it who has none of its spans."""

    def __init__(self, run: Run, loops_each: int) -> None:
        self.run = run
        self.forest = forest_of(run.spans)
        self.root = root_of(self.forest)
        assert self.root is not None
        tops = self.forest.children(self.root)
        loops = [s for s in tops if s.operation == "loop"]
        groups = [loops[n : n + loops_each] for n in range(0, len(loops), loops_each)]
        below = [(self._below(group), group) for group in groups]
        in_loops = {s.span_id for spans, _ in below for s in spans}
        left = [s for s in run.spans if s.span_id not in in_loops]
        self.parts = [*below, (left, [s for s in tops if s.operation != "loop"])]
        self.bare = self.part(())

    def _below(self, tops: Iterable[Span]) -> list[Span]:
        ids: set[str] = set()
        stack = list(tops)
        while stack:
            span = stack.pop()
            ids.add(span.span_id)
            stack.extend(self.forest.children(span))
        return [s for s in self.run.spans if s.span_id in ids]

    def part(self, spans: Iterable[Span]) -> Run:
        part = Run(self.run.id, tuple(spans), self.run.points, self.run.resource)
        object.__setattr__(part, "start_ns", self.run.start_ns)
        object.__setattr__(part, "end_ns", self.run.end_ns)
        return part

    def summary(self) -> Summary:
        told = []
        for spans, tops in self.parts:
            part = self.part(spans)
            told.append(msgpack.encode(counted(part, forest_of(part.spans), tops, self.root)))
        return summary_of(self.bare, self.root, [_counted.decode(message) for message in told])

    def models(self) -> tuple[ModelUse, ...]:
        told = [msgpack.encode(model_calls(Look(self.part(spans)))) for spans, _ in self.parts]
        return models_of([_models.decode(message) for message in told])


def check(run: Run, loops_each: int = 1) -> None:
    cut = Cut(run, loops_each)
    assert cut.summary() == summarize(run)
    assert cut.models() == models_of([model_calls(Look(run))])


@st.composite
def wild(draw: st.DrawFn) -> Run:
    """A run of supersteps whose spans also fail, and whose calls say what anybody may record."""
    run = draw(orchestrators())
    chance = Random(draw(st.integers(0, 10**6)))
    how = draw(st.sampled_from(("nothing", "little", "everything")))
    if how == "nothing":
        return run
    rarely = 0.1 if how == "little" else 0.5
    is_agent = draw(st.booleans())
    has_tasks = draw(st.booleans())

    def said(span: Span) -> Span:
        found: dict[str, Any] = dict(span.attributes)
        name = span.name
        if span.category == "llm":
            found |= _of_call(chance)
        elif span.category == "git" and chance.random() < rarely:
            found[Attr.GIT_PART] = "hook"
        elif span.parent_id is None and is_agent:
            name = "invoke_agent w"
            found |= {Attr.STATE: "working", Attr.CATEGORY: "compute"}
        elif span.operation == "task" and not has_tasks:
            name = "job w"
        elif span.operation == "node" and chance.random() < rarely:
            found[Attr.TASK_ID] = chance.choice(("a", "b", 7))
        if chance.random() < rarely:
            found[Attr.OUTCOME] = chance.choice(("ok", "error", "cancelled"))
        return changed(
            span, name=name, attributes=found, is_error=chance.random() < rarely,
        )  # fmt: skip

    return Run(run.id, tuple(map(said, run.spans)))


def _of_call(chance: Random) -> dict[str, Any]:
    values = {
        Attr.REQUEST_MODEL: ("large", "small"),
        Attr.PROVIDER: ("here", "there"),
        Attr.INPUT_TOKENS: (0, 10, 25, LARGEST, "ten"),
        Attr.OUTPUT_TOKENS: (0, 7, 30, LARGEST),
        Attr.CACHE_READ_TOKENS: (5, True),
        Attr.REASONING_TOKENS: (3, -LARGEST),
        Attr.LLM_COST: (0.1, 0.2, 1e-9, 3, 1e308, "much"),
        Attr.TIME_TO_FIRST_CHUNK: (0.0, 1e-9, 3e-9, -1.0, 1e300),
        Attr.LLM_CHUNKS: (1, 2, 5),
        Attr.LLM_CACHED: (True,),
    }
    # Most runs tell nothing of some of these.
    return {key: chance.choice(of) for key, of in values.items() if chance.random() < 0.5}


@MANY
@given(run=wild(), loops_each=st.integers(1, 3))
def test_parts_come_to_what_the_run_comes_to(run: Run, loops_each: int) -> None:
    check(run, loops_each)


def test_tasks_of_a_plan(tmp_path: Path) -> None:
    tasks = [Task(c, llm=5 + n, git=n, compute=n % 3) for n, c in enumerate("abcdefghijklmnop")]
    later = [Task(c, needs="a", llm=3) for c in "qrst"]
    run = made([*tasks, *later], slots=3)
    check(run)
    assert len(summarize(run).slowest_tasks) == 10
    assert Cut(run, 1).summary().tasks == 20


def test_a_recorded_run(tmp_path: Path) -> None:
    run = read_run(find_run(str(write_example(tmp_path)), tmp_path))
    check(run)
    assert Cut(run, 1).summary().queue


# --- what depends on all parts ---


def loops(state: str, category: str | None, *, has_failed: Sequence[bool]) -> Run:
    """A run of so many loops, of 10 ns each and 2 ns apart, some of which failed."""
    spans = Spans()
    end = 12 * len(has_failed)
    root = spans.add("invoke_agent a", 0, end, None, state, category)
    spans.made[0] = root = changed(root, is_error=True)
    for n, failed in enumerate(has_failed):
        loop = changed(spans.add("loop", 12 * n, 12 * n + 10, root), is_error=failed)
        spans.made[-1] = loop
        spans.add("work", 12 * n + 1, 12 * n + 5, loop, "working", "tool")
    return spans.run()


def test_what_an_agent_did_itself_is_what_all_loops_leave() -> None:
    run = loops("working", "compute", has_failed=[False] * 3)
    check(run)
    rows = {r.category: r for r in Cut(run, 1).summary().categories}
    assert rows["compute"].durations.total_ns == 6
    assert rows["compute"].share == pytest.approx(6 / 36)


@pytest.mark.parametrize(("has_failed", "errors"), [([False, False], 1), ([False, True], 1)])
def test_an_error_that_came_out_of_a_loop_is_no_other_one(
    has_failed: Sequence[bool], errors: int
) -> None:
    run = loops("container", None, has_failed=has_failed)
    check(run)
    assert Cut(run, 1).summary().errors == errors


def test_one_task_with_a_span_in_any_part_is_enough_for_nodes_not_to_be_tasks() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 40, None)
    first, second = (spans.add("loop", at, at + 20, root) for at in (0, 20))
    spans.add("node n", 0, 9, first, "working", "compute", task__id="a")
    spans.add("node n", 0, 9, first, "working", "compute", task__id="b")
    spans.add("task t", 20, 29, second, task__id="c")
    check(spans.run())
    assert Cut(spans.run(), 1).summary().tasks == 1


def test_a_part_with_streamed_calls_says_how_fast_a_model_is_for_all_parts() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 40, None)
    streamed = {Attr.TIME_TO_FIRST_CHUNK: 2e-9, Attr.LLM_CHUNKS: 3}
    for at, told in ((0, {}), (20, streamed)):
        loop = spans.add("loop", at, at + 20, root)
        spans.add("chat m", at, at + 12, loop, "working", "llm")
        spans.made[-1] = changed(
            spans.made[-1], attributes={**spans.made[-1].attributes, Attr.OUTPUT_TOKENS: 50, **told}
        )
    check(spans.run())
    [model] = Cut(spans.run(), 1).models()
    assert (model.is_of_whole_calls, model.tokens_per_s) == (False, 5e9)


def test_sums_may_be_larger_than_any_number_in_a_message() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 40, None)
    loop = spans.add("loop", 0, 40, root)
    for at in range(4):
        call = spans.add("chat m", at, at + 1, loop, "working", "llm")
        spans.made[-1] = changed(call, attributes={**call.attributes, Attr.INPUT_TOKENS: LARGEST})
    check(spans.run())
    assert Cut(spans.run(), 1).summary().input_tokens == 4 * LARGEST

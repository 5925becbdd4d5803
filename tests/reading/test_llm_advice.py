"""What the report can say about LLM calls: what was asked twice, what might be asked at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.advice.llm import llm_advice, llm_seen
from otel_orchestrator.analysis.advice.pieces import Advice, Look, worth_reading
from otel_orchestrator.analysis.prompts import asked_of, equal_prompts
from otel_orchestrator.analysis.study import Study, study
from otel_orchestrator.model import Run, Span

from .generated import Spans, orchestrators, trees

MS = 1_000_000


class Made(Spans):
    """LLM calls and what is around them, in milliseconds."""

    def work(self, name: str, start: int, end: int, parent: Span | None = None) -> Span:
        category = "llm" if name.startswith("chat") else "compute"
        return self.add(name, start * MS, end * MS, parent, "working", category)

    def call(self, start: int, end: int, parent: Span, **given: Any) -> Span:
        """Add an LLM call: `asks` what, with so many `tokens` in and out, and attributes."""
        asks, tokens = given.pop("asks", None), given.pop("tokens", None)
        span = self.work("chat m", start, end, parent)
        said = {**span.attributes, "orchestrator.outcome": "ok", **given}
        if asks is not None:
            said["orchestrator.llm.prompt.hash"] = asks
        if tokens is not None:
            said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"] = tokens
        self.made[-1] = Span(
            span.trace_id, span.span_id, span.parent_id, span.name, 1, span.start_ns, span.end_ns,
            attributes=said,
        )  # fmt: skip
        return self.made[-1]

    def advice(self) -> tuple[Advice, ...]:
        run = self.run()
        return worth_reading(run.end_ns - run.start_ns, llm_advice([llm_seen(Look(run))]))

    def brief(self, kind: str) -> list[tuple[str, int, float, float]]:
        return [
            (a.subject, a.count, a.spent_ns / MS, a.saved_at_most_ns / MS)
            for a in self.advice()
            if a.kind == kind
        ]


@pytest.fixture
def made() -> Made:
    return Made()


# --- equal prompts ---


def test_a_prompt_that_had_been_answered_could_come_out_of_a_cache(made: Made) -> None:
    """The second asks while the first is being answered: no cache has an answer for it yet."""
    for task, (start, end) in zip("abc", ((0, 30), (10, 45), (50, 70)), strict=True):
        node = made.add("node worker", start * MS, end * MS, None, task__id=task)
        made.call(start, end, node, asks="x")
        made.call(end, end + 10, node, asks=f"only {task}")
    assert made.brief("equal_prompts") == [("m", 1, 85, 20)]
    [example] = next(a for a in made.advice() if a.kind == "equal_prompts").examples
    assert (example.task_id, example.duration_ns, example.note) == ("c", 20 * MS, "")


def test_prompts_are_counted_by_model_and_the_dearest_comes_first(made: Made) -> None:
    nodes = [made.work("node n", i * 100, i * 100 + 100) for i in range(3)]
    for i, node in enumerate(nodes):
        made.call(i * 100, i * 100 + 10, node, asks="a")
        made.call(i * 100 + 20, i * 100 + 50, node, asks="b")
        made.call(i * 100 + 60, i * 100 + 65, node, asks="c",
                  **{"gen_ai.request.model": "other"})  # fmt: skip
    assert made.brief("equal_prompts") == [
        ("m", 4, 120, 80),
        ("other", 2, 15, 10),
    ]
    examples = made.advice()[0].examples
    note = "with 1 more that asks the same"
    told = [(e.duration_ns / MS, (e.about_ns or 0) / MS, e.note) for e in examples]
    assert told == [(30, 60, note), (10, 20, note)]


@pytest.mark.parametrize(
    "second",
    [
        {"gen_ai.request.temperature": 1.0},
        {"gen_ai.request.max_tokens": 5},
        {"orchestrator.llm.cached": True},
    ],
)
def test_another_question_or_what_is_cached_already_repeats_nothing(
    made: Made, second: dict[str, Any]
) -> None:
    made.call(0, 10, made.work("node n", 0, 10), asks="x", **{"gen_ai.request.temperature": 0.0})
    given = {"gen_ai.request.temperature": 0.0, **second}
    made.call(20, 30, made.work("node n", 20, 30), asks="x", **given)
    assert made.brief("equal_prompts") == []


def test_what_failed_has_no_answer_to_be_used_again(made: Made) -> None:
    for start, outcome in ((0, "error"), (10, "abandoned"), (20, "ok")):
        node = made.work("node n", start, start + 10)
        made.call(start, start + 10, node, asks="x", **{"orchestrator.outcome": outcome})
    assert made.brief("equal_prompts") == []


def test_prompts_without_a_hash_are_not_compared(made: Made) -> None:
    for start in (0, 10):
        made.call(start, start + 10, made.work("node n", start, start + 10))
    assert made.brief("equal_prompts") == []


# --- calls in a row ---


def test_calls_of_one_node_with_nothing_between_may_be_independent(made: Made) -> None:
    """Sizes do not tell the conversation of the second and third call apart: one needs the other.

    100+20   300+50   350+10   90+5     in + out tokens
    ├─10─┤   ├─30─┤   ├─20─┤   ├─15─┤   all but the longest conversation: 75 - 50
    """
    node = made.work("node survey", 0, 100)
    made.call(0, 10, node, tokens=(100, 20))
    inside = made.work("my span", 10, 60, node)
    made.call(12, 42, inside, tokens=(110, 50))
    made.call(43, 63, inside, tokens=(160, 10))
    made.call(70, 85, node, tokens=(90, 5))
    assert made.brief("sequential_calls") == [("node survey", 4, 75, 25)]
    [example] = made.advice()[0].examples
    assert (example.span_name, example.duration_ns) == ("node survey", 100 * MS)
    assert example.about_ns == 25 * MS
    assert example.note == "of it saved at most, for 4 calls in a row"


def test_rows_of_all_nodes_of_a_name_are_one_piece_of_advice(made: Made) -> None:
    for start in (0, 100):
        node = made.work("node n", start, start + 100)
        made.call(start, start + 20, node)
        made.call(start + 20, start + 50, node)
    tool = made.work("execute_tool search", 200, 300, made.work("invoke_agent a", 200, 300))
    made.call(210, 250, tool)
    made.call(250, 290, tool)
    assert made.brief("sequential_calls") == [
        ("execute_tool search", 2, 80, 40),
        ("node n", 4, 100, 40),
    ]


@pytest.mark.parametrize(
    ("above", "between", "second"),
    [
        ("invoke_agent coder", None, {}),  # asked with the answer of the one before
        ("chat router", None, {}),  # what another call does is its own business
        ("node n", "execute_tool search", {}),
        ("node n", "git add", {}),
        ("node n", "POST", {}),
        ("node n", "my work", {}),
        ("node n", None, {"tokens": (120, 10)}),  # could hold the first's 100 + 20
        ("node n", None, {"asks": "x"}),  # the same again
    ],
)
def test_calls_that_show_that_they_may_need_each_other_are_left_alone(
    made: Made, above: str, between: str | None, second: dict[str, Any]
) -> None:
    parent = made.work("node n", 0, 100)
    if above != "node n":
        parent = made.work(above, 0, 100, parent)
    made.call(0, 40, parent, asks="x", tokens=(100, 20))
    if between is not None:
        made.work(between, 40, 41, parent)
    made.call(50, 90, parent, **{"asks": "y", "tokens": (90, 10), **second})
    assert made.brief("sequential_calls") == []


def test_without_any_of_that_the_same_calls_are_said(made: Made) -> None:
    """So that the cases above fail for one reason each."""
    parent = made.work("node n", 0, 100)
    made.call(0, 40, parent, asks="x", tokens=(100, 20))
    made.add("wait lock", 40 * MS, 50 * MS, parent, "waiting", "lock")
    made.call(50, 90, parent, asks="y", tokens=(90, 10))
    assert made.brief("sequential_calls") == [("node n", 2, 80, 40)]


def test_what_a_model_thought_is_not_sent_back_to_it(made: Made) -> None:
    node = made.work("node n", 0, 100)
    made.call(0, 40, node, tokens=(100, 500), **{"gen_ai.usage.reasoning.output_tokens": 480})
    made.call(50, 90, node, tokens=(120, 10))
    assert made.brief("sequential_calls") == []


def test_another_try_after_a_failure_is_no_independent_call(made: Made) -> None:
    node = made.work("node n", 0, 100)
    made.call(0, 40, node, **{"orchestrator.outcome": "error"})
    made.call(50, 90, node)
    assert made.brief("sequential_calls") == []


def test_calls_that_overlap_are_asked_at_once_already(made: Made) -> None:
    node = made.work("node n", 0, 100)
    made.call(0, 40, node)
    made.call(10, 30, node)
    made.call(40, 90, node)  # may well need both
    assert made.brief("sequential_calls") == []


def test_little_is_not_worth_reading(made: Made) -> None:
    node = made.work("node n", 0, 10_000)
    made.call(0, 99, node)
    made.call(200, 299, node)
    assert made.brief("sequential_calls") == []


# --- whatever the spans ---


def any_time(told: Study) -> bool:
    return any(m.took_ns for m in told.models)


# A busy machine is no defect.
PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

CALLS = st.lists(
    st.tuples(
        st.sampled_from(("", "x", "y")), st.integers(0, 20), st.integers(0, 9),
        st.sampled_from(("ok", "error")),
    )
)  # fmt: skip


@PATIENT
@given(CALLS)
def test_a_call_repeats_what_an_earlier_one_was_told(
    calls: list[tuple[str, int, int, str]],
) -> None:
    """Looked at pair by pair."""
    made = Made()
    for asks, start, length, outcome in calls:
        made.call(start, start + length, made.work("node n", start, start + length),
                  asks=asks or None, **{"orchestrator.outcome": outcome})  # fmt: skip
    spans = [s for s in made.made if s.name == "chat m"]

    def is_before(a: Span, b: Span) -> bool:
        keys = [(s.start_ns, s.end_ns or 0, s.span_id) for s in (a, b)]
        return keys[0] < keys[1]

    def answers(a: Span, b: Span) -> bool:
        asked = [s.attributes.get("orchestrator.llm.prompt.hash") for s in (a, b)]
        return asked[0] == asked[1] is not None and a.outcome == "ok" and is_before(a, b)

    earlier = {b.span_id: [a for a in spans if answers(a, b)] for b in spans}
    repeated = {b.span_id for b in spans
                if any((a.end_ns or 0) <= b.start_ns for a in earlier[b.span_id])}  # fmt: skip
    meanwhile = {b.span_id for b in spans if earlier[b.span_id]} - repeated
    asked = [asked_of(s, s.start_ns, s.end_ns or 0) for s in spans]
    groups = equal_prompts([one for one in asked if one is not None])
    assert {s.span_id for g in groups for s in g.repeated} == repeated
    assert {s.span_id for g in groups for s in g.meanwhile} == meanwhile


@PATIENT
@given(st.one_of(trees(), orchestrators()))
def test_nothing_is_negative_or_more_than_there_is(run: Run) -> None:
    told = study(run)
    assert sum(m.share for m in told.models) == pytest.approx(1 if any_time(told) else 0)
    assert all(m.took_ns >= 0 and (m.tokens_per_s or 0) >= 0 for m in told.models)
    for one in told.advice:
        assert one.saved_at_most_ns >= 0
        assert one.kind == "lock_contention" or one.saved_at_most_ns <= one.spent_ns
    assert [a.saved_at_most_ns for a in told.advice] == sorted(
        (a.saved_at_most_ns for a in told.advice), reverse=True
    )

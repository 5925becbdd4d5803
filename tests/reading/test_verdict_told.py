"""The verdict does not depend on a limit that nothing reaches, and says what it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.verdict.findings import Finding, _told_apart
from otel_orchestrator.analysis.verdict.judging import EXPLANATIONS, Verdict, verdict
from otel_orchestrator.model import Run
from otel_orchestrator.reports import words

from .generated import Spans
from .made import MS, Control, Task, made

LONG, SHORT = 400, 20
CHAINS = [
    Task(f"{chain}", f"{needs}", 1, 1, compute=LONG if n % 2 == first else SHORT)
    for first, ids in enumerate(("abcd", "efgh"))
    for n, (chain, needs) in enumerate(zip(ids, " " + ids, strict=False))
]
"""Two chains in which long and short tasks alternate: never more than two run at once."""


def judge(run: Run) -> Verdict:
    return verdict(account(outline_of(run)))


def blocking(told: Verdict) -> Finding:
    return told.of("superstep")


def chains(slots: int) -> Run:
    tasks = [replace(t, needs=t.needs.strip()) for t in CHAINS]
    return made(tasks, slots=slots, director=Control(llm=4), strategist=Control(llm=2))


@pytest.mark.parametrize("slots", [3, 10, 100])
def test_a_limit_that_nothing_reaches_changes_no_verdict(slots: int) -> None:
    told, as_many_as_run = judge(chains(slots)), judge(chains(2))
    assert blocking(as_many_as_run).standing == "supported"
    one, other = blocking(told), blocking(as_many_as_run)
    assert (one.standing, one.measure, one.why) == (other.standing, other.measure, other.why)
    assert one.share_of_wall == other.share_of_wall
    assert told.is_continuous_worth_it is as_many_as_run.is_continuous_worth_it is True
    assert words.rule(told) == words.rule(as_many_as_run)
    # The shares of slot time are those of all slots.
    assert told.superstep_share == pytest.approx(as_many_as_run.superstep_share * 2 / slots)


def test_slots_that_had_work_are_part_of_all_slots() -> None:
    view = account(outline_of(chains(10))).slots
    everything = [(0, 10**15)]
    assert view.used.whole_ns == 2 * view.total.whole_ns // 10
    assert view.used_idle_within(everything, "held") == view.used.ns("held", state="waiting")
    assert view.used_idle_within(everything, "held") <= view.idle_within(everything, "held")


def test_where_none_of_the_four_is_supported_the_largest_part_of_the_wall_is_named() -> None:
    tasks = [Task(n, llm=20, git=2, compute=80) for n in "abc"]
    told = judge(made(tasks, director=Control(llm=4), strategist=Control(llm=2)))
    part = told.largest
    assert part is not None
    assert (part.state, part.category, part.node) == ("working", "compute", "worker")
    share = account(
        outline_of(made(tasks, director=Control(llm=4), strategist=Control(llm=2)))
    ).wall
    assert part.share_of_wall == share.share("compute")
    assert words.largest(told) == (
        "None of the four is supported. The largest part of the wall is your own code, mostly in"
        f" node worker: {part.share_of_wall * 100:.1f} %."
    )
    assert judge(chains(2)).largest is None


def test_a_run_by_hand_is_told_without_supersteps() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 400 * MS, None)
    for n in range(4):
        spans.add("node n", n * 100 * MS, (n * 100 + 90) * MS, root, "working", "compute")
    accounting = account(outline_of(spans.run()))
    told = verdict(accounting)
    assert words.largest(told) == (
        "None of the four is supported. The largest part of the wall is your own code or calls that"
        " are not traced, mostly in node n: 90.0 %."
    )
    assert words.rule(told).startswith("Whether continuous dispatch would pay cannot be told")
    assert words.views(accounting)["wall"] == "wall: along the critical path"
    assert words.views(accounting)["tasks"] == "tasks: their spans, start to end"
    assert "next loop, or the end" in words.views(accounting)["lifecycle"]


def test_what_cannot_be_told_is_not_told_below_either() -> None:
    plan = [Task(n, compute=c, llm=1, git=1) for n, c in (("A", 30), ("B", 600), ("C", 30))]
    told = judge(made(plan, says_dependencies=False))
    assert blocking(told).standing == "cannot be told"
    assert "instrument(tasks_key=..., task_fields=...)" in blocking(told).why
    assert "tasks_key" in EXPLANATIONS["superstep"]
    assert dict(words.bets(told))["superstep synchronisation"] is None
    assert words.rule(told).startswith("Whether continuous dispatch would pay cannot be told")


def test_what_is_known_only_at_most_is_told_as_that() -> None:
    plan = [Task(n, compute=c, llm=1, git=1) for n, c in (("A", 600), ("B", 600), ("C", 300))]
    told = blocking(judge(made(plan, says_dependencies=False)))
    assert told.standing == "not supported"
    assert "0% of the time of the slots that had work" in told.why
    assert "known to be kept idle by barriers, 17% at most" in told.why


@pytest.mark.parametrize(
    ("measure", "threshold", "said"),
    [(0.499, 0.5, "49.9%"), (0.42, 0.5, "42%"), (0.4996, 0.5, "49.96%"), (0.5, 0.5, "50%"),
     (0.198, 0.2, "19.8%")],
)  # fmt: skip
def test_a_share_is_told_apart_from_its_threshold(
    measure: float, threshold: float, said: str
) -> None:
    assert _told_apart(measure, threshold) == said

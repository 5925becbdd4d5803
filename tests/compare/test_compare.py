"""What a comparison keeps of a run, what it says of paths, and which runs it doubts."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from math import log
from typing import Any

import pytest
from hypothesis import given, settings

from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.comparing.causes import causes_of
from otel_orchestrator.analysis.comparing.comparison import Comparison, Row, compare
from otel_orchestrator.analysis.comparing.digest import Digest, digest_of
from otel_orchestrator.analysis.comparing.rules import DECLARED
from otel_orchestrator.analysis.comparing.structure import Structure
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.model import Run, Span, changed
from otel_orchestrator.reports.compare.words import MINUS, answer, because
from otel_orchestrator.semconv import Attr

from ..reading.generated import trees
from ..reading.made import Task, made
from .made import MS, START_NS, in_turns, renamed, run_of

UNCHANGED = Structure((), (), (), ())


def compared(base: list[Digest], candidate: list[Digest], **options: Any) -> Comparison:
    return compare(base, candidate, DECLARED, **{"trusted": False, **options})


def row(comparison: Comparison, name: str) -> Row:
    return next(r for r in comparison.paths if r.path and r.path[-1] == name)


def test_a_digest_holds_what_the_run_did() -> None:
    digest = digest_of(run_of(7, llm=(100, 300), git=(20,), compute=30, lock=50))
    assert digest.run_id == "run-0007"
    assert (digest.wall_us, digest.waiting_us) == (500_000, 50_000)
    assert digest.on_wall == {
        ("working", "llm"): 400_000,
        ("working", "git"): 20_000,
        ("working", "compute"): 30_000,
        ("waiting", "lock"): 50_000,
    }
    by_path = {p.path[-1]: p.amount for p in digest.paths}
    chat, node = by_path["chat m"], by_path["node worker"]
    assert (chat.count, chat.total_us, chat.median_us, chat.p95_us) == (2, 400_000, 2e5, 290_000)
    assert (chat.covered_us, chat.waiting_share) == (400_000, 0.0)
    assert (node.total_us, node.waited_us) == (500_000, 50_000)
    assert by_path["wait lock"].waiting_share == 1.0
    categories = {c.key: c.amount.total_us for c in digest.categories}
    assert categories["working", "compute"] == 30_000, "without what runs below the node"


@given(trees())
@settings(max_examples=60, deadline=None)
def test_a_digest_agrees_with_the_report(run: Run) -> None:
    """The report has nanoseconds; a digest, every instant cut to its microsecond."""
    spans = tuple(
        changed(s, start_ns=s.start_ns * 1000,
                end_ns=None if s.end_ns is None else s.end_ns * 1000,
                attributes={k: v * 1e3 if ".wait.short." in k and isinstance(v, float) else v
                            for k, v in s.attributes.items()})
        for s in run.spans
    )  # fmt: skip
    run = replace(run, spans=spans)
    digest, accounting, summary = digest_of(run), account(outline_of(run)), summarize(run)
    wall = {(p.state, p.category): p.ns // 1000 for p in accounting.wall.parts}
    assert digest.on_wall == wall
    assert digest.wall_us == accounting.outline.wall_ns // 1000
    assert sum(p.amount.count for p in digest.paths) == len(accounting.outline.everything)
    mine = {c.key[1] for c in digest.categories}
    assert mine <= {r.category for r in summary.categories} | {"llm", "compute", "unknown"}


def test_a_wait_in_a_node_is_no_part_of_what_the_node_did_itself() -> None:
    said = {Attr.STATE: "working", Attr.CATEGORY: "compute"}
    waits = {Attr.STATE: "waiting", Attr.CATEGORY: "lock"}
    node = Span("t", "1", None, "node n", 1, 0, 100_000, attributes=said)
    wait = Span("t", "2", "1", "wait lock", 1, 10_000, 100_000, attributes=waits)
    digest = digest_of(Run("run", (node, wait)))
    [compute] = [c.amount for c in digest.categories if c.key == ("working", "compute")]
    assert (compute.total_us, compute.waited_us) == (10, 0)
    [path] = [p.amount for p in digest.paths if p.path == ("node n",)]
    assert path.waiting_share == 0.9


def test_where_a_run_was_read_from_makes_no_difference() -> None:
    """A store may keep whole microseconds of starts and durations; the digest is the same."""
    run = run_of(1, llm=(100.000_7, 33.333_333), git=(7.000_999,), lock=1.234_567)
    cut = tuple(
        changed(s, start_ns=cut_off(s.start_ns),
                end_ns=cut_off(s.start_ns) + cut_off((s.end_ns or 0) - s.start_ns))
        for s in reversed(run.spans)
    )  # fmt: skip
    assert digest_of(replace(run, spans=cut)) == digest_of(run)


def cut_off(ns: int) -> int:
    return ns // 1000 * 1000


def test_more_calls_are_told_from_slower_ones() -> None:
    """ln(total) = ln(count) + ln(mean), in every run."""
    base = [{"llm": [100 + n] * 4} for n in range(5)]
    candidate = [{"llm": [150 + n] * 8} for n in range(5)]
    found = row(compared(*in_turns(base, candidate)), "chat m")
    shifts = [found.count.shift, found.mean.shift, found.total.shift]
    counts, means, totals = (s.estimate for s in shifts if s is not None)
    assert counts == pytest.approx(log(2))
    assert means == pytest.approx(log(152 / 102), abs=0.001)
    assert totals == pytest.approx(counts + means)


def test_paths_match_by_names_whatever_the_ids_and_the_order() -> None:
    base = [{"git": [20 + n]} for n in range(5)]
    groups = in_turns(base, base)
    found = compared(groups[0][::-1], groups[1])
    assert {len(r.path or ()) for r in found.paths} == {1, 2, 3, 4}
    assert all(r.base_runs == r.candidate_runs == 5 for r in found.paths)
    assert found.structure == UNCHANGED
    assert told_of(found) == told_of(compared(*groups))


def told_of(comparison: Comparison) -> tuple[object, ...]:
    return comparison.paths, comparison.categories, comparison.on_wall


def test_new_gone_more_and_less_often_are_shown_where_they_begin() -> None:
    base = [{"llm": [9] * 2, "git": [9] * 4, "names": ["old tool"]} for _ in range(4)]
    candidate = [{"llm": [9] * 3, "git": [9] * 2, "names": ["new tool"]} for _ in range(4)]
    structure = compared(*in_turns(base, candidate)).structure
    assert [c.path[-1] for c in structure.new] == ["new tool"]
    assert [c.path[-1] for c in structure.gone] == ["old tool"]
    assert [(c.path[-1], c.base, c.candidate) for c in structure.more] == [("chat m", 2, 3)]
    assert [(c.path[-1], c.base, c.candidate) for c in structure.fewer] == [("git commit", 4, 2)]


def test_what_comes_now_and_then_is_not_new() -> None:
    base: list[dict[str, Any]] = [{} for _ in range(5)]
    candidate = [{"names": ["retry"] if n == 0 else []} for n in range(5)]
    found = compared(*in_turns(base, candidate))
    assert found.structure == UNCHANGED
    assert row(found, "retry").candidate_runs == 1


def test_one_against_one_shows_structure_and_differences() -> None:
    found = compared(*in_turns([{"llm": [100]}], [{"llm": [100] * 3}]))
    assert found.is_one_each
    assert [c.path[-1] for c in found.structure.more] == ["chat m"]
    assert not any(r.is_lead for r in found.paths)
    assert not found.tells_chance


def shared(run: Run, number: int) -> Digest:
    return digest_of(renamed(run, number, START_NS + number * 10_000 * MS))


def plan(llm: int = 10, git: int = 4, straggler: int = 0) -> Run:
    return made(
        [Task(name, llm=llm + extra, git=git, compute=2 + (straggler if name == "b" else 0))
         for extra, name in enumerate("abc")]
        + [Task("d", needs="a", llm=llm, git=git)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "kind", "category"),
    [
        (plan(llm=20), "slower", "llm"),
        (plan(git=20), "slower", "git"),
        (plan(straggler=30), "more waiting", "barrier"),
    ],
    ids=["llm", "git", "straggler"],
)
def test_the_cause_is_named_first(changed: Run, kind: str, category: str) -> None:
    base = [shared(plan(), n) for n in range(0, 10, 2)]
    candidate = [shared(changed, n) for n in range(1, 10, 2)]
    first = causes_of(compared(base, candidate))[0]
    assert (first.kind, first.category, first.is_growth) == (kind, category, True)
    back = causes_of(compared(candidate, base))[0]
    assert (back.category, back.is_growth) == (category, False)


def scattered(seed: int) -> Comparison:
    """Runs of which nothing is steady, so that medians and differences often disagree."""
    random_ = random.Random(seed)

    def run() -> dict[str, Any]:
        return {
            "llm": [random_.expovariate(1) * 100 for _ in range(random_.randint(1, 3))],
            "git": [random_.expovariate(1) * 100 for _ in range(random_.randint(1, 3))],
            "lock": random_.expovariate(1) * 300,
            "compute": random_.expovariate(1) * 50,
        }

    runs = random_.choice([1, 2, 3, 5])
    return compared(*in_turns([run() for _ in range(runs)], [run() for _ in range(runs)]))


def test_no_cause_says_the_opposite_of_its_numbers() -> None:
    """Before and after are medians; whether it grew is said by the pairwise differences."""
    kinds: set[tuple[str, bool]] = set()
    unlike = 0
    for seed in range(300):
        found = scattered(seed)
        unlike += sum(p.difference * (p.candidate - p.base) < 0 for p in found.waits)
        for cause in causes_of(found):
            kinds.add((cause.kind, cause.is_growth))
            told = [(sum(p.base for p in cause.waits), sum(p.candidate for p in cause.waits))]
            if cause.row is not None:
                means, counts = (
                    [(v.base_median or 0.0, v.candidate_median or 0.0)]
                    for v in (cause.row.mean, cause.row.count)
                )
                told = {"slower": means, "more": counts}.get(cause.kind, means + counts)
            if cause.row is not None or cause.waits:
                assert all((a < b) if cause.is_growth else (a > b) for a, b in told), seed
            assert not cause.wall_us or (cause.wall_us > 0) == cause.is_growth, seed
            percents = re.findall(r"each (\S+) (\S+) → (\S+) (\S+) \((.)", because(cause))
            for before, unit, after, its_unit, sign in percents:
                if unit == its_unit and before != after:
                    assert (float(after) > float(before)) == (sign != MINUS), seed
    assert unlike > 10
    assert len(kinds) == 8, "every kind of cause came up"


def test_nothing_is_blamed_where_nothing_changed() -> None:
    base = [{"llm": [100 + n, 90]} for n in range(5)]
    assert causes_of(compared(*in_turns(base, base))) == ()


def made_at(*starts_s: float, host: str = "vm", first: int = 0) -> list[Digest]:
    return [
        digest_of(run_of(first + n, start_ns=START_NS + round(s * 1e9), host=host))
        for n, s in enumerate(starts_s)
    ]


def test_runs_of_another_machine_are_advice_only() -> None:
    base, candidate = made_at(0, 20, 40, 60), made_at(10, 30, 50, 70, host="ci", first=9)
    slow = [replace(d, wall_us=d.wall_us * 3) for d in candidate]
    found = compared(base, slow)
    assert found.standing == "regression"
    assert found.doubts.advisory == ("the runs are from 2 machines (ci, vm)",)
    assert (found.exit_code(strict=False), found.exit_code(strict=True)) == (0, 3)
    assert compared(base, slow, trusted=True).exit_code(strict=False) == 1


def test_runs_of_another_session_are_advice_only() -> None:
    found = compared(made_at(0, 9, 18, 27), made_at(2000, 2009, 2018, 2027, first=9))
    assert found.doubts.advisory == (
        "the runs are from 2 sessions, with half an hour or more between them",
    )


def test_groups_one_after_the_other_are_judged_but_doubted() -> None:
    found = compared(made_at(0, 9, 18, 27), made_at(40, 49, 58, 67, first=9))
    assert found.doubts.advisory == ()
    assert "Run base and candidate in turns" in found.doubts.remarks[0]
    turns = compared(made_at(0, 18, 36, 54), made_at(9, 27, 45, 63, first=9))
    assert turns.doubts.remarks == ()


def test_runs_that_did_not_end_well_or_were_not_read_whole_are_said() -> None:
    base: list[dict[str, Any]] = [{} for _ in range(4)]
    candidate = [{"outcome": "error", "warnings": [f"line {n} is torn"] * 3} for n in range(4)]
    remarks = compared(*in_turns(base, candidate)).doubts.remarks
    assert remarks[0] == "4 of 4 candidate runs did not end well: error"
    assert remarks[1] == "run run-0001: line 0 is torn"
    assert remarks[-1] == "... and 7 warnings more"


@pytest.mark.parametrize(
    ("factor", "broken", "after"),
    [(0.3, "candidate", ""), (1.0, "candidate", ""), (1.5, "candidate", " Slower: "),
     (0.3, "base", ""), (1.5, "base", " Slower: ")],
)  # fmt: skip
def test_runs_that_break_off_are_not_faster(factor: float, broken: str, after: str) -> None:
    """Not even where people say that it is one machine, and one of five is enough."""
    sides: dict[str, list[dict[str, Any]]] = {
        "base": [{"llm": [100 + n]} for n in range(5)],
        "candidate": [{"llm": [(100 + n) * factor]} for n in range(5)],
    }
    sides[broken][2]["outcome"] = "error"
    found = compared(*in_turns(sides["base"], sides["candidate"]), trusted=True)
    counts = (1, 0) if broken == "candidate" else (0, 1)
    unlike = "{} of 5 candidate runs did not end well, against {} of 5 base runs".format(*counts)
    assert found.doubts.advisory == (unlike,)
    assert answer(found).startswith(f"Not like with like: {unlike}.{after}")
    assert "Faster" not in answer(found)
    assert found.standing == ("regression" if after else "undecided")
    assert (found.exit_code(strict=False), found.exit_code(strict=True)) == (0, 3)


def test_runs_that_still_go_on_are_not_said_to_have_failed() -> None:
    runs: list[dict[str, Any]] = [{"llm": [100 + n]} for n in range(5)]
    base, candidate = in_turns(runs, runs)
    candidate[1] = replace(candidate[1], outcome="open")
    found = compared(base, candidate)
    told = "1 of 5 candidate runs have not ended, against 0 of 5 base runs"
    assert answer(found) == f"Not like with like: {told}."
    assert found.doubts.remarks == ("1 of 5 candidate runs have not ended",)
    candidate[2] = replace(candidate[2], outcome="error")
    found = compared(base, candidate)
    told = "2 of 5 candidate runs did not end well, or have not ended, against 0 of 5 base runs"
    assert answer(found) == f"Not like with like: {told}."


def test_sides_of_different_services_are_judged_but_said_first() -> None:
    runs: list[dict[str, Any]] = [{"llm": [100 + n]} for n in range(5)]
    base, candidate = in_turns(runs, runs)
    found = compared(base, [replace(d, service="other") for d in candidate])
    told = "the base runs are of svc, the candidate runs of other"
    assert answer(found) == f"Not like with like: {told}. Not slower."
    assert found.exit_code(strict=True) == 0
    mixed = [[group[0], *(replace(d, service="other") for d in group[1:])]
             for group in (base, candidate)]  # fmt: skip
    found = compared(*mixed)
    assert answer(found) == "Not slower."
    assert found.doubts.remarks == ("the runs are of different services: other, svc",)


def test_sides_that_fail_alike_are_compared() -> None:
    runs: list[dict[str, Any]] = [{"llm": [100 + n], "outcome": "error"} for n in range(5)]
    found = compared(*in_turns(runs, runs))
    assert found.doubts.advisory == ()
    assert answer(found) == "Not slower."

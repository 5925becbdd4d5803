"""The verdict: each hypothesis is moved by its own cause alone, and nothing is guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_orchestrator.analysis.accounting.barriers import barriers_of
from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.verdict.findings import Finding
from otel_orchestrator.analysis.verdict.judging import EXPLANATIONS, Verdict, verdict
from otel_orchestrator.model import Run
from otel_orchestrator.model import changed as span_with

from .generated import Spans
from .made import MS, Control, Task, made

KEYS = ("llm", "git", "superstep", "cycle")


def judge(run: Run) -> Verdict:
    return verdict(account(outline_of(run)))


def on(told: Verdict, key: str) -> Finding:
    return next(f for f in told.findings if f.key == key)


def supported(run: Run) -> set[str]:
    return {f.key for f in judge(run).findings if f.standing == "supported"}


# --- one cause, one hypothesis ---

PLAN = [
    # id, needs, llm, git, compute: the shape of the reference orchestrator's plan
    Task("m", "", 40, 6, 50, 5),
    Task("s", "", 35, 6, 55, 4),
    Task("c", "", 45, 6, 45, 5),
    Task("k", "", 40, 6, 50, 5),
    Task("r", "m", 40, 6, 52, 5),
    Task("i", "mc", 38, 6, 50, 5),
    Task("e", "s", 42, 6, 50, 5),
    Task("o", "rk", 40, 6, 50, 5),
    Task("l", "ir", 44, 6, 50, 6),
    Task("p", "eo", 40, 6, 50, 5),
]
DIRECTOR, STRATEGIST = Control(llm=8, compute=1), Control(llm=8, compute=1, merge=2)


def slow_llm(k: int) -> Run:
    """Every LLM call takes k times as long, whoever makes it."""
    return made(
        [replace(t, llm=t.llm * k) for t in PLAN],
        director=replace(DIRECTOR, llm=8 * k),
        strategist=replace(STRATEGIST, llm=8 * k),
        opening=replace(DIRECTOR, llm=24 * k),
    )


def slow_git(k: int) -> Run:
    """Every git command takes k times as long, merges too."""
    return made(
        [replace(t, git=t.git * k) for t in PLAN],
        director=DIRECTOR,
        strategist=replace(STRATEGIST, merge=2 * k),
        opening=replace(DIRECTOR, llm=24),
    )


def slow_straggler(k: int, how: str = "compute") -> Run:
    """One task takes k times as long, whatever it spends it on."""
    tasks = [replace(t, **{how: getattr(t, how) * k}) if t.id == "c" else t for t in PLAN]
    return made(tasks, director=DIRECTOR, strategist=STRATEGIST, opening=replace(DIRECTOR, llm=24))


def slow_director(k: int, how: str = "llm") -> Run:
    """The Director takes k times as long."""
    slow = replace(DIRECTOR, **{how: getattr(DIRECTOR, how) * k})
    return made(PLAN, director=slow, strategist=STRATEGIST, opening=replace(slow, llm=3 * slow.llm))


def test_without_a_cause_nothing_is_supported() -> None:
    assert {f.key: f.standing for f in judge(slow_llm(1)).findings} == dict.fromkeys(
        KEYS, "not supported"
    )


@pytest.mark.parametrize("k", [4, 10, 30, 100])
def test_a_slow_llm_flips_its_hypothesis_alone(k: int) -> None:
    assert supported(slow_llm(k)) == {"llm"}


@pytest.mark.parametrize("k", [4, 10, 30, 100])
def test_slow_git_flips_its_hypothesis_alone(k: int) -> None:
    assert supported(slow_git(k)) == {"git"}


@pytest.mark.parametrize("how", ["compute", "llm"])
@pytest.mark.parametrize("k", [10, 30, 100])
def test_one_straggler_flips_its_hypothesis_alone(k: int, how: str) -> None:
    assert supported(slow_straggler(k, how)) == {"superstep"}


@pytest.mark.parametrize(("how", "k"), [("llm", 10), ("llm", 30), ("compute", 80)])
def test_a_slow_director_flips_its_hypothesis_alone(k: int, how: str) -> None:
    assert supported(slow_director(k, how)) == {"cycle"}


@pytest.mark.parametrize("k", [2, 4, 8])
def test_a_slow_llm_stays_supported_when_something_else_gets_slow_too(k: int) -> None:
    """Ten times slower git is a second bottleneck, not instead of the first."""
    tasks = [replace(t, llm=t.llm * 4, git=t.git * k) for t in PLAN]
    run = made(tasks, director=DIRECTOR, strategist=replace(STRATEGIST, merge=2 * k))
    assert "llm" in supported(run)


# --- the numbers behind it ---


def test_shares_of_the_seeds_picture() -> None:
    """Three slots, 730 of wall: D is held for 570, and without the barrier the run takes 640."""
    plan = [Task("A", compute=30), Task("B", compute=600), Task("C", compute=30),
            Task("D", "AC", compute=90)]  # fmt: skip
    run = made(plan, director=Control(llm=10), strategist=Control(llm=5))
    found = judge(run)
    blocking = on(found, "superstep")
    assert blocking.standing == "not supported", "570 of 2070 while workers work is under 30 %"
    assert blocking.measure == pytest.approx(570 / (3 * 690))
    assert blocking.share_of_slots == pytest.approx(570 / (3 * 730))
    assert blocking.share_of_wall == pytest.approx(90 / 730)
    assert [
        (e.span_name, e.task_id, e.duration_ns, e.note, e.about_ns) for e in blocking.examples
    ] == [("task worker", "B", 600 * MS, "that D waited for it", 570 * MS)]
    assert found.superstep_share == pytest.approx(570 / 2190)
    assert found.is_continuous_worth_it is False
    cycle = on(found, "cycle")
    assert cycle.share_of_wall == pytest.approx((5 + 10 + 5 + 10) / 730)


def test_with_a_whole_next_batch_held_continuous_dispatch_is_worth_it() -> None:
    plan = [Task("A", compute=30), Task("B", compute=600), Task("C", compute=30),
            Task("D", "AC", compute=90), Task("E", "A", compute=90)]  # fmt: skip
    found = judge(made(plan))
    assert on(found, "superstep").standing == "supported"
    assert found.is_continuous_worth_it is True
    assert found.superstep_share == pytest.approx(1140 / (3 * (600 + 90 + 5)))
    assert "Dispatch continuously" in on(found, "superstep").advice[0]
    barrier = next(b for b in barriers_of(outline_of(made(plan))) if b.held)
    assert barrier.straggler is not None
    assert barrier.straggler.task_id == "B"
    assert [(h.job.task_id, h.ns) for h in barrier.held] == [("D", 570 * MS), ("E", 570 * MS)]
    assert (barrier.held_ns, barrier.result_wait_ns) == (1140 * MS, 1140 * MS)


def test_the_wall_share_of_llm_follows_what_ran_in_the_slot_before() -> None:
    """One slot, four tasks of 10: the last one queues for 30 of 40, in which the LLM works."""
    run = made([Task(n, llm=10, git=1) for n in "abcd"], slots=1)
    found = on(judge(run), "llm")
    assert found.share_of_wall == pytest.approx(40 / (44 + 3))
    assert found.measure == 1


def test_bets_are_read_in_slot_time() -> None:
    found = judge(slow_llm(1))
    slots = account(outline_of(slow_llm(1))).slots.total
    bets = {b.key: b.measured for b in found.bets}
    assert bets["llm"] == pytest.approx(slots.share("llm"))
    assert bets["git"] == pytest.approx(slots.share("git"))
    assert sum(bets.values()) == pytest.approx(1)
    assert [(b.key, b.low, b.high) for b in found.bets] == [
        ("llm", 0.6, 0.8), ("git", 0.1, 0.2), ("superstep", 0.05, 0.1), ("rest", 0.05, 0.1),
    ]  # fmt: skip


def test_examples_are_the_worst_first_and_point_at_their_spans() -> None:
    run = slow_straggler(10, "llm")
    examples = on(judge(run), "llm").examples
    by_id = {s.span_id: s for s in run.spans}
    took = [e.duration_ns for e in examples]
    assert took == sorted(took, reverse=True)
    assert [e.task_id for e in examples] == ["c", "c", "c"]
    assert all(by_id[e.span_id].name == e.span_name == "chat m" for e in examples)


def test_what_is_not_supported_gives_no_advice() -> None:
    for finding in judge(slow_git(10)).findings:
        assert bool(finding.advice) == (finding.key == "git")


def test_every_finding_is_explained() -> None:
    assert set(EXPLANATIONS) == {*KEYS, "bets"}


# --- when the data does not allow it ---


def reasons(run: Run) -> dict[str, str]:
    findings = judge(run).findings
    return {f.key: f.why for f in findings if f.standing == "cannot be told"}


def changed(run: Run, name: str, **changes: object) -> Run:
    """Change the last span of a name."""
    last = max(n for n, s in enumerate(run.spans) if s.name == name)
    spans = list(run.spans)
    spans[last] = span_with(spans[last], **changes)
    return replace(run, spans=tuple(spans))


def test_lost_spans_leave_all_four_open() -> None:
    line = "line 7 is not OTLP JSON; it is left out"
    run = replace(slow_llm(4), warnings=("two of something", line), lost=(line,))
    assert reasons(run) == dict.fromkeys(KEYS, line)
    assert judge(run).doubt == line


def test_a_warning_about_something_else_leaves_none_open() -> None:
    run = replace(slow_llm(4), warnings=("two different spans have the id 1",))
    assert reasons(run) == {}
    assert judge(run).doubt is None


@pytest.mark.parametrize(
    ("name", "in_doubt"),
    [
        ("chat m", {"llm"}),
        ("git commit", {"git"}),
        ("wait barrier", {"superstep"}),
        ("node worker", set(KEYS)),
        ("superstep", set(KEYS)),
    ],
)
def test_a_span_without_an_end_leaves_open_what_it_concerns(name: str, in_doubt: set[str]) -> None:
    found = reasons(changed(slow_llm(4), name, end_ns=None))
    assert found == dict.fromkeys(in_doubt, f"it is not known how long these took: {name}")


def test_a_span_that_lost_its_parent_leaves_open_what_it_concerns() -> None:
    found = reasons(changed(slow_llm(4), "git commit", parent_id="nowhere"))
    assert found == {"git": "it is not known to what these belong: git commit"}
    everything = reasons(changed(slow_llm(4), "node worker", parent_id="nowhere"))
    assert set(everything) == set(KEYS)


def test_a_run_that_goes_on_leaves_all_four_open() -> None:
    run = changed(slow_llm(4), "invoke_workflow w", end_ns=None)
    assert reasons(run) == dict.fromkeys(KEYS, "the run is still going on, or it was killed")


@pytest.mark.parametrize("jobs", [1, 2])
def test_too_few_jobs_leave_all_four_open(jobs: int) -> None:
    found = reasons(made(PLAN[:jobs]))
    assert found == dict.fromkeys(KEYS, f"it takes at least 3 jobs of workers; there are {jobs}")


def test_nothing_recorded_is_not_nothing_spent() -> None:
    found = reasons(made([Task(n, compute=10) for n in "abcd"]))
    assert set(found) == {"llm", "git"}
    assert "none was made, or none is traced" in found["llm"]


def test_unknown_dependencies_leave_blocking_open_where_it_could_be() -> None:
    """Idle before the barrier: 2 of 3 slots for 570 of 600."""
    plan = [Task(n, compute=c, llm=1, git=1) for n, c in (("A", 30), ("B", 600), ("C", 30))]
    found = judge(made(plan, says_dependencies=False))
    blocking = on(found, "superstep")
    assert blocking.standing == "cannot be told"
    assert "upper bound" in blocking.why
    assert blocking.share_of_slots is None
    assert found.is_continuous_worth_it is None


def test_unknown_dependencies_do_not_matter_where_little_is_idle() -> None:
    plan = [Task(n, compute=100, llm=1, git=1) for n in "ABC"]
    assert on(judge(made(plan, says_dependencies=False)), "superstep").standing == "not supported"


def test_a_run_by_hand_is_judged_as_far_as_it_goes() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    for n in range(4):
        node = spans.add("node n", n * 25, n * 25 + 25, root, "working", "compute")
        spans.add("chat m", n * 25, n * 25 + 20, node, "working", "llm")
        spans.add("git add", n * 25 + 20, n * 25 + 22, node, "working", "git")
    found = judge(spans.run())
    assert on(found, "llm").standing == "supported"
    assert on(found, "llm").share_of_wall == pytest.approx(0.8)
    assert on(found, "git").standing == "not supported"
    assert on(found, "git").share_of_wall == pytest.approx(0.08)
    assert set(reasons(spans.run())) == {"superstep", "cycle"}


def test_spans_outside_of_a_run_are_no_run() -> None:
    spans = Spans()
    spans.add("git add", 0, 5, None, "working", "git")
    assert set(reasons(spans.run())) == set(KEYS)


def test_the_plan_that_comes_before_all_turns_keeps_no_slot_idle_for_the_cycle() -> None:
    quick, slow = (
        next(
            f
            for f in judge(made(PLAN, opening=replace(DIRECTOR, llm=ms))).findings
            if f.key == "cycle"
        )
        for ms in (8, 8_000)
    )
    idle = [{n.label: n.value for n in f.numbers}["idle slots meanwhile"] for f in (quick, slow)]
    assert idle[0] == idle[1] > 0


def test_by_hand_llm_calls_on_the_wall_are_those_of_tasks() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    for node, start, end in (("director", 0, 40), ("strategist", 80, 100)):
        alone = spans.add(f"node {node}", start, end, root, "working", "compute")
        spans.add("chat m", start, end, alone, "working", "llm")
    for name in "abc":
        task = spans.add(f"task {name}", 40, 80, root, task__id=name)
        spans.add("chat m", 50, 80, task, "working", "llm")
    llm = on(judge(spans.run()), "llm")
    told = {n.label: n.value for n in llm.numbers}
    assert (told["in LLM calls, all workers"], told["in LLM calls, on the wall"]) == (90, 30)
    assert llm.share_of_wall == 0.3

"""What-if: schedules worked out by hand, and runs that are made as they were predicted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.phases import phases_of
from otel_orchestrator.analysis.whatif import paper
from otel_orchestrator.analysis.whatif.estimates import WhatIf, what_if
from otel_orchestrator.analysis.whatif.paper import Estimate
from otel_orchestrator.model import Run

from .generated import Spans
from .made import MS, Control, Task, made


def estimates(run: Run) -> WhatIf:
    return what_if(outline_of(run))


def expected_ms(estimate: Estimate) -> float:
    assert estimate.band is not None, estimate.reason
    band = estimate.band
    assert 0 <= band.low_ns <= band.expected_ns <= band.high_ns
    return band.expected_ns / MS


def wall_ms(run: Run) -> float:
    return outline_of(run).wall_ns / MS


SEED = [
    Task("A", compute=30),
    Task("B", compute=600),
    Task("C", compute=30),
    Task("D", needs="AC", compute=90),
]
"""D could start at 30; it starts at 600, after the barrier and the cycle."""


def test_the_seeds_picture_under_continuous_dispatch() -> None:
    """Director 10; B ends at 610, D at 130; Strategist 5, Director's last look 10."""
    run = made(SEED, director=Control(llm=10), strategist=Control(llm=5))
    assert wall_ms(run) == 10 + 600 + 5 + 10 + 90 + 5 + 10
    found = estimates(run)
    assert expected_ms(found.named("continuous")) == 10 + 600 + 5 + 10
    assert expected_ms(found.named("no_barrier")) == wall_ms(run) - 90
    assert found.named("continuous").saves == pytest.approx(1 - 625 / 730)


def test_a_next_batch_as_long_as_the_first_saves_nearly_half() -> None:
    """D takes 600 as well: it runs from 30 to 630 instead of from 600 to 1200."""
    run = made([*SEED[:3], Task("D", needs="AC", compute=600)], director=Control(llm=0),
               strategist=Control(llm=0))  # fmt: skip
    assert wall_ms(run) == 1200
    assert expected_ms(estimates(run).named("continuous")) == 630


def test_the_merges_of_all_turns_are_made_at_the_end() -> None:
    run = made(SEED, strategist=Control(llm=2, merge=7), director=Control(llm=1))
    assert expected_ms(estimates(run).named("continuous")) == 1 + 600 + 2 + 4 * 7 + 1


def test_the_band_holds_what_calls_at_the_end_may_take() -> None:
    """The Director's plan takes 50, a look 4: only looks count for the last look."""
    run = made(SEED, opening=Control(llm=50), director=Control(llm=4))
    assert expected_ms(estimates(run).named("continuous")) == 50 + 600 + 1 + 4


Step = tuple[tuple[str, int, int, str, tuple[str, ...]], ...]


def _steps(*steps: Step) -> Run:
    """Supersteps of (name, start, end, task id, needs); without a task id a node that runs alone.

    What a task needs ended when it was scheduled, and it was planned at the very beginning.
    """
    spans = Spans()
    end = max(job[2] for job in steps[-1])
    root = spans.add("invoke_workflow w", 0, end, None, concurrency__limit=2)
    loop = spans.add("loop", 0, end, root)
    for jobs in steps:
        scheduled, last = min(j[1] for j in jobs), max(j[2] for j in jobs)
        step = spans.add("superstep", scheduled, last, loop)
        for name, start, stop, task_id, needs in jobs:
            top = step
            if task_id:
                waited = scheduled / 1e9
                top = spans.add("task w", scheduled, last, step, task__id=task_id,
                                task__depends_on=needs, task__wait__dependency=waited)  # fmt: skip
            spans.add(f"node {name}", start, stop, top, "working", "compute", node__name=name)
    return spans.run()


def expected_ns(run: Run, name: str) -> int:
    band = estimates(run).named(name).band
    assert band is not None
    return band.expected_ns


def test_a_task_that_was_tried_again_has_a_round_of_its_own() -> None:
    """Nothing can be saved: its second attempt comes after Strategist and Director looked."""
    run = _steps(
        (("worker", 0, 10, "a", ()),),
        (("strategist", 10, 15, "", ()),),
        (("director", 15, 18, "", ()),),
        (("worker", 18, 38, "a", ()),),
        (("strategist", 38, 43, "", ()),),
        (("director", 43, 46, "", ()),),
    )
    assert expected_ns(run, "continuous") == 46


def test_a_task_waits_for_the_attempt_that_it_built_on_and_no_later_one() -> None:
    """b needs what a did first; beside it a is done again."""
    run = _steps(
        (("worker", 0, 10, "a", ()),),
        (("worker", 10, 20, "b", ("a",)), ("worker", 10, 30, "a", ())),
    )
    assert expected_ns(run, "no_barrier") == 10 + 20
    assert expected_ns(run, "continuous") == 10 + 10 + 20


def test_two_workers_for_one_task_at_once_are_no_retry() -> None:
    run = _steps((("worker", 0, 10, "a", ()), ("worker", 0, 12, "a", ())))
    assert expected_ns(run, "continuous") == 12


def test_a_task_starts_no_sooner_than_it_was_planned() -> None:
    """b needs nothing, but the Director planned it when workers had been at work for 10."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 40, None, concurrency__limit=2)
    loop = spans.add("loop", 0, 40, root)
    for start, end, task_id in ((0, 10, "a"), (30, 40, "b")):
        if start:
            step = spans.add("superstep", 10, 30, loop)
            spans.add("node director", 10, 30, step, "working", "compute")
        step = spans.add("superstep", start, end, loop)
        task = spans.add("task w", start, end, step, task__id=task_id, task__depends_on=())
        spans.add("node w", start, end, task, "working", "compute")
    run = spans.run()
    assert expected_ns(run, "continuous") == 20
    assert expected_ns(run, "no_barrier") == 40


def test_a_node_that_dispatches_itself_is_not_told_to() -> None:
    """LangGraph's limit is one of nodes, of which there is one here."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 30, None, concurrency__limit=1)
    superstep = spans.add("superstep", 0, 30, spans.add("loop", 0, 30, root))
    node = spans.add("node dispatch", 0, 30, superstep, "working", "compute")
    for start, end, name, needs in ((0, 10, "a", ()), (0, 20, "b", ()), (20, 30, "c", ("b",))):
        task = spans.add("task worker", start, end, node, task__id=name, task__depends_on=needs)
        spans.add("chat m", start, end, task, "working", "llm")
    found = estimates(spans.run())
    assert "dispatches its workers itself" in str(found.named("continuous").reason)
    assert "was not limited" in str(found.named("workers_plus_1").reason)
    assert expected_ns(spans.run(), "workers_minus_1") == 10 + 20 + 10
    # c waits for b.
    assert expected_ns(spans.run(), "llm_twice_as_fast") == 10 + 5


QUEUED = [Task(n, compute=10) for n in "abcdef"]


def test_other_numbers_of_workers() -> None:
    """Six tasks of 10 on 3 slots: 2 rounds; on 2: 3; on 4: 2; on 6: 1. Around them 1 + 1 + 1."""
    found = estimates(made(QUEUED))
    assert found.wall_ns == 23 * MS
    assert [expected_ms(found.named(n)) for n in
            ("workers_minus_1", "workers_plus_1", "workers_times_2")] == [33, 23, 13]  # fmt: skip


@pytest.mark.parametrize("slots", [1, 2, 4, 6])
def test_what_is_predicted_for_other_workers_is_what_they_take(slots: int) -> None:
    plan = [*SEED, *(Task(n, needs="A", llm=11, git=2) for n in "efghi"), Task("z", "ei", 70)]
    before, after = (made(plan, slots=s, strategist=Control(3, 2, 1)) for s in (slots + 1, slots))
    assert expected_ms(estimates(before).named("workers_minus_1")) == wall_ms(after)
    assert expected_ms(estimates(after).named("workers_plus_1")) == wall_ms(before)


def test_llm_twice_as_fast_is_a_run_with_calls_half_as_long() -> None:
    def plan(k: int) -> Run:
        tasks = [
            Task("a", "", 40 // k, 6, 5),
            Task("b", "", 8 // k, 0, 30),
            Task("c", "a", 20 // k),
        ]
        return made(tasks, 1, Control(llm=8 // k), Control(llm=4 // k, merge=3))

    assert expected_ms(estimates(plan(1)).named("llm_twice_as_fast")) == wall_ms(plan(2))


def test_git_free_is_a_run_without_git() -> None:
    def plan(k: int) -> Run:
        tasks = [Task("a", "", 9, 6 * k, 5), Task("b", "", 8, 20 * k), Task("c", "a", 9, 2 * k)]
        return made(tasks, 2, strategist=Control(llm=4, merge=3 * k))

    assert expected_ms(estimates(plan(1)).named("git_free")) == wall_ms(plan(0))


def _one_node(*children: tuple[str, int, int, str, dict[str, str]]) -> Run:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None, concurrency__limit=1)
    step = spans.add("superstep", 0, 100, spans.add("loop", 0, 100, root))
    task = spans.add("task w", 0, 100, step, task__id="a", task__depends_on=())
    node = spans.add("node w", 0, 100, task, "working", "compute")
    for name, start, end, category, said in children:
        spans.add(name, start, end, node, "working", category, **said)
    return spans.run()


def test_git_commands_that_follow_on_each_other_become_the_longest_of_them() -> None:
    run = _one_node(
        ("git add", 0, 10, "git", {}),
        ("git commit", 10, 40, "git", {}),
        ("chat m", 40, 50, "llm", {}),
        ("git push", 50, 70, "git", {}),
    )
    band = estimates(run).named("git_batched").band
    assert band is not None
    assert band.expected_ns == 90
    assert band.low_ns < 70 < 100 < band.high_ns


def test_an_answer_is_cached_once_it_is_there() -> None:
    """Of three equal prompts the second is asked while the first is answered: only the third."""
    same = {"llm__prompt__hash": "x"}
    run = _one_node(
        ("chat m", 0, 20, "llm", same),
        ("chat m", 10, 30, "llm", same),
        ("chat m", 40, 60, "llm", same),
        ("chat m", 70, 90, "llm", {"llm__prompt__hash": "y"}),
    )
    found = estimates(run).named("prompts_cached")
    assert found.band is not None
    assert found.band.expected_ns == 80
    assert found.band.low_ns <= 60
    assert "1 of 4 calls" in found.title


def test_calls_outside_of_agents_can_be_made_in_parallel() -> None:
    run = _one_node(("chat m", 0, 20, "llm", {}), ("chat m", 20, 60, "llm", {}))
    band = estimates(run).named("llm_parallel").band
    assert band is not None
    assert band.expected_ns == 80
    assert band.high_ns >= 100


def test_calls_that_are_made_in_parallel_already_save_nothing_more() -> None:
    run = _one_node(
        ("chat m", 0, 40, "llm", {}),
        ("chat m", 1, 41, "llm", {}),
        ("chat m", 2, 30, "llm", {}),
    )
    assert expected_ns(run, "llm_parallel") == 100
    # One after the other are the two at once, and the third.
    run = _one_node(
        ("chat m", 0, 40, "llm", {}),
        ("chat m", 1, 41, "llm", {}),
        ("chat m", 41, 60, "llm", {}),
    )
    assert expected_ns(run, "llm_parallel") == 100 - 19


def test_git_commands_that_run_at_once_are_no_batch() -> None:
    """Batching saves no more than git without any time."""
    run = _one_node(
        ("git status", 0, 10, "git", {}),
        ("git diff", 0, 10, "git", {}),
        ("git log", 1, 9, "git", {}),
        ("git add", 10, 15, "git", {}),
    )
    assert expected_ns(run, "git_batched") == 100 - 5
    run = _one_node(
        ("chat m", 0, 20, "llm", {}),
        ("git status", 0, 10, "git", {}),
        ("git diff", 10, 20, "git", {}),
    )
    assert expected_ns(run, "git_batched") == expected_ns(run, "git_free") == 100 - 10


def test_a_call_out_of_a_cache_saves_nothing_while_another_goes_on_beside_it() -> None:
    same, other = {"llm__prompt__hash": "x"}, {"llm__prompt__hash": "y"}
    run = _one_node(
        ("chat m", 0, 20, "llm", same),
        ("chat m", 20, 60, "llm", same),
        ("chat m", 20, 50, "llm", other),
    )
    assert expected_ns(run, "prompts_cached") == 100 - 10


def test_a_call_out_of_a_cache_saves_what_was_called_inside_of_it() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None, concurrency__limit=1)
    step = spans.add("superstep", 0, 100, root)
    task = spans.add("task w", 0, 100, step, task__id="a", task__depends_on=())
    node = spans.add("node w", 0, 100, task, "working", "compute")
    for start in (0, 30):
        call = spans.add("chat m", start, start + 30, node, "working", "llm", llm__prompt__hash="x")
        spans.add("chat m", start + 5, start + 25, call, "working", "llm")
        spans.add("wait rate_limit", start + 25, start + 30, call, "waiting", "rate_limit")
    assert expected_ns(spans.run(), "prompts_cached") == 100 - 30


def test_an_overlapped_director_costs_nothing_between_turns() -> None:
    """Turn 1 takes 600, of which 570 with its straggler alone; the look takes 20."""
    run = made(SEED, director=Control(llm=20), strategist=Control(llm=7))
    found = estimates(run).named("director_overlapped")
    assert expected_ms(found) == wall_ms(run) - 20
    assert found.band is not None
    assert found.band.low_ns <= (wall_ms(run) - 27) * MS


@pytest.mark.parametrize(
    ("run", "name", "reason"),
    [
        (made(SEED, says_dependencies=False), "continuous", "4 of 4 jobs depended on is not known"),
        (made(SEED, slots=1), "workers_minus_1", "only one worker"),
        (made(SEED, is_limited=False), "workers_plus_1", "was not limited"),
        (made([Task("a", git=1)], director=Control(0), strategist=Control(0)), "llm_parallel",
         "no LLM call"),
        (made(SEED), "git_free", "no git command"),
        (made(SEED), "prompts_cached", "hash"),
        (made(SEED[:3]), "director_overlapped", "between workers"),
        (Spans().run(), "continuous", "no superstep with workers"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_says_why(run: Run, name: str, reason: str) -> None:
    found = estimates(run).named(name)
    assert (found.band, found.saves) == (None, None)
    assert reason in str(found.reason)


def test_every_estimate_says_what_it_assumes() -> None:
    for estimate in estimates(made(SEED, strategist=Control(merge=1))).estimates:
        assert bool(estimate.assumptions) != bool(estimate.reason), estimate


@settings(max_examples=60, deadline=None)
@given(
    tasks=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=8),
    slots=st.integers(1, 4),
)
def test_an_unchanged_run_is_reproduced_and_no_barrier_never_beats_its_bound(
    tasks: list[tuple[int, int]], slots: int
) -> None:
    names = "abcdefgh"
    plan = [
        Task(names[n], names[n - back] if 0 < back <= n else "", llm=2 * ms)
        for n, (ms, back) in enumerate(tasks)
    ]
    run = made(plan, slots)
    found = estimates(run)
    longest = max(t.takes for t in plan)
    assert expected_ms(found.named("continuous")) >= longest + 3
    assert expected_ms(found.named("workers_times_2")) <= wall_ms(run)
    assert expected_ms(found.named("no_barrier")) >= sum(t.takes for t in plan) / slots


def test_the_director_is_not_one_of_a_graph_inside_of_a_worker() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    loop = spans.add("loop", 0, 100, root)
    for at, name in ((0, "director"), (40, "strategist"), (50, "director")):
        step = spans.add("superstep", at, at + 10, loop)
        spans.add(f"node {name}", at, at + 10, step, "working", "compute")
    for at in (10, 60):
        step = spans.add("superstep", at, at + 30, loop)
        task = spans.add("task worker", at, at + 30, step)
        node = spans.add("node worker", at, at + 30, task, "working", "compute")
        inner = spans.add("invoke_workflow inner", at, at + 30, node)
        spans.add("loop", at, at + 30, inner, loop__head="inner")
    found = what_if(outline_of(spans.run())).named("director_overlapped")
    assert found.assumptions[0].startswith("director between two turns")
    assert found.band is not None and found.band.expected_ns == 90


LETTERS = "abcdefghijkl"


def _turns(lengths: list[int]) -> Run:
    """One task after the other, each with a short one beside it and one that queues for a slot."""
    tasks = [
        Task(letter.upper() if n else letter, needs=before, llm=length // (n + 1), calls=1)
        for before, letter, length in zip(["", *LETTERS], LETTERS, lengths, strict=False)
        for n in range(2)
    ]
    return made(tasks, slots=1)


def _expected(run: Run, many: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    monkeypatch.setattr(paper, "_MANY_JOBS", many)
    return {e.name: e.band.expected_ns for e in estimates(run).estimates if e.band is not None}


def test_of_turns_that_are_alike_one_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _turns([40] * 12)
    every, few = (_expected(run, many, monkeypatch) for many in (1_000, 4))
    assert "llm_twice_as_fast" in every
    assert few == every


def test_of_turns_of_every_length_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _turns([10, 90, 30, 50, 70, 20, 80, 40, 60, 30, 50, 70])
    every, few = (_expected(run, many, monkeypatch) for many in (1_000, 8))
    assert few.keys() == every.keys()
    assert all(few[name] == pytest.approx(every[name], rel=0.02) for name in every)
    # What stands for all of them takes as long as all of them did.
    monkeypatch.setattr(paper, "_MANY_JOBS", 8)
    outline = outline_of(run)
    model = paper.Paper(outline, phases_of(outline))
    again = model.estimate("", "", model.measured, outline.slots, ())
    assert expected_ms(again) == pytest.approx(wall_ms(run), abs=0.001)
    assert len(model.served) < len(model.jobs)

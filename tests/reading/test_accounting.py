"""Every view adds up, and each category is what brute force over single nanoseconds finds."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from otel_orchestrator.analysis.accounting.exclusive import exclusive
from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.model import Run, Span

from .generated import Spans, orchestrators, trees
from .oracle import Oracle, Shares, agrees

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(run=trees())
def test_exclusive_time_is_what_single_nanoseconds_add_up_to(run: Run) -> None:
    oracle, outline = Oracle(run), outline_of(run)
    found = exclusive(outline, outline.top, outline.wall)
    agrees(found, oracle.exclusive(oracle.root, oracle.wall), len(oracle.wall))


# --- the four views, tick by tick ---


class Task:
    """A job of the outermost graph as its spans say."""

    def __init__(self, oracle: Oracle, span: Span, superstep: Span) -> None:
        self.span, self.superstep, self.oracle = span, superstep, oracle
        self.is_task = span.name.startswith("task")
        self.top = span if self.is_task else superstep
        nodes = [s for s in oracle.children(self.top) if s.name.startswith("node")]
        own = oracle.ticks[span.span_id]
        self.busy = _hull(*(oracle.ticks[s.span_id] for s in nodes)) or range(
            min(own), max(own) + 1
        )
        self.is_given = any("orchestrator.node.source" in s.attributes for s in nodes)
        if oracle.never_started(span) or self.is_given:
            self.busy = range(max(own) + 1, max(own) + 1)
        waits = [
            oracle.ticks[s.span_id]
            for s in oracle.children(self.top)
            if s.category in ("queue", "consumer") and s.state == "waiting"
        ]
        self.holds = frozenset[int]().union(
            *(
                oracle.ticks[s.span_id]
                for s in oracle.children(self.top)
                if s.name == "wait consumer"
            )
        )
        before = [t for t in waits if t and min(t) <= self.busy.start]
        self.start = min(own) if self.is_task else min([self.busy.start, *map(min, before)])
        self.stop = max(own) + 1 if self.is_task else self.busy.stop
        said = span.attributes
        waited = [
            round(float(str(said.get(f"orchestrator.task.wait.{w}", 0))) * 1e9)
            for w in ("dependency", "held", "cycle")
        ]
        self.dependency, self.held, self.cycle = waited
        self.planned = self.start - sum(waited)
        self.knows = "orchestrator.task.depends_on" in said
        self.depends = bool(said.get("orchestrator.task.depends_on"))
        self.task_id = said.get("orchestrator.task.id")


def _hull(*ticks: frozenset[int]) -> range:
    every = frozenset[int]().union(*ticks)
    return range(min(every, default=0), max(every, default=-1) + 1)


def tasks_of(oracle: Oracle) -> list[Task]:
    found = []
    for superstep in oracle.run.spans:
        above = [s.name.split()[0] for s in oracle.ancestors(superstep)]
        if (
            superstep.name != "superstep"
            or set(above) > {"loop", "invoke_workflow"}
            or ("node" in above)
        ):
            continue  # fmt: skip
        children = oracle.children(superstep)
        found += [Task(oracle, s, superstep) for s in children if s.name.startswith("task")]
        if nodes := [s for s in children if s.name.startswith("node")]:
            found.append(Task(oracle, min(nodes, key=lambda s: s.start_ns), superstep))
    return sorted(found, key=lambda t: (t.busy.start, t.start, t.span.span_id))


def task_exact(oracle: Oracle, task: Task) -> Shares:
    return oracle.exclusive(task.top, range(task.start, task.stop))


def slots_exact(oracle: Oracle, slots: int) -> tuple[Shares, Shares]:
    """Return what busy slots did, and why the others were idle."""
    tasks = tasks_of(oracle)
    holders: list[Task] = []
    ran: dict[int, list[int]] = {}
    busy: Shares = Counter()
    idle: Shares = Counter()
    for tick in oracle.wall:
        holders = [t for t in holders if tick in t.busy]
        for task in tasks:
            if tick in task.busy and task not in holders and len(holders) < slots:
                holders.append(task)
        for task in holders:
            ran.setdefault(id(task), []).append(tick)
        idle.update(_idle_reasons(oracle, tasks, tick, slots - len(holders)))
    for task in tasks:
        busy.update(oracle.exclusive(task.top, ran.get(id(task), [])))
    return busy, +idle


def _idle_reasons(oracle: Oracle, tasks: list[Task], tick: int, idle: int) -> Shares:
    reasons = [
        *(
            "queue"
            for t in tasks
            if t.start <= tick < t.busy.start and tick not in t.holds and not t.is_given
        ),
        *("consumer" for t in tasks if t.start <= tick < t.busy.start and tick in t.holds),
        *("held" for t in tasks if 0 <= tick - t.planned - t.dependency < t.held),
        *("cycle" for t in tasks if t.start - t.cycle <= tick < t.start),
    ]  # fmt: skip
    given = Counter(reasons[:idle])
    rest = ("waiting", "dependency")
    if not any(0 <= tick - t.planned < t.dependency for t in tasks):
        rest = _rest(oracle, tasks, tick)
    found: Shares = Counter({("waiting", reason): Fraction(n) for reason, n in given.items()})
    found[rest] += idle - sum(given.values())
    return found


def _rest(oracle: Oracle, tasks: list[Task], tick: int) -> tuple[str, str]:
    for superstep in {t.superstep.span_id for t in tasks}:
        here = [t for t in tasks if t.superstep.span_id == superstep]
        ended = [t.busy.stop for t in here if t.busy]
        if ended and not any(t.knows for t in here) and min(ended) <= tick < max(ended):
            return "waiting", "barrier"
    if any(tick in t.busy and not t.is_task for t in tasks):
        return "waiting", "cycle"
    outer = [s for s in oracle.run.spans if tick in oracle.ticks[s.span_id]]
    outer = [
        s
        for s in outer
        if s.name.startswith("wait")
        and oracle.by_id[str(s.parent_id)].name.split()[0]
        in ("invoke_workflow", "loop", "superstep")
        and not any(a.name.startswith("node") for a in oracle.ancestors(s))
    ]
    for category in ("checkpoint", "consumer"):
        if any(s.category == category for s in outer):
            return "waiting", category
    if any(tick in t.busy and t.depends for t in tasks):
        return "waiting", "dependency"
    if any(t.start <= tick < t.stop for t in tasks):
        return "idle", "no_work"
    return "working", "framework"


def wall_exact(oracle: Oracle) -> Shares:
    tasks = tasks_of(oracle)
    beside = []
    for superstep in {t.superstep.span_id for t in tasks}:
        here = [t for t in tasks if t.superstep.span_id == superstep]
        straggler = max([t for t in here if t.busy] or here, key=lambda t: t.busy.stop)
        beside += [t.span for t in here if t is not straggler]
    return oracle.exclusive(oracle.root, oracle.wall, beside)


@MANY
@given(run=orchestrators())
def test_each_view_is_what_single_nanoseconds_add_up_to(run: Run) -> None:
    oracle, found = Oracle(run), account(outline_of(run))
    outline, tasks = found.outline, tasks_of(oracle)

    for time, task in zip(found.task.jobs, tasks, strict=True):
        agrees(time.breakdown, task_exact(oracle, task), task.stop - task.start)

    peak = max((sum(tick in t.busy for t in tasks) for tick in oracle.wall), default=0)
    limit = oracle.root.attributes.get("orchestrator.concurrency.limit")
    slots = max(limit if isinstance(limit, int) else 1, peak)
    assert outline.slots == slots
    busy, idle = slots_exact(oracle, slots)
    measured: Shares = Counter()
    for stretch in found.slots.idle:
        length = stretch.end_ns - stretch.start_ns
        measured[stretch.state, stretch.category] += stretch.slots * length
    assert measured == idle
    total = found.slots.total
    assert total.whole_ns == slots * len(oracle.wall) == sum(p.ns for p in total.parts)
    for key in {(p.state, p.category) for p in total.parts} | set(busy) | set(idle):
        # What a job did is rounded by itself.
        difference = total.ns(key[1], state=key[0]) - busy[key] - idle[key]
        assert abs(difference) < 1 + len(tasks), key
    for slot in found.slots.slots:
        assert slot.breakdown.whole_ns == len(oracle.wall)
        assert [s.start_ns for s in slot.spells[1:]] == [s.end_ns for s in slot.spells[:-1]]

    agrees(found.wall, wall_exact(oracle), len(oracle.wall))

    loops = sorted(min(oracle.ticks[s.span_id]) for s in run.spans
                   if s.name == "loop" and oracle.ticks[s.span_id])  # fmt: skip
    mine = [t for t in tasks if t.task_id is not None]
    for time, task in zip(found.lifecycle.jobs, mine, strict=True):
        observed = next((at for at in loops if at >= task.stop), oracle.wall.stop)
        exact = task_exact(oracle, task)
        exact["waiting", "dependency"] += task.dependency
        exact["waiting", "held"] += task.held
        exact["waiting", "cycle"] += task.cycle + observed - task.stop
        agrees(time.breakdown, exact, observed - task.planned)


# --- and by hand ---


def parts(run: Run, view: str) -> dict[str, int]:
    found = account(outline_of(run))
    whole = {"task": found.task.total, "slots": found.slots.total, "wall": found.wall,
             "lifecycle": found.lifecycle.total}[view]  # fmt: skip
    return {p.category: p.ns for p in whole.parts}


@pytest.fixture
def picture() -> Run:
    """A 30, B 600, C 30; D depends on A and C, so it could start at 30 and starts at 610."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 700, None)
    loop = spans.add("loop", 0, 605, root)
    first = spans.add("superstep", 0, 602, loop)
    for name, end in (("A", 30), ("B", 600), ("C", 30)):
        task = spans.add("task w", 0, 600, first, task__id=name, task__depends_on=())
        spans.add("node w", 0, end, task, "working", "compute")
        if end < 600:
            spans.add("wait barrier", end, 600, task, "waiting", "barrier")
    loop = spans.add("loop", 605, 700, root)
    director = spans.add("superstep", 605, 610, loop)
    spans.add("node director", 605, 610, director, "working", "compute")
    second = spans.add("superstep", 610, 700, loop)
    waited = {"dependency": 30, "held": 570, "cycle": 10}
    said: dict[str, Any] = {f"task__wait__{k}": v / 1e9 for k, v in waited.items()}
    task = spans.add("task w", 610, 700, second, task__id="D", task__depends_on=("A", "C"), **said)
    spans.add("node w", 610, 700, task, "working", "compute")
    return spans.run()


def test_the_picture_in_all_four_views(picture: Run) -> None:
    """Three slots: until 30 all work; until 600 one slot could have run D; then the Director."""
    assert parts(picture, "task") == {"compute": 30 + 600 + 30 + 5 + 90, "barrier": 2 * 570}
    # At 600..605 and 605..610 D is in the cycle; the others have nothing to do.
    assert parts(picture, "slots") == {
        "compute": 660 + 5 + 90,
        "held": 570,
        "cycle": 5 + 5 + 5,
        "framework": 5 * 2,
        "no_work": 570,
        "dependency": 2 * 90,
    }
    assert parts(picture, "wall") == {"compute": 695, "framework": 5}
    assert parts(picture, "lifecycle") == {
        "compute": 750, "barrier": 1140, "cycle": 3 * 5 + 10, "dependency": 30, "held": 570,
    }  # fmt: skip


def test_a_run_by_hand_is_followed_along_its_critical_path() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    node = spans.add("node a", 0, 50, root, "working", "compute")
    spans.add("chat m", 10, 40, node, "working", "llm")
    spans.add("git commit", 10, 20, node, "working", "git")
    task = spans.add("task b", 60, 90, root, wait__short__lock=4 / 1e9)
    spans.add("wait lock", 60, 80, task, "waiting", "lock")
    run = spans.run()
    assert parts(run, "wall") == {
        "llm": 30, "compute": 20, "framework": 10 + 10 + 6, "lock": 20 + 4,
    }  # fmt: skip
    assert account(outline_of(run)).slots.count == 1
    # The slots know what ran beside it: half of 10..20 is git.
    assert parts(run, "task")["git"] == 5


def test_a_job_that_backs_off_keeps_its_slot() -> None:
    """Never do two nodes run at once; but a backs off from 4 to 8, while b runs."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 12, None, concurrency__peak=1)
    superstep = spans.add("superstep", 0, 12, spans.add("loop", 0, 12, root))
    task = spans.add("task w", 0, 12, superstep)
    spans.add("node w", 0, 4, task, "working", "compute")
    spans.add("wait retry_backoff", 4, 8, task, "waiting", "retry_backoff")
    spans.add("node w", 8, 12, task, "working", "compute")
    task = spans.add("task w", 0, 12, superstep)
    spans.add("wait queue", 0, 4, task, "waiting", "queue")
    spans.add("node w", 4, 8, task, "working", "llm")
    spans.add("wait barrier", 8, 12, task, "waiting", "barrier")
    run = spans.run()
    assert account(outline_of(run)).slots.count == 2
    assert parts(run, "slots") == {
        "compute": 8, "retry_backoff": 4, "llm": 4, "queue": 4, "barrier": 4,
    }  # fmt: skip


def test_a_task_that_never_started_waited_for_a_slot_all_the_time() -> None:
    """Two slots, four tasks: a and b are inside of a call and c and d queued when it is killed."""
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, None, None, concurrency__limit=2)
    superstep = spans.add("superstep", 0, None, spans.add("loop", 0, None, root))
    for name in "ab":
        task = spans.add("task w", 0, None, superstep, task__id=name)
        node = spans.add("node w", 0, None, task, "working", "compute")
        spans.add("chat m", 0, None, node, "working", "llm")
    for name in "cd":
        spans.add("task w", 0, None, superstep, task__id=name)
    spans.add("git status", 0, 100, node, "working", "git")
    run = spans.run()
    assert parts(run, "slots") == {"llm": 150, "git": 50}
    assert parts(run, "task") == {"llm": 150, "git": 50, "queue": 200}
    assert parts(run, "lifecycle") == {"llm": 150, "git": 50, "queue": 200}
    assert parts(run, "wall") == {"llm": 100}
    outline = outline_of(run)
    straggler = outline.supersteps[0].straggler
    assert outline.peak == 2
    assert straggler is not None
    assert straggler.task_id == "a"


def test_what_ran_beyond_the_limit_had_a_slot_too() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 10, None, concurrency__limit=1)
    superstep = spans.add("superstep", 0, 10, spans.add("loop", 0, 10, root))
    for start, end, category in ((0, 6, "llm"), (2, 10, "git")):
        task = spans.add("task w", 0, 10, superstep)
        spans.add("node w", start, end, task, "working", category)
    assert account(outline_of(spans.run())).slots.count == 2
    assert parts(spans.run(), "slots") == {"llm": 6, "git": 8, "barrier": 4, "queue": 2}


def test_a_node_that_hands_out_tasks_itself_takes_no_slot() -> None:
    """Continuous dispatch: one node, below it tasks by hand; they are the jobs.

    LangGraph's limit is one of nodes: it tells nothing of how many workers there were.
    """
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 30, None, concurrency__limit=1)
    superstep = spans.add("superstep", 0, 30, spans.add("loop", 0, 30, root))
    node = spans.add("node dispatch", 0, 30, superstep, "working", "compute")
    for start, end, name in ((0, 20, "a"), (0, 10, "b"), (10, 25, "c")):
        task = spans.add("task worker", start, end, node, task__id=name, task__depends_on=())
        spans.add("chat m", start, end, task, "working", "llm")
    found = account(outline_of(spans.run()))
    assert [t.job.task_id for t in found.task.jobs] == ["a", "b", "c"]
    assert {p.category: p.ns for p in found.slots.total.parts} == {
        "llm": 45, "framework": 10, "no_work": 5,
    }  # fmt: skip
    assert {p.category: p.ns for p in found.wall.parts} == {"llm": 25, "compute": 5}


def test_of_several_workflows_in_a_file_the_first_is_the_run() -> None:
    spans = Spans()
    spans.add("invoke_workflow w", 5, 15, None)
    spans.add("invoke_workflow w", 30, 90, None)
    spans.add("wait human", 15, 30, spans.made[0], "waiting", "human")
    assert account(outline_of(spans.run())).outline.wall == (5, 15)


def test_time_waiting_for_a_person_is_no_run_time() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 5, 15, None)
    spans.add("wait human", 16, 900, root, "waiting", "human")
    run = spans.run()
    assert (run.start_ns, run.end_ns) == (5, 15)


def test_a_run_without_anything_accounts_for_nothing() -> None:
    found = account(outline_of(Run("empty", ())))
    assert found.wall.parts == found.slots.total.parts == found.task.total.parts == ()


def test_two_thousand_parallel_jobs_are_accounted_for_in_seconds() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 40_000, None)
    superstep = spans.add("superstep", 0, 40_000, spans.add("loop", 0, 40_000, root))
    for n in range(2_000):
        task = spans.add("task w", 0, 40_000, superstep, wait__short__queue=1 / 1e9)
        node = spans.add("node w", n, 20_000 + n, task, "working", "compute")
        for k in range(20):
            spans.add("chat m", n + k * 900, n + k * 900 + 800, node, "working", "llm")
    found = account(outline_of(spans.run()))
    assert found.outline.slots == 2_000
    assert found.slots.total.whole_ns == 2_000 * 40_000
    assert found.task.total.ns("llm") == 2_000 * 20 * 800

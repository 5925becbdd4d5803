"""Counting as it changes comes to the same as to count everything each time, and costs less."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_orchestrator.queue.states import TaskStates
from otel_orchestrator.queue.tasks import QueueBoard

from .boards import now, plan

IDS = "abcde"
HANDS: Any = None
OWNERS: Any = (HANDS, "one graph", "another graph")
STATUSES = ("planned", "active", "done", "failed")
TASKS = st.dictionaries(
    st.sampled_from(IDS),
    st.tuples(st.sampled_from(STATUSES), st.sets(st.sampled_from([*IDS, "nobody"]), max_size=2)),
)
WHO = st.sampled_from([None, "w1", "w2"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("observe"), st.sampled_from(OWNERS), TASKS),
        st.tuples(st.just("forget"), st.sampled_from(OWNERS[1:]), st.none()),
        st.tuples(
            st.sampled_from(["start", "end", "fail", "pause", "go on"]), st.sampled_from(IDS), WHO
        ),
    ),
    max_size=25,
)


@dataclass
class Model:
    """What `TaskStates` is to come to, counted anew each time; graphs see their nodes."""

    shown: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    owner: dict[str, Any] = field(default_factory=dict)
    finished: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    working: dict[tuple[str, str], bool] = field(default_factory=dict)

    def unsee(self, i: str) -> None:
        for known in (self.shown, self.owner, self.finished):
            known.pop(i, None)

    def observe(self, owner: Any, todo: dict[str, tuple[str, set[str]]]) -> None:
        for i in [i for i in self.shown if self.owner[i] == owner and i not in todo]:
            self.unsee(i)
        for i, (status, needs) in todo.items():
            self.shown[i] = status, needs
            if owner is not HANDS or i not in self.owner:
                self.owner[i] = owner
            if self.finished.get(i) != status:
                self.finished.pop(i, None)

    def forget(self, owner: Any, _: None) -> None:
        for i in [i for i in self.shown if self.owner[i] == owner]:
            self.unsee(i)
            self.nodes.pop(i, None)
            self.working = {w: is_now for w, is_now in self.working.items() if w[0] != i}

    def note(self, what: str, i: str, who: str | None) -> None:
        if what == "start":
            self.finished.pop(i, None)
            if who is None:
                self.nodes[i] = self.nodes.get(i, 0) + 1
            else:
                self.working[i, who] = True
        elif what in ("end", "fail"):
            if who is None:
                self.nodes[i] = max(0, self.nodes.get(i, 0) - 1)
            else:
                self.working.pop((i, who), None)
            in_hand = self.nodes.get(i) or any(w[0] == i for w in self.working)
            if what == "end" and not in_hand and i in self.shown:
                self.finished[i] = self.shown[i][0]
        elif who is not None and (i, who) in self.working:
            self.working[i, who] = what == "go on"

    def depth(self) -> tuple[int, int, int]:
        done = {i for i, (status, _) in self.shown.items() if status == "done"} | set(self.finished)
        active = {i for i, n in self.nodes.items() if n}
        active |= {i for (i, _), is_now in self.working.items() if is_now}
        left = {i for i, (s, _) in self.shown.items() if s != "failed"} - done - active
        by_word = {i for i in left if self.shown[i][0] == "active" and self.owner[i] is HANDS}
        ready = {i for i in left - by_word if self.shown[i][1] <= done}
        return len(ready), len(active | by_word), len(left - by_word - ready)


@given(events=EVENTS)
def test_the_counts_agree_with_a_model_that_recounts_everything(
    events: list[tuple[str, Any, Any]],
) -> None:
    board, model = QueueBoard("r"), Model()
    does: dict[str, Any] = {
        "start": lambda i, who: board.started(i, by=who),
        "end": lambda i, who: board.ended(i, by=who),
        "fail": lambda i, who: board.ended(i, by=who, ok=False),
        "pause": lambda i, who: board.works(i, by=who, now=False, at_ns=0),
        "go on": lambda i, who: board.works(i, by=who, now=True, at_ns=0),
    }
    for what, which, more in events:
        if what == "observe":
            todo = [{"id": i, "status": s, "depends_on": list(n)} for i, (s, n) in more.items()]
            board.observe(todo, owner=which, sees_nodes=lambda which=which: which is not HANDS)  # type: ignore[misc]
            model.observe(which, more)
        elif what == "forget":
            board.forget(which)
            model.forget(which, more)
        else:
            does[what](which, more)
            model.note(what, which, more)
        assert now(board) == model.depth(), (what, which, more)


def lines_run_by(board: QueueBoard) -> int:
    """How many lines of Python a node of one task takes."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        board.started("t3")
        board.ended("t3")
    finally:
        sys.settrace(before)
    return lines


def test_what_a_node_costs_does_not_grow_with_the_plan() -> None:
    taken = []
    for size in (10, 1_000):
        board = QueueBoard("r")
        board.observe(plan(**{f"t{i}": [f"t{i - 1}"] if i else [] for i in range(size)}))
        for i in range(size - 5):
            board.started(f"t{i + 5}")  # the others work meanwhile
        taken.append(lines_run_by(board))
    assert 0 < taken[1] < 1.2 * taken[0], taken


def test_the_first_that_came_to_wait_is_the_oldest() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=[], b=["a"]), at_ns=1_000)
    board.observe(plan(a=[], b=["a"], c=[], d=["a"]), at_ns=2_000)
    ages = []
    for what in (board.started, board.ended):
        queue = board.snapshot()
        ages.append((queue.at_ns - queue.oldest_ready_s * 1e9, queue.oldest_waiting_s))
        what("a", at_ns=3_000)
    queue = board.snapshot()
    assert abs(ages[0][0] - 1_000) < 1_000 and ages[0][1] > 0
    assert queue.oldest_waiting_s == 0, "nothing waits any more"


def test_a_task_that_is_ready_and_worked_on_by_turns_leaves_nothing_behind() -> None:
    states = TaskStates()
    for at_ns in range(1, 2_000, 2):
        states.started("a", "w", at_ns)
        states.ended("a", "w", at_ns + 1, ok=False)
    assert states.get("a") is None


def test_tasks_left_over_by_a_graph_that_planned_them_stay_until_others_are_shown() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=[], b=["a"]), owner="planner")
    board.forget("planner")
    assert now(board) == (1, 0, 1), "somebody else may work for them"
    board.started("a")
    board.ended("a")
    board.observe(plan(b=["a"], c=[]), owner="next planner")
    assert now(board) == (1, 0, 1)
    assert not board.knows("a")


def test_a_graphs_own_task_stays_its_own_when_it_is_shown_by_hand_as_well() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=[]), owner="graph", sees_nodes=lambda: True)
    board.observe(plan(a=[], b=[]))
    board.forget("graph")
    assert now(board) == (1, 0, 0)
    assert board.knows("b")
    assert not board.knows("a")


def test_a_barrier_holds_the_tasks_of_its_own_graph_only() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=[], b=["a"]), owner="one", sees_nodes=lambda: True, at_ns=1)
    board.observe(plan(c=[], d=["c"]), owner="two", sees_nodes=lambda: True, at_ns=1)
    for task_id, at_ns in (("a", 10), ("c", 20)):
        board.started(task_id, at_ns=2)
        board.ended(task_id, at_ns=at_ns)
    assert board.passed_barrier(30, "one") == {"b": 10}
    assert board.passed_barrier(30, "one") == {}
    assert board.passed_barrier(40, "two") == {"d": 20}

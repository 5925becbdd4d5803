"""A board: what is ready, active and waiting, from the application's own tasks."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context

import otel_orchestrator as otel
from otel_orchestrator import runs
from otel_orchestrator.queue import tasks
from otel_orchestrator.queue.fields import TaskFields, task_id_of
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.queue.tasks import QueueBoard

from .boards import depths, now, opened, plan


def test_a_planned_task_whose_dependencies_are_done_is_ready() -> None:
    board = QueueBoard("r")
    todo = plan(a=[], b=["a"], c=["a", "b"])
    board.observe(todo)
    assert now(board) == (1, 0, 2)
    todo[0]["status"] = "Done"
    board.observe(todo)
    assert now(board) == (1, 0, 1)


def test_dependencies_are_done_when_their_node_ends_not_when_the_state_says_so() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=[], b=["a"]))
    board.started("a")
    assert now(board) == (0, 1, 1)
    board.ended("a")
    assert now(board) == (1, 0, 0)
    board.observe(plan(a=[], b=["a"]))
    assert now(board) == (1, 0, 0), "the state has not caught up; a does not become ready again"


def test_a_failed_node_leaves_its_task_to_be_done() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=[], b=["a"]))
    board.started("a")
    board.ended("a", ok=False)
    assert now(board) == (1, 0, 1)


def test_a_task_that_is_planned_again_is_ready_again() -> None:
    board = QueueBoard("r")
    todo = plan(a=[])
    todo[0]["status"] = "active"
    board.observe(todo, sees_nodes=lambda: True)
    board.started("a")
    board.ended("a")
    assert now(board) == (0, 0, 0)
    todo[0]["status"] = "planned"
    board.observe(todo)
    assert now(board) == (1, 0, 0)


def test_a_task_called_active_is_ready_until_its_node_runs_where_nodes_are_seen() -> None:
    todo = [{"id": "a", "status": "active"}]
    seen, unseen = QueueBoard("seen"), QueueBoard("unseen")
    seen.observe(todo, sees_nodes=lambda: True)
    unseen.observe(todo)
    assert (now(seen), now(unseen)) == ((1, 0, 0), (0, 1, 0))


def test_unknown_dependencies_and_cycles_keep_waiting() -> None:
    board = QueueBoard("r")
    board.observe(plan(a=["nobody"], b=["c"], c=["b"]))
    assert now(board) == (0, 0, 3)


class Which(enum.Enum):
    FIRST = "first"
    SECOND = "second"


class Status(enum.Enum):
    PLANNED = "planned"
    DONE = "done"


@dataclasses.dataclass
class Job:
    key: int
    state: Status
    after: Any = None


def test_objects_enums_mappings_and_other_field_names_are_understood() -> None:
    fields = TaskFields(id="key", status="state", depends_on="after")
    first = Job(1, Status.DONE)
    board = QueueBoard("r")
    board.observe(
        {1: first, 2: Job(2, Status.PLANNED, [first]), 3: Job(3, Status.PLANNED, 2)}, fields
    )
    assert now(board) == (1, 0, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "b"), (1, 2), (UUID(int=1), UUID(int=2)), (Which.FIRST, Which.SECOND)],
)
def test_tasks_are_known_again_by_ids_of_any_kind(first: Any, second: Any) -> None:
    todo = [{"id": first}, {"id": second, "depends_on": [first]}, {"id": 3, "depends_on": second}]
    board = QueueBoard("r")
    board.observe(todo)
    assert now(board) == (1, 0, 2)
    sent = task_id_of({"task": todo[0]}, TaskFields(), board.knows)
    assert sent is not None
    board.started(sent)
    assert now(board) == (0, 1, 2)
    board.ended(sent)
    assert now(board) == (1, 0, 1)


@pytest.mark.parametrize("nonsense", [None, 3, "text", [None, 3, {}], [{"id": None}], {"a": 1}])
def test_nonsense_counts_nothing(nonsense: Any) -> None:
    board = QueueBoard("r")
    board.observe(nonsense)
    assert now(board) == (0, 0, 0)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"id": "a", "title": "t"}, "a"),
        ({"task": {"id": "a"}, "id": "state"}, "a"),
        ({"current_task": "a"}, "a"),
        ({"task_id": 7}, "7"),
        (Job(1, Status.DONE), None),
        ("a", "a"),
        ({"id": {"deep": 1}}, None),
        (None, None),
        (object(), None),
        ({"task": {"id": UUID(int=7)}}, str(UUID(int=7))),
        ({"task_id": UUID(int=7)}, str(UUID(int=7))),
        (UUID(int=7), str(UUID(int=7))),
        ({"task": {"id": Which.FIRST}}, "first"),
        ({"task": Which.FIRST}, "first"),
    ],
)
def test_the_task_id_is_found_in_a_send_argument(argument: Any, expected: str | None) -> None:
    assert task_id_of(argument, TaskFields(), is_known=lambda _: True) == expected


@pytest.mark.parametrize("text", ["Write a letter to Mr Smith", "one"])
def test_a_text_that_is_no_known_id_is_not_taken_for_one(text: str) -> None:
    for argument in (text, {"task": text}, {"current_task": text, "other": 1}):
        assert task_id_of(argument, TaskFields()) is None
        assert task_id_of(argument, TaskFields(), {"two"}.__contains__) is None
        assert task_id_of(argument, TaskFields(), {text}.__contains__) == text
    assert task_id_of({"task_id": text}, TaskFields()) == text


def test_only_real_changes_are_told(changes: list[QueueChange]) -> None:
    board = opened("told")
    for _ in range(3):
        board.observe(plan(a=[], b=["a"]))
    tasks.close_board("told")
    assert depths(changes) == [(1, 0, 1), (0, 0, 0)]
    assert all(c.run_id == "told" for c in changes)


def test_a_listener_that_fails_disturbs_nobody(
    changes: list[QueueChange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_orchestrator._guard.strict", False)

    def fail(change: QueueChange) -> None:
        raise RuntimeError

    stop = tasks.subscribe(fail)
    otel.observe_tasks(plan(a=[]))
    stop()
    tasks.close_board(None)
    assert depths(changes) == [(1, 0, 0), (0, 0, 0)]


IDS = "abcdef"
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["started", "ended", "failed", "done", "planned"]), st.sampled_from(IDS)
    ),
    max_size=30,
)
NEEDS = st.fixed_dictionaries({i: st.lists(st.sampled_from(IDS), max_size=2) for i in IDS})


@given(needs=NEEDS, events=EVENTS)
def test_the_board_agrees_with_a_model_that_recounts_everything(
    needs: dict[str, list[str]], events: list[tuple[str, str]]
) -> None:
    board = QueueBoard("r")
    todo = {i: {"id": i, "status": "planned", "depends_on": d} for i, d in needs.items()}
    board.observe(todo)
    running: dict[str, int] = {}
    ended: set[str] = set()
    for what, i in events:
        if what == "started":
            board.started(i)
            running[i] = running.get(i, 0) + 1
            ended.discard(i)
        elif what in ("ended", "failed"):
            board.ended(i, ok=what == "ended")
            running[i] = max(0, running.get(i, 0) - 1)
            if not running[i] and what == "ended":
                ended.add(i)
        elif todo[i]["status"] != what:
            todo[i] = {**todo[i], "status": what}
            ended.discard(i)
            board.observe(todo)
        done = {j for j, t in todo.items() if t["status"] == "done"} | ended
        active = {j for j, n in running.items() if n}
        left = set(IDS) - done - active
        ready = {j for j in left if set(needs[j]) <= done}
        assert now(board) == (len(ready), len(active), len(left - ready))


def test_a_run_that_is_closed_while_its_board_is_asked_for_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closing = threading.Thread(target=tasks.close_board, args=("r",))

    class Slow(Counter[str | None]):
        """Another thread closes the run as soon as it is seen to be open."""

        def __getitem__(self, key: str | None) -> int:
            count = super().__getitem__(key)
            if count and not closing.ident:
                closing.start()
                closing.join(0.2)
            return count

    monkeypatch.setattr(tasks, "_open", Slow({"r": 1}))
    tasks.board_of(runs.in_run("r", Context()), knows_tasks=True)
    closing.join()
    assert tasks.find_board("r") is None


def test_nothing_opens_the_board_of_a_run_that_nobody_has_open() -> None:
    assert tasks.board("over") is None


def test_a_board_that_is_closed_stays_empty_for_those_who_still_hold_it(
    changes: list[QueueChange],
) -> None:
    board = opened("r")
    board.observe(plan(a=[]))
    tasks.close_board("r")
    board.started("a")
    board.observe(plan(a=[], b=[]))
    assert depths(changes) == [(1, 0, 0), (0, 0, 0)]


def test_what_is_told_last_is_how_the_queue_is(changes: list[QueueChange]) -> None:
    """Nodes that end in threads of their own are noted in another order than they ended in."""
    board = QueueBoard("r")
    board.started("a", at_ns=1)
    board.started("b", at_ns=2)
    board.ended("b", at_ns=11)
    board.ended("a", at_ns=10)
    board.forget()
    assert [(c.at_ns, c.active) for c in changes] == [(1, 1), (2, 2), (11, 1), (12, 0)]


def test_changes_are_told_in_order_by_whichever_thread(changes: list[QueueChange]) -> None:
    board = QueueBoard("r")
    other = threading.Thread(target=board.started, args=("b", 2))

    def slow(change: QueueChange) -> None:
        if change.active == 1:
            other.start()
            other.join(0.2)
            assert board.snapshot().active == 2, "a listener may look at the board"

    stop = tasks.subscribe(slow)
    tasks._listeners.reverse()  # the slow one is told first
    board.started("a", 1)
    other.join()
    stop()
    assert [c.at_ns for c in changes] == [1, 2]


def test_tasks_that_are_given_one_by_one_are_observed(changes: list[QueueChange]) -> None:
    with otel.run("r"):
        otel.observe_tasks({"id": str(i), "status": "planned"} for i in range(3))
    assert depths(changes)[0] == (3, 0, 0)

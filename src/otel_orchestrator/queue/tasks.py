"""The application's own tasks: which wait, which are ready, which are being worked on.

A `QueueBoard` keeps the tasks of one run. It is fed by `observe_tasks(tasks)`, or by the LangGraph
instrumentor from a key of the graph's state; gauges, the run file and the console read it.

    waiting   a dependency is not done yet
    ready     all dependencies are done, but no node works for it
    active    a node works for it
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from .. import runs
from .._guard import guarded, log_once_a_minute
from ..lifecycle import spans
from ..semconv import Attr
from . import gauges
from .fields import TaskFields, read_tasks
from .gauges import QueueChange
from .states import TaskStates
from .turns import PATIENCE_S, Turns


@dataclass(frozen=True, slots=True)
class Plan:
    """How a task came to be scheduled: three waits that follow on each other, in nanoseconds.

    Attributes:
        depends_on: ids of the tasks that had to be done first; None if they are not known.
        dependency_ns: from planned to the end of the last dependency's node.
        held_ns: from there to the barrier of that node's superstep.
        cycle_ns: from there to scheduled.
    """

    depends_on: tuple[str, ...] | None
    dependency_ns: int
    held_ns: int
    cycle_ns: int

    def attributes(self) -> dict[str, AttributeValue]:
        """Return what the task's span tells of it."""
        values: dict[str, AttributeValue] = {
            Attr.TASK_WAITED_DEPENDENCY: self.dependency_ns / 1e9,
            Attr.TASK_WAITED_HELD: self.held_ns / 1e9,
            Attr.TASK_WAITED_CYCLE: self.cycle_ns / 1e9,
        }
        if self.depends_on is not None:
            values[Attr.TASK_DEPENDS_ON] = self.depends_on
        return values


Listener = Callable[[QueueChange], None]

_listeners: list[Listener] = []
_boards: dict[str | None, QueueBoard] = {}
_open: Counter[str | None] = Counter()
_closed: deque[QueueChange] = deque(maxlen=500)
# As long as the slowest of the usual readers takes from one look to the next.
_SHOWN_CLOSED_NS: Final = 65_000_000_000

# A change that is older by more is of a clock that was set back: to stand still would be worse.
_LATE_AT_MOST_NS: Final = 60_000_000_000

# Not in one: a listener may look at the queue, and print to where nobody reads.
_changing = Turns()
_telling = Turns()
# Those that come while a listener does not come back; the oldest go.
_untold: deque[QueueChange] = deque(maxlen=10_000)


def _change(change: Callable[[], None], patience_s: float = 0.0) -> None:
    """Change a queue, or which there are; tell of it when the change is over, and in order."""
    _changing.do(change, patience_s)
    if len(_untold) == _untold.maxlen:
        log_once_a_minute(
            "changes of the queue",
            "changes of the queue are lost: somebody who is told of them does not come back",
        )
    if _untold and not _telling.is_due:
        _telling.do(_tell)  # nobody waits for it


def _tell() -> None:
    while _untold:
        try:
            change = _untold.popleft()
        except IndexError:
            return
        for listener in list(_listeners):
            with guarded("telling of a change of the queue"):
                listener(change)


def subscribe(listener: Listener) -> Callable[[], None]:
    """Call `listener` on every change of every queue; return a function that stops it."""
    _listeners.append(listener)

    def unsubscribe() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return unsubscribe


def observe_tasks(tasks: Any, fields: TaskFields | None = None) -> None:
    """Take a look at the application's tasks: call it where the plan or a status changes.

    Args:
        tasks: an iterable of tasks, or a mapping from id to task; dicts or objects.
        fields: how to read them, if not by the names that `TaskFields` starts with.

    Example:
        >>> observe_tasks([{"id": "a", "status": "planned", "depends_on": []}])
    """
    with guarded("observing tasks"):
        if (known := board_of(runs.current(), knows_tasks=True)) is not None:
            # An iterator was made for us here; under a key of a state it is the program's.
            shown = list(tasks) if isinstance(tasks, Iterator) else tasks
            is_empty = isinstance(shown, Collection) and not len(shown)
            if not (known.observe(shown, fields) or is_empty):
                log_once_a_minute(
                    "observe_tasks",
                    "observe_tasks() saw no task: none has an id as %r. Type what it is called:"
                    " observe_tasks(tasks, TaskFields(id=...))",
                    (fields or TaskFields()).id,
                )


class QueueBoard:
    """The tasks of one run, as last observed, and the nodes that work for them.

    A node that ends finishes its task there and then: the application's state shows it only after
    the barrier, when everything that depends on it could long have started.

    Tasks are shown by owners: each graph run is one, and whoever shows them by hand is None.
    """

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self._states = TaskStates()
        self._is_closed = False
        self._last: tuple[int, ...] = (0, 0, 0)
        self._last_ns = 0

    def observe(
        self,
        tasks: Any,
        fields: TaskFields | None = None,
        *,
        owner: object = None,
        sees_nodes: Callable[[], bool] = lambda: False,
        at_ns: int | None = None,
    ) -> bool:
        """Read the whole list of an owner's tasks, O(tasks); return whether there are any.

        Args:
            tasks: as for `observe_tasks`.
            fields: likewise.
            owner: whose tasks these are.
            sees_nodes: whether `started` and `ended` tell of every node that works for a task, so
                that a task which the application calls active is `ready` until its node runs;
                asked when the tasks are known.
            at_ns: when the tasks came to be so, if not now.
        """
        seen = read_tasks(tasks, fields or TaskFields())
        self._do(at_ns, lambda at: self._states.observe(seen, owner, sees_nodes, at), PATIENCE_S)
        return bool(seen)

    def sees_nodes(self, owner: object) -> bool:
        """Whether it is told of every node that works for one of this owner's tasks."""
        return self._states.sees_nodes(owner)

    def knows(self, task_id: str) -> bool:
        """Whether this is the id of an observed task."""
        task = self._states.get(task_id)
        return task is not None and task.seen is not None

    def passed_barrier(self, barrier_ns: int, owner: object = None) -> dict[str, int]:
        """Note a superstep's barrier; return since when it held which of the owner's tasks.

        They could have started when their last dependency's node ended, but LangGraph plans
        nothing before the superstep's last node has ended.
        """
        held: dict[str, int] = {}
        _change(lambda: held.update(self._states.passed_barrier(owner, barrier_ns)), PATIENCE_S)
        return held

    def scheduled(self, task_id: str, at_ns: int) -> Plan | None:
        """Return how a task came to be scheduled at an instant; None if it was never observed."""
        task = self._states.get(task_id)
        if task is None or (seen := task.seen) is None or not task.planned_ns:
            return None
        planned_ns = min(task.planned_ns, at_ns)
        deps_done_ns = min(task.deps_done_ns or at_ns, at_ns)
        barrier_ns = min(task.barrier_ns or deps_done_ns, at_ns)
        return Plan(
            tuple(sorted(seen.needs)) if seen.needs is not None else None,
            max(0, deps_done_ns - planned_ns),
            max(0, barrier_ns - deps_done_ns),
            at_ns - barrier_ns,
        )

    def started(self, task_id: str, at_ns: int | None = None, *, by: object = None) -> None:
        """Note that somebody has begun to work for a task: a node, unless it is said who."""
        self._do(at_ns, lambda at: self._states.started(task_id, by, at))

    def ended(
        self, task_id: str, *, ok: bool = True, at_ns: int | None = None, by: object = None
    ) -> None:
        """Note that who worked for a task has stopped, and whether it returned."""
        self._do(at_ns, lambda at: self._states.ended(task_id, by, at, ok=ok))

    def works(self, task_id: str, *, by: object, now: bool, at_ns: int) -> None:
        """Note that who works for a task has come to wait in a queue, or goes on.

        Parts of it may wait at once: it goes on when the first of them does.
        """
        self._do(at_ns, lambda at: self._states.works(task_id, by, at, now=now))

    def snapshot(self) -> QueueChange:
        """Return the queue as it is now."""
        return self._at(spans.now_ns())

    def forget(self, owner: object = None) -> None:
        """Drop the owner's tasks: the graph whose they were is over. Another may follow it.

        Where its nodes worked for none of them others may: they stay until more are observed.
        """
        self._do(None, lambda at: self._states.forget(owner, at))

    def close(self) -> QueueChange | None:
        """Empty the queue, in a turn: its run is over, and what else comes changes nothing."""
        self._states = TaskStates()
        told = self._note(spans.now_ns())
        self._is_closed = True
        return told

    def _do(
        self, at_ns: int | None, change: Callable[[int], None], patience_s: float = 0.0
    ) -> None:
        at_ns = at_ns or spans.now_ns()

        def make() -> None:
            if not self._is_closed:
                change(at_ns)
                self._note(at_ns)

        _change(make, patience_s)

    def _note(self, now_ns: int) -> QueueChange | None:
        if self._states.depth[:3] == self._last:
            return None
        self._last = self._states.depth[:3]
        # Nodes end in threads of their own and come here in any order: the counts are of this one.
        is_late = 0 <= self._last_ns - now_ns < _LATE_AT_MOST_NS
        self._last_ns = self._last_ns + 1 if is_late else now_ns
        told = self._at(self._last_ns)
        _untold.append(told)
        return told

    def _at(self, now_ns: int) -> QueueChange:
        depth = self._states.depth
        return QueueChange(
            self.run_id,
            now_ns,
            ready=depth.ready,
            active=depth.active,
            waiting=depth.waiting,
            oldest_ready_s=max(0, now_ns - (depth.ready_since_ns or now_ns)) / 1e9,
            oldest_waiting_s=max(0, now_ns - (depth.waiting_since_ns or now_ns)) / 1e9,
        )


def _start_in_child() -> None:
    global _changing, _telling
    _changing, _telling = Turns(), Turns()
    _untold.clear()
    _boards.clear()  # the queues are the parent's, which tells of them
    _open.clear()


os.register_at_fork(after_in_child=_start_in_child)


def board(run_id: str | None) -> QueueBoard | None:
    """Return the board of a run; a new one only while something has the run open.

    Nobody would close another. What belongs to no run always has one.
    """
    if (found := _boards.get(run_id)) is not None:
        return found

    def make() -> None:
        if run_id is None or _open[run_id]:
            _boards.setdefault(run_id, QueueBoard(run_id))

    _change(make, PATIENCE_S)
    if (found := _boards.get(run_id)) is not None:
        gauges.make(_queues)
    return found


def find_board(run_id: str | None) -> QueueBoard | None:
    """Return the board of a run if it has one: what comes late must not open it again."""
    return _boards.get(run_id)


def board_of(context: Context, *, knows_tasks: bool = False) -> QueueBoard | None:
    """Return the board of the run that a context belongs to; a new one only while that is open.

    Args:
        context: any.
        knows_tasks: whoever asks knows the run's tasks. Others get no new board of a run that
            another process opened: the queue is told there, and is not one task in a worker.
    """
    run_id = runs.run_id_of(context)
    is_ours = knows_tasks or not runs.is_opened_elsewhere(context)
    return board(run_id) if is_ours else find_board(run_id)


def open_board(run_id: str | None) -> None:
    """Note that a run may have a board until it is closed as often as it was opened."""
    _change(partial(_open.update, [run_id]))


def close_board(run_id: str | None) -> None:
    """Empty and drop the board of a run, unless something else in this process has it open."""

    def close() -> None:
        _open[run_id] -= 1
        if _open[run_id] > 0:
            return
        del _open[run_id]
        found = _boards.pop(run_id, None)
        if found is not None and (change := found.close()) is not None:
            _closed.append(change)

    _change(close, PATIENCE_S)


def _queues(closed: bool) -> list[QueueChange]:
    """Return all queues as they are now, also those that were closed a moment ago."""
    # Under no lock: the SDK holds some of its own, and to copy is one step.
    queues = [board.snapshot() for board in list(_boards.values())]
    if closed:
        # A run that is over shows its zeros to every reader, of which there may be several; then
        # its series goes stale.
        since_ns = spans.now_ns() - _SHOWN_CLOSED_NS
        queues += [c for c in _closed.copy() if c.at_ns > since_ns and c.run_id not in _boards]
    return queues

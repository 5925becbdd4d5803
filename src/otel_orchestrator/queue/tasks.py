"""The application's own tasks: which wait, which are ready, which are being worked on.

A `QueueBoard` keeps the tasks of one run. It is fed by `observe_tasks(tasks)`, or by the LangGraph
instrumentor from a key of the graph's state; gauges, the run file and the console read it.

    waiting   a dependency is not done yet
    ready     all dependencies are done, but no node works for it
    active    a node works for it
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from .. import runs
from .._guard import guarded
from ..lifecycle import spans
from ..semconv import Attr
from . import gauges
from .fields import FINISHED, Seen, TaskFields, read_tasks, states_of
from .gauges import QueueChange


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


@dataclass(slots=True)
class _Life:
    # Instants of an open task; 0 for what has not come yet.
    planned_ns: int
    deps_done_ns: int = 0
    barrier_ns: int = 0


Listener = Callable[[QueueChange], None]

_listeners: list[Listener] = []
_boards: dict[str | None, QueueBoard] = {}
_open: Counter[str | None] = Counter()
_closed: list[QueueChange] = []
_lock = threading.Lock()
_CLOSED_AT_MOST: Final = 500
# As long as the slowest of the usual readers takes from one look to the next.
_SHOWN_CLOSED_NS: Final = 65_000_000_000

# A change that is older by more is of a clock that was set back: to stand still would be worse.
_LATE_AT_MOST_NS: Final = 60_000_000_000


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
            known.observe(list(tasks) if isinstance(tasks, Iterator) else tasks, fields)


class QueueBoard:
    """The tasks of one run, as last observed, and the nodes that work for them.

    A node that ends finishes its task there and then: the application's state shows it only after
    the barrier, when everything that depends on it could long have started.
    """

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self._lock = threading.Lock()
        self._fields = TaskFields()
        self._sees_nodes = False
        self._is_closed = False
        self._observed: dict[str, Seen] = {}
        self._working: dict[str, int] = {}
        self._finished_as: dict[str, str] = {}
        self._since: dict[str, tuple[str, int]] = {}
        self._lives: dict[str, _Life] = {}
        self._last: tuple[int, int, int] = (0, 0, 0)
        self._last_ns = 0
        self._untold: deque[QueueChange] = deque()
        self._telling = threading.RLock()  # a listener may itself change the queue

    def observe(
        self,
        tasks: Any,
        fields: TaskFields | None = None,
        *,
        sees_nodes: Callable[[], bool] = lambda: False,
        at_ns: int | None = None,
    ) -> None:
        """Read the whole list of tasks: O(tasks).

        Args:
            tasks: as for `observe_tasks`.
            fields: likewise.
            sees_nodes: whether `started` and `ended` tell of every node that works for a task, so
                that a task which the application calls active is `ready` until its node runs;
                asked when the tasks are known.
            at_ns: when the tasks came to be so, if not now.
        """
        fields = fields or TaskFields()
        observed = read_tasks(tasks, fields)
        with self._lock:
            self._fields = fields
            self._observed = observed
            self._sees_nodes = self._sees_nodes or sees_nodes()
            # Once the application says something new of a task, that holds.
            self._finished_as = {
                task_id: status
                for task_id, status in self._finished_as.items()
                if task_id in observed and observed[task_id].status == status
            }
            at_ns = at_ns or spans.now_ns()
            self._change(at_ns)
            for life in self._lives.values():
                # What the state itself shows to be ready was held by no barrier.
                if life.deps_done_ns == at_ns:
                    life.barrier_ns = at_ns
        self._tell()

    @property
    def sees_nodes(self) -> bool:
        """It is told of every node that works for a task."""
        return self._sees_nodes

    def knows(self, task_id: str) -> bool:
        """Whether this is the id of an observed task."""
        return task_id in self._observed

    def passed_barrier(self, barrier_ns: int) -> dict[str, int]:
        """Note a superstep's barrier; return since when it held which tasks.

        They could have started when their last dependency's node ended, but LangGraph plans
        nothing before the superstep's last node has ended.
        """
        held: dict[str, int] = {}
        with self._lock:
            for task_id, life in self._lives.items():
                if life.deps_done_ns and not life.barrier_ns:
                    life.barrier_ns = max(barrier_ns, life.deps_done_ns)
                    if life.deps_done_ns < barrier_ns and task_id not in self._working:
                        held[task_id] = life.deps_done_ns
        return held

    def scheduled(self, task_id: str, at_ns: int) -> Plan | None:
        """Return how a task came to be scheduled at an instant; None if it was never observed."""
        with self._lock:
            life, seen = self._lives.get(task_id), self._observed.get(task_id)
        if life is None or seen is None:
            return None
        planned_ns = min(life.planned_ns, at_ns)
        deps_done_ns = min(life.deps_done_ns or at_ns, at_ns)
        barrier_ns = min(life.barrier_ns or deps_done_ns, at_ns)
        return Plan(
            tuple(sorted(seen.needs)) if seen.needs is not None else None,
            max(0, deps_done_ns - planned_ns),
            max(0, barrier_ns - deps_done_ns),
            at_ns - barrier_ns,
        )

    def started(self, task_id: str, at_ns: int | None = None) -> None:
        """Note that a node has begun to work for a task."""
        with self._lock:
            self._working[task_id] = self._working.get(task_id, 0) + 1
            self._finished_as.pop(task_id, None)
            self._change(at_ns or spans.now_ns())
        self._tell()

    def ended(self, task_id: str, *, ok: bool = True, at_ns: int | None = None) -> None:
        """Note that a node has stopped working for a task, and whether it returned."""
        with self._lock:
            left = self._working.pop(task_id, 0) - 1
            if left > 0:
                self._working[task_id] = left
            elif ok and task_id in self._observed:
                self._finished_as[task_id] = self._observed[task_id].status
            self._change(at_ns or spans.now_ns())
        self._tell()

    def snapshot(self) -> QueueChange:
        """Return the queue as it is now."""
        with self._lock:
            return self._count(spans.now_ns(), self._states())

    def forget(self) -> QueueChange | None:
        """Empty the queue: the graph whose tasks these were is over. Another may follow it."""
        return self._empty(for_good=False)

    def close(self) -> QueueChange | None:
        """Empty the queue: its run is over. Whatever else comes changes nothing any more."""
        return self._empty(for_good=True)

    def _empty(self, *, for_good: bool) -> QueueChange | None:
        with self._lock:
            self._observed, self._working, self._finished_as = {}, {}, {}
            self._lives, self._sees_nodes = {}, False
            change = self._change(spans.now_ns())
            self._is_closed = self._is_closed or for_good
        self._tell()
        return change

    def _states(self) -> dict[str, str]:
        states = states_of(self._observed, self._finished_as, self._fields)
        if self._sees_nodes:
            states = {i: "ready" if state == "active" else state for i, state in states.items()}
        states.update(dict.fromkeys(self._working, "active"))
        return states

    def _live(self, states: Mapping[str, str], at_ns: int) -> None:
        """Note when each open task was planned, and when its dependencies were done."""
        lives = {i: self._lives.get(i) or _Life(at_ns) for i, s in states.items() if s != FINISHED}
        for task_id, life in lives.items():
            if states[task_id] == "waiting":
                life.deps_done_ns = life.barrier_ns = 0
            elif not life.deps_done_ns:
                life.deps_done_ns = at_ns
        self._lives = lives

    def _count(self, now_ns: int, states: Mapping[str, str]) -> QueueChange:
        values = list(states.values())
        before = self._since
        self._since = {
            task_id: before[task_id] if before.get(task_id, ("",))[0] == state else (state, now_ns)
            for task_id, state in states.items()
        }
        oldest_ns: dict[str, int] = {}
        for state, since_ns in self._since.values():
            oldest_ns[state] = min(since_ns, oldest_ns.get(state, now_ns))
        return QueueChange(
            self.run_id,
            now_ns,
            ready=values.count("ready"),
            active=values.count("active"),
            waiting=values.count("waiting"),
            oldest_ready_s=(now_ns - oldest_ns.get("ready", now_ns)) / 1e9,
            oldest_waiting_s=(now_ns - oldest_ns.get("waiting", now_ns)) / 1e9,
        )

    def _change(self, now_ns: int) -> QueueChange | None:
        if self._is_closed:
            return None
        states = self._states()
        self._live(states, now_ns)
        counted = self._count(now_ns, states)
        depth = (counted.ready, counted.active, counted.waiting)
        if depth == self._last:
            return None
        self._last = depth
        # Nodes end in threads of their own and come here in any order: the counts are of this one.
        is_late = 0 <= self._last_ns - now_ns < _LATE_AT_MOST_NS
        self._last_ns = self._last_ns + 1 if is_late else now_ns
        told = replace(counted, at_ns=self._last_ns)
        self._untold.append(told)
        return told

    def _tell(self) -> None:
        """Tell the listeners, in order, and not under the lock that asking the board takes."""
        with self._telling:
            while self._untold:
                change = self._untold.popleft()
                for listener in list(_listeners):
                    with guarded("telling of a change of the queue"):
                        listener(change)


def _start_in_child() -> None:
    global _lock  # noqa: PLW0603 - a thread that is not in the child may hold it
    _lock = threading.Lock()
    _boards.clear()  # the queues are the parent's, which tells of them
    _open.clear()


os.register_at_fork(after_in_child=_start_in_child)


def board(run_id: str | None) -> QueueBoard | None:
    """Return the board of a run; a new one only while something has the run open.

    Nobody would close another. What belongs to no run always has one.
    """
    if (found := _boards.get(run_id)) is not None:
        return found
    with _lock:  # or the run is closed between the look and the new board
        if run_id is None or _open[run_id]:
            found = _boards.setdefault(run_id, QueueBoard(run_id))
    if found is not None:
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
    with _lock:
        _open[run_id] += 1


def close_board(run_id: str | None) -> None:
    """Empty and drop the board of a run, unless something else in this process has it open."""
    with _lock:
        _open[run_id] -= 1
        if _open[run_id] > 0:
            return
        del _open[run_id]
        found = _boards.pop(run_id, None)
    if found is not None and (change := found.close()) is not None:
        with _lock:
            _closed.append(change)
            del _closed[:-_CLOSED_AT_MOST]


def _queues(closed: bool) -> list[QueueChange]:
    """Return all queues as they are now, also those that were closed a moment ago."""
    now_ns = spans.now_ns()
    with _lock:
        live = list(_boards.values())
        # A run that is over shows its zeros to every reader, of which there may be several; then
        # its series goes stale.
        while _closed and now_ns - _closed[0].at_ns > _SHOWN_CLOSED_NS:
            _closed.pop(0)
        over = [c for c in _closed if c.run_id not in _boards] if closed else []
    return [b.snapshot() for b in live] + over

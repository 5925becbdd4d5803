"""Which tasks wait, are ready or are worked on: counted as it changes, by one thread at a time.

A node that starts or ends touches its task and those that depend on it. Only when the tasks are
observed anew are all of them looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..semconv import ACTIVE, READY, TASK_STATES, WAITING
from . import fields
from .fields import DONE, FAILED, Seen

_FINISHED: Final = "finished"
_LEFT_OVER: Final = object()
"""Owns the tasks of graphs that are over, and whose nodes did not work for them."""


class Depth(NamedTuple):
    """How many tasks are how, and since when the first of them is; 0 if there is none."""

    ready: int = 0
    active: int = 0
    waiting: int = 0
    ready_since_ns: int = 0
    waiting_since_ns: int = 0


@dataclass(slots=True, eq=False)
class Task:
    """A task that was observed, or that somebody works for.

    Attributes:
        seen: as the application last showed it, if it did.
        owner: whose list it is in.
        finished_as: the status it was shown with when it was finished by the end of its node.
        nodes: how many nodes work for it.
        workers: who else does; with False, while they wait in a queue.
        undone: how many of the tasks it depends on are not done.
        state: as it was last counted.
        planned_ns, deps_done_ns, barrier_ns: instants of an open task; 0 for what is yet to come.
    """

    seen: Seen | None = None
    owner: object = None
    finished_as: str | None = None
    nodes: int = 0
    workers: dict[object, bool] = field(default_factory=dict)
    undone: int = 0
    state: str | None = None
    planned_ns: int = 0
    deps_done_ns: int = 0
    barrier_ns: int = 0

    @property
    def is_done(self) -> bool:
        """What depends on it need not wait for it."""
        return self.seen is not None and (self.seen.means == DONE or self.finished_as is not None)

    @property
    def is_in_hand(self) -> bool:
        """Somebody has begun to work for it, and has not ended."""
        return self.nodes > 0 or bool(self.workers)

    def unsee(self) -> None:
        """Forget what the application showed of it."""
        self.seen = self.finished_as = None


class TaskStates:
    """The tasks of one run by id, from all who show any.

    A task that several show belongs to the graph that showed it last.
    """

    def __init__(self) -> None:
        self.depth = Depth()
        self._tasks: dict[str, Task] = {}
        self._dependants: dict[str, list[str]] = {}
        self._seeing: set[object] = set()
        # By when they came to be so: the first is found, and any is removed, in no time.
        self._in: dict[str, OrderedDict[str, int]] = {state: OrderedDict() for state in TASK_STATES}

    def get(self, task_id: str) -> Task | None:
        """Return a task; safe in any thread."""
        return self._tasks.get(task_id)

    def sees_nodes(self, owner: object) -> bool:
        """Whether every node that works for this owner's tasks is told of; safe in any thread."""
        return owner in self._seeing

    def observe(
        self,
        seen: Mapping[str, Seen],
        owner: object,
        sees_nodes: Callable[[], bool],
        at_ns: int,
    ) -> None:
        """Take the whole list of an owner's tasks as they are now: O(tasks)."""
        for task_id, task in self._tasks.items():
            if task_id not in seen and task.owner in (owner, _LEFT_OVER):
                task.unsee()
        for task_id, as_seen in seen.items():
            task = self._tasks.setdefault(task_id, Task())
            # Once the application says something new of a task, that holds.
            if task.finished_as != as_seen.status:
                task.finished_as = None
            if owner is not None or task.seen is None or task.owner is _LEFT_OVER:
                task.owner = owner
            task.seen = as_seen
        if owner not in self._seeing and sees_nodes():
            self._seeing.add(owner)
        self._recount(at_ns)
        for task in self._tasks.values():
            # What the state itself shows to be ready was held by no barrier.
            if task.deps_done_ns == at_ns:
                task.barrier_ns = at_ns

    def started(self, task_id: str, by: object, at_ns: int) -> None:
        """Note that somebody, or with None a node, begins to work for a task."""
        task = self._tasks.setdefault(task_id, Task())
        was_done = task.is_done
        if by is None:
            task.nodes += 1
        else:
            task.workers[by] = True
        task.finished_as = None
        self._touched(task_id, task, was_done, at_ns)

    def ended(self, task_id: str, by: object, at_ns: int, *, ok: bool) -> None:
        """Note that somebody, or with None a node, stops working for a task."""
        if (task := self._tasks.get(task_id)) is None:
            return
        was_done = task.is_done
        if by is None:
            task.nodes = max(0, task.nodes - 1)
        else:
            task.workers.pop(by, None)
        if ok and not task.is_in_hand and task.seen is not None:
            task.finished_as = task.seen.status
        self._touched(task_id, task, was_done, at_ns)

    def works(self, task_id: str, by: object, at_ns: int, *, now: bool) -> None:
        """Note that who works for a task has come to wait in a queue, or goes on."""
        task = self._tasks.get(task_id)
        if task is not None and by in task.workers:
            task.workers[by] = now
            self._touched(task_id, task, task.is_done, at_ns)

    def passed_barrier(self, owner: object, barrier_ns: int) -> dict[str, int]:
        """Note a barrier of this owner's; return since when it held which tasks."""
        held: dict[str, int] = {}
        for task_id, task in self._tasks.items():
            if task.owner is owner and task.deps_done_ns and not task.barrier_ns:
                task.barrier_ns = max(barrier_ns, task.deps_done_ns)
                if task.deps_done_ns < barrier_ns and not task.is_in_hand:
                    held[task_id] = task.deps_done_ns
        return held

    def forget(self, owner: object, at_ns: int) -> None:
        """Drop an owner's tasks; those that others may work for when the next are observed."""
        is_seeing = owner in self._seeing
        self._seeing.discard(owner)
        for task in self._tasks.values():
            if task.seen is None or task.owner is not owner:
                continue
            if is_seeing:
                task.unsee()
                task.nodes = 0
                task.workers.clear()
            else:
                task.owner = _LEFT_OVER
        self._recount(at_ns)

    def _touched(self, task_id: str, task: Task, was_done: bool, at_ns: int) -> None:
        self._count(task_id, task, at_ns)
        if task.is_done != was_done:
            for dependant_id in self._dependants.get(task_id, ()):
                dependant = self._tasks[dependant_id]
                dependant.undone += 1 if was_done else -1
                self._count(dependant_id, dependant, at_ns)
        self._publish()

    def _recount(self, at_ns: int) -> None:
        done = {task_id for task_id, task in self._tasks.items() if task.is_done}
        self._dependants = {}
        for task_id, task in self._tasks.items():
            needs = (task.seen.needs if task.seen is not None else None) or frozenset()
            task.undone = len(needs - done)
            for needed_id in needs:
                self._dependants.setdefault(needed_id, []).append(task_id)
        for task_id, task in list(self._tasks.items()):
            self._count(task_id, task, at_ns)
        self._publish()

    def _count(self, task_id: str, task: Task, at_ns: int) -> None:
        state, before = self._state_of(task), task.state
        if state != before:
            task.state = state
            if before in self._in:
                del self._in[before][task_id]
            if state in self._in:
                self._in[state][task_id] = at_ns
        if state is None:
            del self._tasks[task_id]
        elif state == _FINISHED:
            task.planned_ns = task.deps_done_ns = task.barrier_ns = 0
        else:
            task.planned_ns = task.planned_ns or at_ns
            if state == WAITING:
                task.deps_done_ns = task.barrier_ns = 0
            elif not task.deps_done_ns:
                task.deps_done_ns = at_ns

    def _state_of(self, task: Task) -> str | None:
        if task.nodes or True in task.workers.values():
            return ACTIVE
        if task.seen is None:
            return _FINISHED if task.workers else None  # not counted, but not forgotten
        if task.is_done or task.seen.means == FAILED:
            return _FINISHED
        if task.seen.means == fields.ACTIVE and task.owner not in self._seeing:
            return ACTIVE
        # It does not matter whether the application has noticed yet.
        return WAITING if task.undone else READY

    def _publish(self) -> None:
        ready, active, waiting = (self._in[state] for state in TASK_STATES)
        self.depth = Depth(
            len(ready),
            len(active),
            len(waiting),
            next(iter(ready.values()), 0),
            next(iter(waiting.values()), 0),
        )

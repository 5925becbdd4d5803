"""Runs of an orchestrator that are written down as a plan, and behave exactly as it says.

    made([Task("a", llm=10), Task("b", needs="a", git=5)], slots=2, director=Control(llm=3))

It is Director → Workers → Strategist → Director … in supersteps: every turn runs what is ready, on
so many slots, first come first served. Spans and attributes are those of the writing half. Times
are in milliseconds; between things that follow on each other nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from otel_orchestrator.model import Run, Span, changed

from .generated import Spans

MS = 1_000_000


@dataclass(frozen=True)
class Task:
    """A task of the application and what its worker does, in this order: git, llm, compute, git."""

    id: str
    needs: str = ""
    llm: int = 0
    git: int = 0
    compute: int = 0
    calls: int = 1

    @property
    def takes(self) -> int:
        return self.llm + self.git + self.compute


@dataclass(frozen=True)
class Control:
    """What a Director or a Strategist does each time; the Strategist merges every task it sees."""

    llm: int = 1
    compute: int = 0
    merge: int = 0


@dataclass
class _Maker:
    spans: Spans = field(default_factory=Spans)
    now: int = 0

    def control(self, loop: Span, name: str, does: Control, merges: int = 0) -> None:
        start, git = self.now, does.merge * merges
        self.now += does.llm + does.compute + git
        step = self.add("superstep", start, self.now, loop)
        node = self.add(f"node {name}", start, self.now, step, "working", "compute",
                        node__name=name)  # fmt: skip
        self.work(node, start, Task("", llm=does.llm, git=git, compute=does.compute))

    def add(self, name: str, start: int, end: int, *rest: Any, **attributes: Any) -> Span:
        return self.spans.add(name, start * MS, end * MS, *rest, **attributes)

    def work(self, node: Span, at: int, task: Task) -> None:
        first = task.git // 2
        if first:
            self.add("git worktree add", at, at + first, node, "working", "git")
        at += first
        for n in range(task.calls if task.llm else 0):
            length = task.llm * (n + 1) // task.calls - task.llm * n // task.calls
            self.add("chat m", at, at + length, node, "working", "llm")
            at += length
        at += task.compute
        if task.git - first:
            self.add("git commit", at, at + task.git - first, node, "working", "git")


def made(
    tasks: Sequence[Task],
    slots: int = 3,
    director: Control = Control(),
    strategist: Control = Control(),
    opening: Control | None = None,
    *,
    says_dependencies: bool = True,
    is_limited: bool = True,
) -> Run:
    """Run a plan in supersteps.

    Args:
        tasks: the plan; `needs` are ids of one letter each.
        slots: how many workers.
        director, strategist: what they do, each time.
        opening: what the Director does the first time, if that is different.
        says_dependencies: whether the spans say what tasks depend on, and what that cost them.
        is_limited: whether the number of workers is limited, or just large enough.
    """
    maker = _Maker()
    limit: dict[str, Any] = {"concurrency__limit": slots} if is_limited else {}
    root = maker.spans.add("invoke_workflow w", 0, None, None, **limit)
    ended: dict[str, int] = {}
    barrier: dict[str, int] = {}
    planned = -1
    left = list(tasks)
    while True:
        opens = maker.now
        loop = maker.spans.add("loop", opens * MS, None, root, loop__head="director")
        is_first = planned < 0
        maker.control(loop, "director", opening if is_first and opening else director)
        if is_first:
            planned = maker.now
        ready = [t for t in left if set(t.needs) <= set(ended)]
        if not ready:
            break
        left = [t for t in left if t not in ready]
        placed = _place(ready, slots, maker.now)
        last = max(end for _, end in placed)
        step = maker.add("superstep", maker.now, last, loop)
        for task, (start, end) in zip(ready, placed, strict=True):
            deps_done = max([planned, *(ended[n] for n in task.needs)])
            released = max([planned, *(barrier[n] for n in task.needs if ended[n] == deps_done)])
            said: dict[str, Any] = {"task__id": task.id}
            if says_dependencies:
                said["task__depends_on"] = tuple(task.needs)
                waits = (deps_done - planned, released - deps_done, maker.now - released)
                for name, wait in zip(("dependency", "held", "cycle"), waits, strict=True):
                    said[f"task__wait__{name}"] = wait / 1e3
            top = maker.add("task worker", maker.now, last, step, **said)
            if start > maker.now:
                maker.add("wait queue", maker.now, start, top, "waiting", "queue")
            node = maker.add("node worker", start, end, top, "working", "compute",
                             node__name="worker", task__id=task.id)  # fmt: skip
            maker.work(node, start, task)
            if end < last:
                maker.add("wait barrier", end, last, top, "waiting", "barrier")
        for task, (_, end) in zip(ready, placed, strict=True):
            ended[task.id], barrier[task.id] = end, last
        maker.now = last
        maker.control(loop, "strategist", strategist, merges=len(ready))
    return _closed(maker)


def _place(tasks: Sequence[Task], slots: int, now: int) -> list[tuple[int, int]]:
    free = [now] * slots
    placed = []
    for task in tasks:
        start = heappop(free)
        heappush(free, start + task.takes)
        placed.append((start, start + task.takes))
    return placed


def _closed(maker: _Maker) -> Run:
    """End the run, and each loop where the next one starts."""
    run = maker.spans.run()
    starts = [s.start_ns for s in run.spans if s.name == "loop"]
    ends = dict(zip(starts, [*starts[1:], maker.now * MS], strict=True))

    def end(span: Span) -> Span:
        if span.end_ns is not None:
            return span
        end_ns = ends[span.start_ns] if span.name == "loop" else maker.now * MS
        return changed(span, end_ns=end_ns)

    return Run(run.id, tuple(end(s) for s in run.spans))

"""A run of 20 000 spans: twenty turns of a few dozen workers on eight slots, each an agent."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from random import Random
from typing import Any

from otel_orchestrator.model import GaugePoint, Run, Span, changed
from tests.reading.generated import Spans

MS = 1_000_000
TURNS = 20
TASKS_A_TURN = 38
SLOTS = 8


class _Maker:
    def __init__(self) -> None:
        self.spans = Spans()
        self.chance = Random(20)

    def add(
        self, name: str, start: int, end: int, parent: Span | None, *rest: str, **more: Any
    ) -> Span:
        return self.spans.add(name, start * MS, end * MS, parent, *rest, **more)

    def node(self, name: str, start: int, parent: Span, calls: int, task_id: str = "") -> int:
        """Add a node with its agent's calls and tools; returns when it ends."""
        chance, said = self.chance, {"task__id": task_id} if task_id else {}
        at = start + 3
        inside: list[tuple[str, int, int, str, bool]] = []
        for n in range(calls):
            took = chance.randint(200, 1500)
            inside.append(("chat gpt-4o", at, at + took, "llm", True))
            at += took + 2
            if n % 2:
                inside.append(
                    ("execute_tool edit_file", at, at + chance.randint(1, 40), "tool", False)
                )
                at += 42
            if n % 3 == 0:
                inside.append(("git commit", at, at + chance.randint(5, 30), "git", False))
                at += 32
        node = self.add(
            f"node {name}", start, at + 2, parent, "working", "compute", node__name=name, **said
        )
        for what, since, until, category, is_call in inside:
            span = self.add(what, since, until, node, "working", category)
            if is_call:
                self.add(
                    "POST",
                    since + 2,
                    until - 50,
                    span,
                    "working",
                    "http",
                    http__send=0.001,
                    http__time_to_first_byte=(until - since - 60) / 1e3,
                )
        return at + 2


def large_run() -> Run:
    """Return the run."""
    maker = _Maker()
    root = maker.add("invoke_workflow big", 0, 1, None, "container", concurrency__limit=SLOTS)
    loops: list[tuple[Span, int]] = []
    points: list[GaugePoint] = []
    now = 0
    for turn in range(TURNS):
        loop = maker.add("loop", now, now + 1, root, loop__index=turn, loop__head="director")
        number = 2 * turn
        step = maker.add("superstep", now, now + 1, loop, superstep__index=number)
        ends = {step.span_id: (now := maker.node("director", now, step, 1))}
        step = maker.add("superstep", now, now + 1, loop, superstep__index=number + 1)
        now, ends[step.span_id] = _turn(maker, step, turn, now, points), 0
        ends[step.span_id] = now
        loops.append((loop, now))
        _close(maker, {**ends, loop.span_id: now})
    _close(maker, {root.span_id: now})
    run = maker.spans.run()
    return replace(run, points=tuple(points))


def _turn(maker: _Maker, step: Span, turn: int, now: int, points: list[GaugePoint]) -> int:
    free = [now] * SLOTS
    begun: list[tuple[Span, int, int]] = []
    for n in range(TASKS_A_TURN):
        task_id = f"task-{turn}-{n}"
        task = maker.add(
            "task worker",
            now,
            now + 1,
            step,
            task__id=task_id,
            task__depends_on=(),
            task__name="worker",
        )
        start = heappop(free)
        if start > now:
            maker.add("wait queue", now, start, task, "waiting", "queue", wait__on="slot")
        end = maker.node("worker", start, task, maker.chance.randint(6, 11), task_id)
        heappush(free, end)
        begun.append((task, start, end))
    barrier = max(end for _, _, end in begun)
    _close(maker, {task.span_id: barrier for task, _, _ in begun})
    for task, _, end in begun:
        if end < barrier:
            maker.add("wait barrier", end, barrier, task, "waiting", "barrier", wait__on="slowest")
    for at in sorted({at for _, start, end in begun for at in (start, end)}):
        active = sum(1 for _, start, end in begun if start <= at < end)
        ready = sum(1 for _, start, _ in begun if start > at)
        for state, depth in (("active", active), ("ready", ready), ("waiting", 0)):
            said = {"orchestrator.task.state": state}
            points.append(GaugePoint("orchestrator.queue.depth", at * MS, depth, said))
    return barrier


def _close(maker: _Maker, ends: dict[str, int]) -> None:
    maker.spans.made = [
        changed(s, end_ns=ends[s.span_id] * MS) if s.span_id in ends else s
        for s in maker.spans.made
    ]

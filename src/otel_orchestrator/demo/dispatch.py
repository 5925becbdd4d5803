"""Continuous dispatch: a task starts when those it depends on have ended, not after a superstep.

LangGraph sees one node here, so the tasks, their queue and their nodes are traced by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import otel_orchestrator as otel

from . import plan
from .plan import Task
from .waiting import holding

Worker = Callable[[Task], Awaitable[Task]]


async def dispatch(tasks: list[Task], slots: int, work: Worker) -> list[Task]:
    """Work on everything that can be worked on, at most `slots` at once; return the tasks.

    Args:
        tasks: the plan. What depends on a task that fails stays planned.
        slots: how many workers there are.
        work: does one task and returns how it ended. If it raises, the others are cancelled.
    """
    free = asyncio.Semaphore(slots)
    running: set[asyncio.Task[Task]] = set()
    try:
        while True:
            for task in plan.ready(tasks):
                tasks = plan.merge(tasks, [plan.started(task)])
                running.add(asyncio.create_task(_in_a_slot(task, free, work)))
            otel.observe_tasks(tasks)
            if not running:
                return tasks
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            tasks = plan.merge(tasks, [one.result() for one in ended])
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _in_a_slot(task: Task, free: asyncio.Semaphore, work: Worker) -> Task:
    with otel.task("worker", dict(task)):
        async with holding(free, "queue", on="slot"):
            with otel.node("worker"):
                return await work(task)

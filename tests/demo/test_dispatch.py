"""Continuous dispatch: tasks start when what they need is done."""

from __future__ import annotations

import asyncio

import pytest

from otel_orchestrator.demo import plan
from otel_orchestrator.demo.dispatch import dispatch
from otel_orchestrator.demo.plan import Task


def planned(**needs: list[str]) -> list[Task]:
    return [
        Task(id=i, depends_on=d, status=plan.PLANNED, merged=False, attempts=0)
        for i, d in needs.items()
    ]


def test_dispatch_keeps_to_its_slots_and_leaves_what_depends_on_a_failure() -> None:
    begun: list[str] = []
    at_once = 0

    async def work(task: Task) -> Task:
        nonlocal at_once
        begun.append(task["id"])
        at_once += 1
        assert at_once <= 2
        await asyncio.sleep(0)
        at_once -= 1
        status = plan.FAILED if task["id"] == "b" else plan.DONE
        return Task(id=task["id"], status=status)

    tasks = planned(a=[], b=[], c=[], after_a=["a"], after_b=["b", "a"])
    final = {t["id"]: t["status"] for t in asyncio.run(dispatch(tasks, 2, work))}
    assert final == {"a": "done", "b": "failed", "c": "done", "after_a": "done"} | {
        "after_b": "planned"
    }
    assert begun == ["a", "b", "c", "after_a"]


def test_dispatch_cancels_the_others_and_raises_what_a_worker_raised() -> None:
    ends: list[str] = []

    async def work(task: Task) -> Task:
        if task["id"] == "b":
            raise KeyError("broken")
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(task["id"])
        return task

    with pytest.raises(KeyError, match="broken"):
        asyncio.run(dispatch(planned(a=[], b=[], c=[]), 3, work))
    assert sorted(ends) == ["a", "c"]


# --- what can be made slower, faster, or spared ---

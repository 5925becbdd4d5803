"""The work to do: a list of tasks that depend on each other, as the graph's state holds them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final, TypedDict

PLANNED: Final = "planned"
ACTIVE: Final = "active"
DONE: Final = "done"
FAILED: Final = "failed"


class Task(TypedDict, total=False):
    """One task; its status is `planned`, `active`, `done` or `failed`."""

    id: str
    title: str
    depends_on: list[str]
    status: str
    module: str
    test: str
    attempts: int
    merged: bool
    summary: str


def shipped() -> dict[str, Any]:
    """Return the plan that ships with the demo, with the edits that the local LLM will make."""
    plan: dict[str, Any] = json.loads(files(__package__).joinpath("plan.json").read_text("utf-8"))
    return plan


def shipped_tasks() -> list[Task]:
    """Return the tasks of the shipped plan, planned and without the edits."""
    return [
        Task(
            id=t["id"],
            title=t["title"],
            depends_on=list(t["depends_on"]),
            status=PLANNED,
            module=t["module"],
            test=t["test"],
            attempts=0,
            merged=False,
        )
        for t in shipped()["tasks"]
    ]


def as_json(tasks: Iterable[Task]) -> str:
    """Return what a Director answers: the plan as a JSON list."""
    return json.dumps([{k: t[k] for k in ("id", "title", "depends_on")} for t in tasks])


def from_json(text: str) -> list[Task]:
    """Read a Director's answer: the first JSON list of tasks in it.

    Raises:
        ValueError: there is none, or a task depends on one that does not exist.
    """
    found = re.search(r"\[.*\]", text, re.DOTALL)
    if found is None:
        raise ValueError("the Director's answer holds no JSON list of tasks")
    raw = json.loads(found.group())
    tasks = [
        Task(
            id=str(t["id"]),
            title=str(t.get("title", t["id"])),
            depends_on=[str(d) for d in t.get("depends_on", [])],
            status=PLANNED,
            module="",
            test="",
            attempts=0,
            merged=False,
        )
        for t in raw
    ]
    ids = {t["id"] for t in tasks}
    for task in tasks:
        if missing := set(task["depends_on"]) - ids:
            raise ValueError(f"task {task['id']} depends on {sorted(missing)[0]}, which is no task")
    return tasks


def merge(old: list[Task], new: list[Task]) -> list[Task]:
    """Merge updates into the list of tasks by id: the reducer of the graph's `tasks` key."""
    changed = {t["id"]: t for t in new}
    kept = [Task(**{**t, **changed.pop(t["id"], {})}) for t in old]
    return kept + list(changed.values())


def started(task: Task) -> Task:
    """Return the task as one that is being worked on."""
    return Task(**{**task, "status": ACTIVE})


def ready(tasks: list[Task]) -> list[Task]:
    """Return the planned tasks whose dependencies are all done."""
    done = {t["id"] for t in tasks if t["status"] == DONE}
    return [t for t in tasks if t["status"] == PLANNED and done.issuperset(t["depends_on"])]

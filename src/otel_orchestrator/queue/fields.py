"""How the application's own tasks are read: dicts or objects, by names that can be chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .._guard import guarded

DONE: Final = "done"
FAILED: Final = "failed"
ACTIVE: Final = "active"
PLANNED: Final = "planned"
_TEXTS: Final = (str, bytes, bytearray)


@dataclass(frozen=True, slots=True)
class TaskFields:
    """How to read the application's tasks, which may be dicts or objects.

    Attributes:
        id, status, depends_on: names of keys or attributes.
        done, failed, active: the words that `status` says it with; any other word, such as
            "planned", means that the task is still to be done.
        holders: keys under which a `Send` argument may hold the task or the task's id.
    """

    id: str = "id"
    status: str = "status"
    depends_on: str = "depends_on"
    done: frozenset[str] = frozenset(
        {"done", "completed", "complete", "merged", "success", "succeeded"}
    )
    failed: frozenset[str] = frozenset(
        {"failed", "error", "cancelled", "canceled", "skipped", "abandoned"}
    )
    active: frozenset[str] = frozenset({"active", "running", "in_progress"})
    holders: tuple[str, ...] = ("task", "current_task", "task_dict", "task_id")


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as the application showed it.

    Attributes:
        status: the application's word.
        means: one of the four above.
        needs: ids of the tasks that it depends on, if they are known.
    """

    status: str
    means: str
    needs: frozenset[str] | None


def read_tasks(tasks: Any, fields: TaskFields) -> dict[str, Seen]:
    """Return the tasks by id; whatever has no id is no task.

    An iterator has none: reading it would take its items from the program.
    """
    items = tasks.values() if isinstance(tasks, Mapping) else tasks
    seen: dict[str, Seen] = {}
    for item in items if isinstance(items, Collection) and not isinstance(items, _TEXTS) else ():
        task_id = _field(item, fields.id)
        if task_id is not None:
            needs = _ids(_field(item, fields.depends_on), fields)
            status = _word(_field(item, fields.status))
            seen[str(task_id)] = Seen(status, _meaning(status, fields), needs)
    return seen


def task_id_of(
    argument: Any, fields: TaskFields, is_known: Callable[[str], bool] = lambda _: False
) -> str | None:
    """Return the application's task id that a `Send` argument carries, if it carries one.

    The argument may be the task itself, hold it or its id under one of `fields.holders`, or be
    the id. A text that is not called an id may as well be a prompt, so it is one only if it
    `is_known` as the id of a task.
    """
    with guarded("reading a task id"):
        if isinstance(argument, str):
            return argument if is_known(argument) else None
        for holder in fields.holders:
            held = _field(argument, holder)
            if isinstance(held, str) and not holder.endswith("id") and not is_known(held):
                continue
            if isinstance(held, str | int):
                return str(held)
            inner = None if held is None else _field(held, fields.id)
            if isinstance(inner, str | int):
                return str(inner)
        own = _field(argument, fields.id)
        return str(own) if isinstance(own, str | int) else None
    return None


def _field(item: Any, name: str) -> Any:
    if isinstance(item, Mapping):
        return item.get(name)
    return getattr(item, name, None)


def _word(status: Any) -> str:
    # An enum's value, where it is one.
    return str(getattr(status, "value", status)).lower()


def _meaning(status: str, fields: TaskFields) -> str:
    if status in fields.done:
        return DONE
    if status in fields.failed:
        return FAILED
    return ACTIVE if status in fields.active else PLANNED


def _ids(needs: Any, fields: TaskFields) -> frozenset[str] | None:
    if needs is None:
        return None
    if isinstance(needs, str) or not isinstance(needs, Iterable):
        return frozenset({str(needs)})
    if not isinstance(needs, Collection):  # an iterator is the program's to read
        return None
    ids = (n if isinstance(n, str | int) else _field(n, fields.id) for n in needs)
    return frozenset(str(n) for n in ids)

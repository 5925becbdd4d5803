"""How the application's own tasks are read: dicts or objects, by names that can be chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from .._guard import guarded, logger

DONE: Final = "done"
FAILED: Final = "failed"
ACTIVE: Final = "active"
PLANNED: Final = "planned"
_TEXTS: Final = (str, bytes, bytearray)
_IDS: Final = (str, int, UUID)


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
        with suppress(_UnreadableError):
            task_id = as_id(_field(item, fields.id))
            if task_id is not None:
                needs = _ids(_field(item, fields.depends_on), fields)
                status = _word(_field(item, fields.status))
                seen[task_id] = Seen(status, _meaning(status, fields), needs)
    return seen


def as_id(value: Any) -> str | None:
    """Return a task's id as text; None for what is no id."""
    if type(value) is str:
        return value
    if isinstance(value, Enum):
        value = value.value
    return str(value) if isinstance(value, _IDS) else None


def task_id_of(
    argument: Any, fields: TaskFields, is_known: Callable[[str], bool] = lambda _: False
) -> str | None:
    """Return the application's task id that a `Send` argument carries, if it carries one.

    The argument may be the task itself, hold it or its id under one of `fields.holders`, or be
    the id. A text that is not called an id may as well be a prompt, so it is one only if it
    `is_known` as the id of a task.
    """
    with guarded("reading a task id"), suppress(_UnreadableError):
        if (itself := as_id(argument)) is not None:
            return itself if is_known(itself) else None
        for holder in fields.holders:
            held = _field(argument, holder)
            if held is None:
                continue
            if isinstance(held, str) and not holder.endswith("id") and not is_known(held):
                continue
            if (found := _id_in(held, fields)) is not None:
                return found
        return as_id(_field(argument, fields.id))
    return None


class _UnreadableError(Exception):
    """A property of the program's own raises: that is how the program is, and no defect."""


def _field(item: Any, name: str) -> Any:
    try:
        # For each key of each `Send`: to ask an abstract class takes longer than to look it up.
        is_mapping = type(item) is dict or isinstance(item, Mapping)
        return item.get(name) if is_mapping else getattr(item, name, None)
    except Exception as error:
        _say_unreadable(type(item).__name__, name, type(error).__name__)
        raise _UnreadableError from None


@lru_cache(maxsize=100)
def _say_unreadable(kind: str, name: str, error: str) -> None:
    logger.debug("a %s is not counted as a task: its %s raises %s", kind, name, error)


def _id_in(value: Any, fields: TaskFields) -> str | None:
    # Of the task that it is, where it is none itself.
    itself = as_id(value)
    return as_id(_field(value, fields.id)) if itself is None else itself


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
    if (only := _id_in(needs, fields)) is not None:
        return frozenset({only})
    if not isinstance(needs, Collection):  # an iterator is the program's to read
        return None
    ids = [_id_in(needed, fields) for needed in needs]
    return None if None in ids else frozenset(i for i in ids if i is not None)

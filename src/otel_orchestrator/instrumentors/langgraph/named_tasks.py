"""Where the user says that tasks are, held against what a graph has there.

A key or a field that is misspelt matches nothing, and all else goes on as if there were no tasks;
so that is said, once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from ..._guard import logger

DEFAULT_KEY: Final = "tasks"
_NAMED: Final = 8


class NamedTasks:
    """Tasks that `instrument()` was told of."""

    def __init__(self, key: str, id_field: str) -> None:
        self._key = key
        self._id_field = id_field
        self._is_settled = False

    def looked_at(self, graph: str, channels: Mapping[str, Any], *, has_tasks: bool) -> None:
        """Say what is amiss, unless a graph has shown tasks or it was said before.

        Args:
            graph: its name.
            channels: LangGraph's: the keys of its state, and some of its own.
            has_tasks: tasks were read there.
        """
        if self._is_settled:
            return
        if not has_tasks and (amiss := self._amiss(channels)) is None:
            return
        self._is_settled = True
        if not has_tasks:
            logger.warning(
                "graph %s shows no tasks: %s. Say where they are:"
                " instrument(tasks_key=..., task_fields=...)",
                graph,
                amiss,
            )

    def _amiss(self, channels: Mapping[str, Any]) -> str | None:
        channel = channels.get(self._key)
        if channel is None:
            keys = sorted(k for k in channels if k.isidentifier() and not k.startswith("__"))
            more = ", ..." if len(keys) > _NAMED else ""
            has = f"; it has {', '.join(keys[:_NAMED])}{more}" if keys else ""
            return f"its state has no key {self._key!r}{has}"
        value = channel.get() if channel.is_available() else None
        if value is None or (isinstance(value, Collection) and not len(value)):
            return None  # there are none yet
        return f"nothing under its key {self._key!r} has an id as {self._id_field!r}"

"""What a forked child starts late: most of them only exec another program, and need none of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

_late: Final[dict[Callable[[], object], None]] = {}


def start_late(start: Callable[[], object]) -> None:
    """Have something called once this forked child has telemetry of its own."""
    _late[start] = None


def has_nothing() -> bool:
    """Whether this is a forked child that has no telemetry of its own yet."""
    return bool(_late)


def start_what_waits() -> None:
    """Start it: this process has telemetry of its own. For the hot path, too."""
    while _late:
        start = None
        with suppress(KeyError):  # another thread has taken the last one
            start, _ = _late.popitem()
        if start is not None:
            try:
                start()
            except RuntimeError:  # there can be no more threads, as at exit: then it ends inline
                return

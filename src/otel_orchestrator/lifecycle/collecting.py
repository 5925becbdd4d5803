"""What is noticed while this thread collects garbage, and waits until it no longer does.

The collector closes a generator that nobody can reach any more, wherever some allocation has set
the collector off: while the SDK holds one of its locks, or within `ContextVar.set`, which in
CPython 3.11 does not bear that its context is changed meanwhile. What is noticed then waits for the
program's next span.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

from .._guard import guarded

_collecting: Final[set[int]] = set()
_late: Final[deque[Callable[[], None]]] = deque()
_to_restore: Final[dict[int, list[Callable[[], None]]]] = {}
"""What the collector made a thread leave, by the thread: a context is restored in its own only."""
_ending_late: Final[set[int]] = set()
"""Threads at it: what they end starts and ends spans, and an end in progress must not be met."""


def is_collecting() -> bool:
    """Whether this is code that the garbage collector runs."""
    return get_ident() in _collecting


def _note(
    phase: str,
    _: dict[str, Any],
    # Bound here, because the last collections come when a module's names are gone.
    collecting: set[int] = _collecting,
    this: Callable[[], int] = get_ident,
) -> None:
    if phase == "start":
        collecting.add(this())
    else:
        collecting.discard(this())


gc.callbacks.append(_note)


def end_late(end: Callable[[], None]) -> None:
    """Call `end` when the program's next span starts or ends: for what the collector does.

    It may run anywhere, even while the SDK holds one of its locks, which ending a span needs.
    """
    _late.append(end)


def restore_late(leave: Callable[[], None]) -> None:
    """Call `leave` when this thread's next span starts or ends, last in first out."""
    _to_restore.setdefault(get_ident(), []).append(leave)


def end_late_ones() -> None:
    """Do what was put off, unless that is to be put off again."""
    if not (_late or _to_restore):
        return
    this_thread = get_ident()
    if this_thread in _collecting or this_thread in _ending_late:
        return
    for restore_it in reversed(_to_restore.pop(this_thread, ())):
        with guarded("detaching a context"):
            restore_it()
    _ending_late.add(this_thread)
    try:
        while _late:
            try:
                end = _late.popleft()
            except IndexError:  # another thread was faster
                return
            with guarded("ending a span"):
                end()
    finally:
        _ending_late.discard(this_thread)


def _start_in_child() -> None:
    _collecting.clear()  # of threads that are not in the child; what is late, the parent ends
    _late.clear()
    _to_restore.clear()
    _ending_late.clear()


os.register_at_fork(after_in_child=_start_in_child)

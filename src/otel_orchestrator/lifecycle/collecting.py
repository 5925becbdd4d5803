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
from threading import get_ident, local
from typing import Final

from .._guard import guarded

_late: Final[deque[Callable[[], None]]] = deque()
_to_restore: Final[dict[int, list[Callable[[], None]]]] = {}
"""What the collector made a thread leave, by the thread: a context is restored in its own only."""
_ending_late: Final[set[int]] = set()
"""Threads at it: what they end starts and ends spans, and an end in progress must not be met."""


class _Start:
    __slots__ = ("start",)
    start: object


class _Latest(_Start):
    """What the collector said last, wherever: under either of its words, it is in one place."""

    __slots__ = ()
    stop = _Start.__dict__["start"]


_latest: Final = _Latest()
_latest.start = None
_here: Final = local()

# The collector calls each of these with its word, `start` or `stop`, and a dictionary of its own.
# They have to be functions of C: a signal that comes while it collects is handled at the next
# instruction of Python, and what its handler raises, such as KeyboardInterrupt, would be lost.
gc.callbacks += (_latest.__setattr__, _here.__setattr__)


def is_collecting() -> bool:
    """Whether this is code that the garbage collector runs."""
    return getattr(_here, "start", _here) is _latest.start  # it collects in one thread at a time


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
    if is_collecting() or this_thread in _ending_late:
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
    _late.clear()  # that the parent ends
    _to_restore.clear()
    _ending_late.clear()


os.register_at_fork(after_in_child=_start_in_child)

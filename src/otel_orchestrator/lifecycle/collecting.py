"""Whether this thread is collecting garbage just now.

The collector closes a generator that nobody can reach any more, wherever some allocation has set
the collector off: while the SDK holds one of its locks, or within `ContextVar.set`, which in
CPython 3.11 does not bear that its context is changed meanwhile. What is noticed then waits for the
program's next span (`spans.end_late`).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

_collecting: Final[set[int]] = set()


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
os.register_at_fork(after_in_child=_collecting.clear)  # threads that are not in the child

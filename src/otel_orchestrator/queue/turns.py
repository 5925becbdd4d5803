"""Changes that are made one after another, by whichever thread comes by, and that none waits for.

A lock would not do. Python collects garbage wherever a thread allocates, and so may close a dropped
generator of the program's. What that runs may begin a task or show the plan: a change again, which
comes while this very thread is amid another. (What ends there is put off, see
`lifecycle.collecting`.) And while another thread is, the collector may there come to a lock of the
program's that this one holds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from .._guard import guarded

PATIENCE_S: Final = 1.0
"""For how long to wait at most for a result while another thread makes a change."""


class Turns:
    """What is to be done, and the turn to do it, which one thread has at a time."""

    __slots__ = ("_due", "_is_taken", "_turn")

    def __init__(self) -> None:
        self._due: deque[Callable[[], None]] = deque()
        self._turn = threading.RLock()
        self._is_taken = False

    @property
    def is_due(self) -> bool:
        """Whether something is to be done that nobody has begun."""
        return bool(self._due)

    def do(self, work: Callable[[], None], patience_s: float = 0.0) -> None:
        """Do this work now, or leave it to who has the turn: it is done in the order of calls.

        Args:
            work: changes something; what it raises is swallowed.
            patience_s: for how long to wait until another thread has done it, at most.
        """
        self._due.append(work)
        while self._turn.acquire(timeout=patience_s):
            try:
                if self._is_taken:  # by this thread, which the collector took away from its work
                    return
                self._is_taken = True
                try:
                    self._do_all()
                finally:
                    self._is_taken = False
            finally:
                self._turn.release()
            # Whoever came between the last look and the release has left its work to this thread.
            if not self._due:
                return

    def _do_all(self) -> None:
        while self._due:
            with guarded("changing the queue"):
                self._due.popleft()()

"""Notice that the wall clock was set: what was measured across that instant is off by as much."""

from __future__ import annotations

import time
from typing import Final

from ._guard import log_once_a_minute

_STEP_NS: Final = 1_000_000_000


class StepWatch:
    """Compares the wall clock with one that nobody sets, from look to look."""

    def __init__(self) -> None:
        self._ahead_ns = _ahead_ns()

    def look(self) -> None:
        """Say it, once a minute at most, if the clock was set by more than a second."""
        before, self._ahead_ns = self._ahead_ns, _ahead_ns()
        step_ns = self._ahead_ns - before
        if abs(step_ns) > _STEP_NS:
            log_once_a_minute(
                "clock step",
                "the clock was set by %+.0f s, or the machine slept: spans that were open then are"
                " recorded as longer or shorter by that",
                step_ns / 1e9,
            )


def _ahead_ns() -> int:
    return time.time_ns() - time.monotonic_ns()

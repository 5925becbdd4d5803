"""The fail-open guard: our own code runs inside it, the user's code never does.

    with guarded("starting a node span"):
        ...

An exception in the block is swallowed and logged, at most once a minute for each place, so that
a defect of ours costs the user a log line and not a run. Our own tests set `strict`, so that it
cannot hide from us.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Final

logger: Final = logging.getLogger("otel_orchestrator")

_LOG_EVERY_S: Final = 60.0
_last_logged: dict[str, float] = {}

strict = False
"""Re-raise instead of logging. Only our own test suite sets it."""


class guarded:  # noqa: N801 - reads as a statement
    """Swallow and log what our own code raises. A class: a tenth of a generator's cost."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        if exc is None or not isinstance(exc, Exception) or strict:
            return False
        log_once_a_minute(
            self._what,
            "otel-orchestrator failed while %s; the program goes on, this telemetry is lost",
            self._what,
            exc_info=exc,
        )
        return True


def log_once_a_minute(
    key: str, message: str, *args: object, exc_info: BaseException | None = None
) -> None:
    """Log a warning, unless one with the same `key` was logged in the last minute."""
    now = time.monotonic()
    if now - _last_logged.get(key, -_LOG_EVERY_S) < _LOG_EVERY_S:
        return
    _last_logged[key] = now
    logger.warning(message, *args, exc_info=exc_info)

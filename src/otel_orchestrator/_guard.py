"""The fail-open guard: our own code runs inside it, the user's code never does.

    with guarded("starting a node span"):
        ...

An exception in the block is swallowed and logged, at most once a minute for each place, so that
a defect of ours costs the user a log line and not a run. Our own tests set `strict`, so that it
cannot hide from us.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from types import TracebackType
from typing import Final

logger: Final = logging.getLogger("otel_orchestrator")

_LOG_EVERY_S: Final = 60.0
_last_logged: dict[str, float] = {}

strict = False
"""Re-raise instead of logging. Only our own test suite sets it."""


def is_disabled() -> bool:
    """Return whether OpenTelemetry is switched off as a whole, by `OTEL_SDK_DISABLED`."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def is_on(variable: str) -> bool:
    """Return whether a variable of ours switches something on; what is neither is said."""
    said = os.environ.get(variable, "").strip().lower()
    if said not in ("", "1", "true", "0", "false"):
        logger.warning("%s is neither true nor false, and so counts as false. Type 1", variable)
    return said in ("1", "true")


class _Thread:
    """A thread: whether it is inside of a guarded block, whose time has all that is within it."""

    __slots__ = ("count", "is_inside")

    def __init__(self) -> None:
        self.count = 0
        self.is_inside = False


class _Here(threading.local):
    """The calling thread, looked up once a block: that costs more than all else in it."""

    def __init__(self) -> None:
        self.thread = _Thread()


_TIMED_EACH: Final = 13
"""One block in so many is timed and stands for them: a clock costs as much as a small block. No
multiple of what a node has of them, or it would always be the same one."""
_here: Final = _Here()
_clock_ns: Final = time.perf_counter_ns
_spent_ns = 0
_threads_ns: dict[str, int] = {}


def _forget_spent() -> None:
    global _spent_ns  # noqa: PLW0603 - what the parent spent, the parent tells
    _spent_ns = 0
    _threads_ns.clear()


os.register_at_fork(after_in_child=_forget_spent)


def note_thread(part: str) -> None:
    """Note what the calling thread, one of ours, has taken of the processor by now."""
    _here.thread.is_inside = True  # the program does not wait for what it does
    _threads_ns[part] = time.thread_time_ns()


def spent_s() -> dict[str, float]:
    """Return seconds that our code took: of the program's threads, and CPU of each of ours."""
    taken = {"program": _spent_ns, **_threads_ns}
    return {part: ns / 1e9 for part, ns in taken.items()}


class guarded:  # noqa: N801 - reads as a statement
    """Swallow and log what our own code raises. A class: a tenth of a generator's cost."""

    __slots__ = ("_began_ns", "_outermost_in", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._outermost_in: _Thread | None = None

    def __enter__(self) -> None:
        thread = _here.thread
        if thread.is_inside:
            return
        thread.is_inside = True
        self._outermost_in = thread
        thread.count += 1
        self._began_ns = 0 if thread.count % _TIMED_EACH else _clock_ns()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        if (thread := self._outermost_in) is not None:
            thread.is_inside = False
            if self._began_ns:
                global _spent_ns  # noqa: PLW0603 - a race costs a little; a lock, each block
                _spent_ns += _TIMED_EACH * (_clock_ns() - self._began_ns)
        if exc is None or not isinstance(exc, Exception) or strict:
            return False
        try:  # noqa: SIM105 - `suppress` is a frame, and there may be none left on the stack
            log_once_a_minute(
                self._what,
                "otel-orchestrator failed while %s; the program goes on, this telemetry is lost",
                self._what,
                exc_info=exc,
            )
        except Exception:  # of a handler of the program's, which has nothing to do with us
            pass
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

"""How telemetry ends with its process, whichever way that ends, and without holding it up."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .._guard import guarded, logger
from ..delivery.forked import start_late
from ..delivery.sender import Sender

_LAST_VALUES_WAIT_S: Final = 1.0


class EndedInThread:
    """Ends what sends, in a thread that was started in time: at exit Python starts no more.

    OpenTelemetry's own shutdown waits for a dead endpoint longer than anybody wants. In a forked
    child it is started once that has telemetry of its own: most only exec another program, as with
    `preexec_fn`, and a thread would take longer than all else that they do before.

    Args:
        end: ends it.
        ending: when.
    """

    def __init__(self, end: Callable[[], object], ending: threading.Event) -> None:
        self._ended = threading.Event()
        self._end = end
        self._ending = ending
        self._is_started = False
        self._start()
        os.register_at_fork(after_in_child=self._start_late)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all is ended, which `ending` has asked for; return whether it is in time.

        Where no thread can be started any more, it is ended here, however long that takes.
        """
        with suppress(RuntimeError):
            self._start()
        if not self._is_started:  # at exit, of a child that has nothing to send
            self._run()
        return self._ended.wait(timeout_s)

    def _start_late(self) -> None:
        if not self._ending.is_set():
            self._is_started = False
            start_late(self._start)

    def _start(self) -> None:
        if self._is_started:
            return
        self._is_started = True  # first: what it sends at once would have it started again
        thread = threading.Thread(target=self._run, name="otel-orchestrator-shutdown", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._is_started = False
            raise

    def _run(self) -> None:
        self._ending.wait()
        with guarded("shutting down"):
            self._end()
        self._ended.set()


def soon_after(event: threading.Event, end: Callable[[], object]) -> Callable[[], object]:
    """Return what ends metrics: their last values tell what came before, but do not wait long.

    They need some of the time themselves, to be sent.
    """

    def ended() -> object:
        event.wait(_LAST_VALUES_WAIT_S)
        return end()

    return ended


def say_unsent(sender: Sender) -> int:
    """Say how many spans the endpoint does not have, if any, and return it."""
    if unsent := sender.unsent():
        logger.warning(
            "%s not sent yet to %s. The run files keep them, and the next program that writes and"
            " sends there sends them; or type: otel-orchestrator ship",
            "1 span is" if unsent == 1 else f"{unsent} spans are",
            sender.endpoint,
        )
    return unsent


def at_exit(end: Callable[[], object]) -> None:
    """Call `end` when this process ends, or a worker that it starts."""
    atexit.register(end)

    # A worker of multiprocessing, as in a process pool, ends by os._exit: that passes over atexit.
    def with_worker(_: object = None) -> None:
        multiprocessing.util.Finalize(None, end, exitpriority=-1)

    multiprocessing.util.register_after_fork(end, with_worker)
    if multiprocessing.parent_process() is not None:
        with_worker()

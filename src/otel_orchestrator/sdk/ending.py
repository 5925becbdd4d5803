"""How telemetry ends with its process, whichever way that ends, and without holding it up."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import threading
from collections.abc import Callable

from .._guard import guarded


class EndedInThread:
    """Ends what sends, in a thread that was started in time: at exit Python starts no more.

    OpenTelemetry's own shutdown waits for a dead endpoint longer than anybody wants.

    Args:
        end: ends it.
        ending: when.
    """

    def __init__(self, end: Callable[[], object], ending: threading.Event) -> None:
        self.ended = threading.Event()
        self._end = end
        self._ending = ending
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        threading.Thread(target=self._run, name="otel-orchestrator-shutdown", daemon=True).start()

    def _run(self) -> None:
        self._ending.wait()
        with guarded("shutting down"):
            self._end()
        self.ended.set()


def at_exit(end: Callable[[], object]) -> None:
    """Call `end` when this process ends, or a worker that it starts."""
    atexit.register(end)

    # A worker of multiprocessing, as in a process pool, ends by os._exit: that passes over atexit.
    def with_worker(_: object = None) -> None:
        multiprocessing.util.Finalize(None, end, exitpriority=-1)

    multiprocessing.util.register_after_fork(end, with_worker)
    if multiprocessing.parent_process() is not None:
        with_worker()

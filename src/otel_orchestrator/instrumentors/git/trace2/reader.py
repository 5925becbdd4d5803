"""The thread that reads git's events and makes spans of them, off the program's hot path."""
# ruff: noqa: PTH108

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from .... import semconv
from ...._guard import guarded, log_once_a_minute
from ....lifecycle import spans
from ....semconv import Attr
from .events import Part, parts_in
from .folder import remove_stale_ones

_QUEUED_AT_MOST: Final = 1_000
_READ_AT_MOST: Final = 2 * 2**20
_IN_FLIGHT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """A git process that has ended: the file of its events, and where its spans belong."""

    path: str
    context: Context
    start_ns: int
    end_ns: int


class Reader:
    """Reads one file after the other.

    Attributes:
        dropped: git processes whose events were not read, because too many ended at once.
    """

    def __init__(self, threshold_ns: int) -> None:
        self.dropped = 0
        self._threshold_ns = threshold_ns
        self.start()

    def start(self) -> None:
        """Start with nothing, in a forked child again: what the parent has queued, it reads."""
        self._queue: SimpleQueue[Job | None] = SimpleQueue()  # may be filled by signal handlers
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Queue a file; if too many are waiting, delete it and count it."""
        if self._queue.qsize() >= _QUEUED_AT_MOST:
            self.dropped += 1
            _delete(job.path)
            log_once_a_minute(
                "trace2",
                "%d git processes are shown without what happened inside: they end faster than"
                " their events can be read",
                self.dropped,
            )
            return
        self._queue.put(job)
        if self._thread is None:
            # Where threads cannot be started any more, at exit, what is queued is read by `close`.
            with suppress(RuntimeError):
                thread = threading.Thread(
                    target=self._run,
                    args=(self._queue,),
                    name="otel-orchestrator-git-trace2",
                    daemon=True,
                )
                self._thread = thread
                thread.start()

    def close(self) -> None:
        """Read everything, here and in the thread, and let the thread end."""
        queue, self._queue = self._queue, SimpleQueue()
        thread, self._thread = self._thread, None
        while True:
            try:
                job = queue.get_nowait()
            except Empty:
                break
            if job is not None:
                self._read(job)
        if thread is not None:
            queue.put(None)
            thread.join(_IN_FLIGHT_S)

    def _run(self, queue: SimpleQueue[Job | None]) -> None:
        with guarded("removing what killed processes left behind"):
            remove_stale_ones()
        while (job := queue.get()) is not None:
            self._read(job)

    def _read(self, job: Job) -> None:
        with guarded("reading git's events"):
            try:
                with open(job.path, "rb") as file:  # noqa: PTH123
                    data = file.read(_READ_AT_MOST)
            except OSError:
                return  # a git that knows no Trace2, or that never got so far
            finally:
                _delete(job.path)
            for part in parts_in(data, job.start_ns, job.end_ns, self._threshold_ns):
                _make_spans(part, job.context)


def _delete(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _make_spans(part: Part, parent: Context) -> None:
    # No recursion: hooks call git, which calls hooks.
    stack = [(part, parent)]
    while stack:
        part, parent = stack.pop()
        attributes: dict[str, AttributeValue] = {Attr.GIT_PART: part.kind}
        if part.pid is not None:
            attributes[Attr.PROCESS_PID] = part.pid
        if part.code is not None:
            attributes[Attr.PROCESS_EXIT_CODE] = part.code
        if part.lock is not None:
            attributes[Attr.GIT_LOCK] = part.lock
        operation = spans.start(
            f"{semconv.GIT} {part.name}",
            state=semconv.WORKING,
            category=semconv.GIT,
            parent=parent,
            attributes=attributes,
            start_ns=part.start_ns,
        )
        stack.extend((below, operation.context) for below in part.parts)
        if part.error_type is not None:
            operation.end(semconv.ERROR, error_type=part.error_type, end_ns=part.end_ns)
        elif not part.is_complete:
            operation.end(semconv.ABANDONED, end_ns=part.end_ns)
        else:
            operation.end(end_ns=part.end_ns)

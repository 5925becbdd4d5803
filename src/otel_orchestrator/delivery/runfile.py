"""The run file: the durable local store that needs no server, one file of OTLP JSON lines a run.

A span processor takes ended spans and writes them every half second, in a thread of its own; the
hot path only appends to a bounded queue. A span that is still open at a flush is written once
without an end (a *start note*), so after a kill the file holds what ended and shows what was open;
the next process with the same folder, or `ship`, ends it there (`delivery.closing`).

Every line is one OTLP/JSON object (`resourceSpans` or `resourceMetrics`), made by OpenTelemetry's
own encoder; the first line also carries `{"runFile": {"version": 1}}`, which OTLP readers ignore.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from .._guard import guarded, log_once_a_minute, logger, note_thread
from ..alive import SignOfLife
from ..clock import StepWatch
from ..errors import RunFileError
from ..queue.gauges import QueueChange
from ..run_file_header import UNSENT, VERSION
from ..run_folder import OUTSIDE, make_run_folder
from ..runs import names_a_file
from ..semconv import Attr
from . import clean
from .appending import Line, RunFiles, line_of
from .closing import close_dead, ended_open
from .forked import start_what_waits
from .marks import with_marks
from .queue_points import encode_queue
from .sender import Sender

MAX_FILE_BYTES: Final = 256 * 2**20
KEEP_RUNS: Final = 100
_KEEP_BYTES: Final = 2 * 2**30  # of all files of a folder together; the oldest make room
_FLUSH_EVERY_S: Final = 0.5
_FLUSH_AT: Final = 2_000
_QUEUED_AT_MOST: Final = 100_000
_OPEN_AT_MOST: Final = 20_000  # some instrumentations start spans that they never end
_SPANS_PER_LINE: Final = 500
_LINE_BYTES: Final = 2**20
_SHUTDOWN_MS: Final = 5_000

_Open = tuple[Span, Mapping[str, Any]]  # with the attributes that it began with


class RunFileProcessor(SpanProcessor):
    """Writes every span to the file of its run; what belongs to no run, to one for the process.

    Args:
        folder: where the files go; made if missing, readable by the user alone.
        resource: the resource that queue points are written with.
        max_file_bytes: a file takes no more spans past this size.
        keep_runs: so many runs, and as many files of what is outside of runs; older ones go.
        fsync: have the disk keep each write before anything else is done with it.
        sender: hears what was written, to send it.

    Raises:
        RunFileError: the folder cannot be made or written.
    """

    def __init__(
        self,
        folder: Path,
        resource: Resource,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        keep_runs: int = KEEP_RUNS,
        fsync: bool = False,
        sender: Sender | None = None,
    ) -> None:
        self.folder = folder
        self._resource = resource
        self._new_files = partial(
            RunFiles,
            folder,
            max_file_bytes=max_file_bytes,
            keep_runs=keep_runs,
            keep_bytes=_KEEP_BYTES,
            fsync=fsync,
            sender=sender,
        )
        self._sender = sender
        self._of_parent: frozenset[int] = frozenset()
        make_run_folder(folder)
        self._start()
        os.register_at_fork(after_in_child=self._start_in_child)

    def _start_in_child(self) -> None:
        # What the parent has queued or open, the parent writes, also where the child's copy of it
        # ends: as by `sys.exit()` in a child that was forked within a `with`.
        self._of_parent = self._of_parent | self._open.keys()
        self._sign.leave_to_parent()
        self._resource = clean.resource(self._resource)
        self._start()

    def _start(self) -> None:
        self.dropped = self.written = 0
        self._queue: deque[ReadableSpan | QueueChange] = deque()
        self._open: dict[int, _Open] = {}
        self._noted: dict[int, str] = {}  # the file of each open span's start note
        self._files = self._new_files()
        self._process_file = f"{OUTSIDE}{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
        self._sign = SignOfLife(self.folder, self._process_file)
        self._starting = threading.Lock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    # --- the hot path ---

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember a span as open."""
        with guarded("noting an open span"):
            if self._thread is None:
                self._start_thread()
                start_what_waits()
            context = span.get_span_context()
            if context is None or not context.trace_flags.sampled:
                return
            if len(self._open) < _OPEN_AT_MOST:
                self._open[context.span_id] = span, vars(span)["_attributes"].copy()
            else:
                why = "more spans are open than are noted: what is open is not shown of the others"
                log_once_a_minute(why, "%s (%d are)", why, _OPEN_AT_MOST)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue an ended span for the next flush."""
        with guarded("keeping a span"):
            context = span.context
            if context is None or not context.trace_flags.sampled:
                return
            if context.span_id not in self._of_parent:
                began = self._open.pop(context.span_id, None)
                self._put(span if began is None else with_marks(span, began[1]))

    def queue_changed(self, change: QueueChange) -> None:
        """Queue a change of the application's task queue for the next flush."""
        self._put(change)

    def _put(self, item: ReadableSpan | QueueChange) -> None:
        if self._stopped:
            self._drop_item(item, "they ended after shutdown()")
        elif len(self._queue) >= _QUEUED_AT_MOST:
            self._drop_item(item, "more spans end than the disk takes")
        else:
            self._queue.append(item)
            if len(self._queue) >= _FLUSH_AT:
                self._wake.set()

    def _drop_item(self, item: ReadableSpan | QueueChange, why: str) -> None:
        if not isinstance(item, QueueChange):
            self._drop(1, why)
            if item.context is not None:
                self._noted.pop(item.context.span_id, None)  # it is not open any more

    def _start_thread(self) -> None:
        with self._starting:  # not the lock that a slow disk may hold: the program waits for this
            if self._thread is None and not self._stopped:
                thread = threading.Thread(
                    target=self._run, name="otel-orchestrator-run-file", daemon=True
                )
                thread.start()  # may fail: then the next span tries again
                self._thread = thread

    def keep_metrics(self, data: MetricsData, before: Callable[[Path, int], None]) -> Path | None:
        """Write metrics that an endpoint did not take to the file of the process, at once.

        Args:
            data: the metrics.
            before: called with the file and its size before.

        Returns:
            The file; None if it cannot be written.
        """
        path = self._files.path_of(self._process_file)
        line = {"runFile": {"version": VERSION, "unsent": UNSENT}, **encode_metrics(data).to_dict()}
        if not self._flushing.acquire(timeout=_SHUTDOWN_MS / 1000):
            return None
        try:
            before(path, path.stat().st_size if path.exists() else 0)
            return path if self._write(self._process_file, [line_of(line)]) else None
        finally:
            self._files.make_room()
            self._flushing.release()

    # --- the writer ---

    def _run(self) -> None:
        clock = StepWatch()
        note_thread("writer")
        if self._sender is None:  # else that does it, before it looks for what is left to send
            close_dead(self.folder)
        while not self._stopped:
            self._wake.wait(_FLUSH_EVERY_S)
            self._wake.clear()
            clock.look()
            self.force_flush()
            note_thread("writer")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what is queued, and a start note for each open span that has none yet."""
        with guarded("writing the run file"):
            if not self._flushing.acquire(timeout=timeout_millis / 1000):
                return False
            try:
                self._flush()
            finally:
                self._flushing.release()
        return True

    def shutdown(self, timeout_millis: int = _SHUTDOWN_MS) -> None:
        """Write everything, end what is open, and stop; later spans are dropped and counted."""
        if self._stopped:
            return
        until = time.monotonic() + timeout_millis / 1000
        self.force_flush(timeout_millis)
        left_open = dict(self._open)
        self._stopped = True
        self._wake.set()
        if self._flushing.acquire(timeout=max(0.0, until - time.monotonic())):
            try:
                with guarded("ending the run files"):
                    self._end_open(left_open)
            finally:
                self._flushing.release()
        if self.dropped:
            logger.warning("%d spans are missing in the run files", self.dropped)

    def _flush(self) -> None:
        items = [self._queue.popleft() for _ in range(len(self._queue))]
        spans: dict[str, list[ReadableSpan]] = {}
        changes: dict[str, list[QueueChange]] = {}
        notes = self._to_note()
        if (notes or items) and not os.access(self.folder, os.F_OK):
            self._make_folder_again()
        # Before the notes are there, and until after their ends are.
        if not self._say_alive({*self._noted.values(), *(self._file_of(s) for s in notes)}):
            notes = []
        for span in notes:
            name = self._file_of(span)
            spans.setdefault(name, []).append(span)
            if span.context is not None:
                self._noted[span.context.span_id] = name
        for item in items:
            if isinstance(item, QueueChange):
                changes.setdefault(item.run_id or self._process_file, []).append(item)
            else:
                spans.setdefault(self._file_of(item), []).append(item)
                if item.context is not None:
                    self._noted.pop(item.context.span_id, None)
        self._write_all(spans, changes)
        if self._sender is not None:
            self._sender.started(notes)

    def _make_folder_again(self) -> None:
        try:
            make_run_folder(self.folder)
        except RunFileError:
            return  # writing there says why
        self._noted.clear()
        why = "the folder of the run files was removed, and is made again: what was in it is gone"
        log_once_a_minute(why, "%s (%s)", why, self.folder)

    def _say_alive(self, names: set[str]) -> bool:
        try:
            self._sign.say(names)
        except OSError as error:
            log_once_a_minute(
                "sign of life",
                "open spans are not shown: %s cannot be written (%s)",
                self._sign.path.name,
                error.strerror,
            )
            return False
        return True

    def _end_open(self, left_open: dict[int, _Open]) -> None:
        self._flush()
        ended_ns = time.time_ns()
        spans: dict[str, list[ReadableSpan]] = {}
        for span_id, began in (left_open | self._open).items():
            # The others ended meanwhile, and were just written.
            if (name := self._noted.get(span_id)) is not None:
                snapshot = _now(began)
                ended = (
                    snapshot if snapshot.end_time is not None else ended_open(snapshot, ended_ns)
                )
                spans.setdefault(name, []).append(ended)
        self._write_all(spans, {})
        self._sign.remove()

    def _write_all(
        self, spans: dict[str, list[ReadableSpan]], changes: dict[str, list[QueueChange]]
    ) -> None:
        for name in {**spans, **changes}:
            self._write(name, list(self._lines(spans.get(name, []), changes.get(name, []))))
        self._files.make_room()

    def _lines(
        self, spans: Sequence[ReadableSpan], changes: Sequence[QueueChange]
    ) -> Iterator[Line]:
        for i in range(0, len(spans), _SPANS_PER_LINE):
            group = spans[i : i + _SPANS_PER_LINE]
            kept = clean.spans(group)
            self._drop(
                _ended(group) - _ended(kept), "their attributes cannot be cleaned of secrets"
            )
            if kept:
                yield from self._span_lines(kept)
        if changes:
            with guarded("writing the task queue's changes"):
                yield line_of(encode_queue(changes, self._resource))

    def _span_lines(self, spans: Sequence[ReadableSpan]) -> Iterator[Line]:
        ended = [span for span in spans if span.end_time]
        line = None
        try:
            line = line_of(encode_spans(spans).to_dict(), ended)
        except Exception as error:
            if len(spans) == 1:
                self._drop(1 if ended else 0, f"they cannot be encoded ({type(error).__name__})")
                return
        if line is not None and (len(line.data) <= _LINE_BYTES or len(spans) == 1):
            yield line
        else:  # a line is sent as a whole, and what cannot be encoded loses no others
            middle = len(spans) // 2
            yield from self._span_lines(spans[:middle])
            yield from self._span_lines(spans[middle:])

    def _to_note(self) -> list[ReadableSpan]:
        unnoted = [o for span_id, o in list(self._open.items()) if span_id not in self._noted]
        snapshots = [_now(began) for began in unnoted]
        # One that ended meanwhile is in the queue, or in this very batch, with its end.
        return [s for s in snapshots if s.end_time is None]

    def _file_of(self, span: ReadableSpan) -> str:
        run_id = (span.attributes or {}).get(Attr.RUN_ID)
        return run_id if isinstance(run_id, str) and names_a_file(run_id) else self._process_file

    def _write(self, name: str, lines: Sequence[Line]) -> bool:
        why = self._files.append(name, lines) if lines else None
        spans = [span for line in lines for span in line.ended]
        if why is None:
            self.written += len(spans)
        else:
            self._drop(len(spans), why, f"{name}.jsonl ")
            if self._sender is not None:
                self._sender.not_written(spans)
        return why is None

    def _drop(self, count: int, why: str, where: str = "") -> None:
        if count:
            self.dropped += count
            # Of a hundred files that are full, one line says so.
            log_once_a_minute(
                why, "spans are lost to the run file: %s%s (%d so far)", where, why, self.dropped
            )


def _now(began: _Open) -> ReadableSpan:
    span, at_start = began
    return with_marks(span._readable_span(), at_start)


def _ended(spans: Sequence[ReadableSpan]) -> int:
    return sum(1 for span in spans if span.end_time is not None)

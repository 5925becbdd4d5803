"""The run file: the durable local store that needs no server, one file of OTLP JSON lines a run.

A span processor takes ended spans and writes them every half second, in a thread of its own; the
hot path only appends to a bounded queue. A span that is still open at a flush is written once
without an end (a *start note*), so after a kill the file holds what ended and shows what was open;
the next process with the same folder, or `ship`, ends it there (`delivery.closing`).

Every line is one OTLP/JSON object (`resourceSpans` or `resourceMetrics`), made by OpenTelemetry's
own encoder; the first line also carries `{"runFile": {"version": 1}}`, which OTLP readers ignore.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from .._guard import guarded, log_once_a_minute, logger, note_thread
from ..alive import SignOfLife, writer_of
from ..clock import StepWatch
from ..errors import RunFileError
from ..private import open_file
from ..queue.gauges import QueueChange
from ..run_folder import make_run_folder, sync_folder
from ..runs import names_a_file
from ..semconv import Attr
from . import clean
from .closing import close_dead, ended_open
from .ledger import path_of as ledger_of
from .queue_points import encode_queue
from .sender import Sender
from .stored import Batch
from .stored_metrics import UNSENT

VERSION: Final = 1

_FLUSH_EVERY_S: Final = 0.5
_FLUSH_AT: Final = 2_000
_QUEUED_AT_MOST: Final = 100_000
_SPANS_PER_LINE: Final = 500
_SHUTDOWN_MS: Final = 5_000


class RunFileProcessor(SpanProcessor):
    """Writes every span to the file of its run; what belongs to no run, to one for the process.

    Args:
        folder: where the files go; made if missing, readable by the user alone.
        resource: the resource that queue points are written with.
        max_file_bytes: a file takes no more spans past this size.
        keep_runs, keep_bytes: older files are removed when a new one would exceed either.
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
        max_file_bytes: int = 256 * 2**20,
        keep_runs: int = 100,
        keep_bytes: int = 2 * 2**30,
        fsync: bool = False,
        sender: Sender | None = None,
    ) -> None:
        self.folder = folder
        self._resource = resource
        self._max_file_bytes = max_file_bytes
        self._keep_runs, self._keep_bytes = keep_runs, keep_bytes
        self._fsync = fsync
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
        self._start()

    def _start(self) -> None:
        self.dropped = self.written = 0
        self._queue: deque[ReadableSpan | QueueChange] = deque()
        self._open: dict[int, Span] = {}
        self._noted: dict[int, str] = {}  # the file of each open span's start note
        self._full: set[str] = set()
        self._process_file = f"process-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
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
            context = span.get_span_context()
            if context is not None and context.trace_flags.sampled:
                self._open[context.span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        """Queue an ended span for the next flush."""
        with guarded("keeping a span"):
            context = span.context
            if context is None or not context.trace_flags.sampled:
                return
            if context.span_id not in self._of_parent:
                self._open.pop(context.span_id, None)
                self._put(span)

    def queue_changed(self, change: QueueChange) -> None:
        """Queue a change of the application's task queue for the next flush."""
        self._put(change)

    def _put(self, item: ReadableSpan | QueueChange) -> None:
        if self._stopped:
            self._drop(1, "they ended after shutdown()")
            return
        if len(self._queue) >= _QUEUED_AT_MOST:
            self._drop(1, "more spans end than the disk takes")
            return
        self._queue.append(item)
        if len(self._queue) >= _FLUSH_AT:
            self._wake.set()

    def _start_thread(self) -> None:
        with self._starting:  # not the lock that a slow disk may hold: the program waits for this
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(
                    target=self._run, name="otel-orchestrator-run-file", daemon=True
                )
                self._thread.start()

    def keep_metrics(self, data: MetricsData, before: Callable[[Path, int], None]) -> Path | None:
        """Write metrics that an endpoint did not take to the file of the process, at once.

        Args:
            data: the metrics.
            before: called with the file and its size before.

        Returns:
            The file; None if it cannot be written.
        """
        path = self.folder / f"{self._process_file}.jsonl"
        line = {"runFile": {"version": VERSION, "unsent": UNSENT}, **encode_metrics(data).to_dict()}
        with self._flushing:
            before(path, path.stat().st_size if path.exists() else 0)
            return path if self._write(self._process_file, [_Line(line, ())]) else None

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

    def shutdown(self) -> None:
        """Write everything, end what is open, and stop; later spans are dropped and counted."""
        if self._stopped:
            return
        self.force_flush(_SHUTDOWN_MS)
        left_open = dict(self._open)
        self._stopped = True
        self._wake.set()
        if self._flushing.acquire(timeout=_SHUTDOWN_MS / 1000):
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

    def _end_open(self, left_open: dict[int, Span]) -> None:
        self._flush()
        ended_ns = time.time_ns()
        spans: dict[str, list[ReadableSpan]] = {}
        for span_id, span in (left_open | self._open).items():
            # The others ended meanwhile, and were just written.
            if (name := self._noted.get(span_id)) is not None:
                snapshot = span._readable_span()
                ended = snapshot if snapshot.end_time else ended_open(snapshot, ended_ns)
                spans.setdefault(name, []).append(ended)
        self._write_all(spans, {})
        self._sign.remove()

    def _write_all(
        self, spans: dict[str, list[ReadableSpan]], changes: dict[str, list[QueueChange]]
    ) -> None:
        for name in {**spans, **changes}:
            self._write(name, list(self._lines(spans.get(name, []), changes.get(name, []))))

    def _lines(
        self, spans: Sequence[ReadableSpan], changes: Sequence[QueueChange]
    ) -> Iterator[_Line]:
        for i in range(0, len(spans), _SPANS_PER_LINE):
            group = clean.spans(spans[i : i + _SPANS_PER_LINE])
            ended = [span for span in group if span.end_time]
            try:
                yield _Line(encode_spans(group).to_dict(), ended)
            except Exception as error:
                self._drop(len(ended), f"they cannot be encoded ({error})")
        if changes:
            with guarded("writing the task queue's changes"):
                yield _Line(encode_queue(changes, self._resource), ())

    def _to_note(self) -> list[ReadableSpan]:
        unnoted = [s for span_id, s in list(self._open.items()) if span_id not in self._noted]
        snapshots = [span._readable_span() for span in unnoted]
        # One that ended meanwhile is in the queue, or in this very batch, with its end.
        return [s for s in snapshots if not s.end_time]

    def _file_of(self, span: ReadableSpan) -> str:
        run_id = (span.attributes or {}).get(Attr.RUN_ID)
        return run_id if isinstance(run_id, str) and names_a_file(run_id) else self._process_file

    def _write(self, name: str, lines: Sequence[_Line]) -> bool:
        path = self.folder / f"{name}.jsonl"
        why = f"{path.name} is full" if name in self._full else None
        if why is None and lines:
            try:
                descriptor = open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
                try:
                    why = self._append(descriptor, path, lines)
                finally:
                    os.close(descriptor)
            except OSError as error:
                why = f"{path.name} cannot be written: {error.strerror}"
        spans = [span for line in lines for span in line.ended]
        if why is None:
            self.written += len(spans)
        else:
            self._drop(len(spans), why)
            if self._sender is not None:
                self._sender.not_written(spans)
        return why is None

    def _append(self, descriptor: int, path: Path, lines: Sequence[_Line]) -> str | None:
        """Append lines and tell the sender; return why they could not be."""
        size = os.fstat(descriptor).st_size
        if size == 0:
            lines[0].content.setdefault("runFile", {"version": VERSION})
            self._prune(keep=path)
        encoded = [json.dumps(o.content, separators=(",", ":")).encode() + b"\n" for o in lines]
        if size + sum(map(len, encoded)) > self._max_file_bytes:
            self._full.add(path.stem)
            os.write(descriptor, b'{"resourceSpans":[],"runFile":{"version":1,"full":true}}\n')
            return f"{path.name} is full"
        if size and _last_byte(descriptor) != b"\n":
            encoded[0] = b"\n" + encoded[0]  # a process was killed while it wrote here
        data = b"".join(encoded)
        if self._sender is not None:
            self._sender.will_be_written(path)
        written = os.write(descriptor, data)
        if written < len(data):  # a disk that filled up: do not leave half a line behind
            if os.fstat(descriptor).st_size == size + written:  # nobody else has written since
                os.ftruncate(descriptor, size)
            return "the disk is full"
        if self._fsync:
            os.fsync(descriptor)
            if size == 0:
                sync_folder(self.folder)
        if self._sender is not None:
            # Others may append to this file as well: only now is it known where this went.
            end = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
            for line, content in zip(lines, encoded, strict=True):
                start, end = end, end + len(content)
                self._sender.written(path, Batch(start, end, line.ended))
        return None

    def _drop(self, count: int, why: str) -> None:
        if count:
            self.dropped += count
            log_once_a_minute(
                why, "spans are lost to the run file: %s (%d so far)", why, self.dropped
            )

    def _prune(self, keep: Path) -> None:
        files = sorted(
            ((p.stat().st_mtime, p.stat().st_size, p) for p in self.folder.glob("*.jsonl")),
            reverse=True,
        )
        total = 0
        for position, (_, size, path) in enumerate(files):
            total += size
            if path != keep and (position >= self._keep_runs or total > self._keep_bytes):
                if (writer := writer_of(path)) is not None and writer.is_alive:
                    continue  # a run that has been quiet for long, and goes on
                if self._sender is not None:
                    self._sender.removed(path)
                path.unlink(missing_ok=True)
                ledger_of(path).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line to write, and the spans of it that are to be sent: those that ended."""

    content: dict[str, Any]
    ended: Sequence[ReadableSpan]


def _last_byte(descriptor: int) -> bytes:
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)

"""The sender of a live process: what was written to the run files goes to the endpoint.

It works in a thread of its own, behind the run file's. What was just written is still in memory;
after an outage it is read from the files. What the process cannot send before it ends stays
there: the next process with the same folder and endpoint sends it, or `otel-orchestrator ship`.
"""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from .._guard import guarded, log_once_a_minute, note_thread
from . import clean
from .closing import close_dead
from .ledger import Sent, open_ledger, owed_to
from .pending import pending
from .sending import NOTHING, UnreachableError, count_unsent, export, send_stored
from .stored import SPANS_AT_ONCE, Batch

_HELD_AT_MOST: Final = 10_000  # spans in memory; more are read from the files again
_SOONEST_S: Final = 1.0
_LATEST_S: Final = 30.0
_LAST_WORDS_S: Final = 30.0  # for a caller of `shutdown` that sets no bound of its own


@dataclass(slots=True)
class _Owed:
    """A run file that the endpoint does not have all of.

    Attributes:
        end: the bytes that are written.
        spans: how many spans of this process are not sent yet.
        sent: what the endpoint is known to have.
        held: what is still in memory, in order.
    """

    end: int
    spans: int = 0
    sent: Sent = NOTHING
    held: deque[Batch] = field(default_factory=deque)


class Sender(SpanProcessor):
    """Sends run files as they grow, and what earlier processes left of theirs.

    A span processor for its `force_flush` and `shutdown` only; spans come from the run file.

    Args:
        folder: the run files.
        endpoint: the name of the endpoint in ledgers.
        make_exporter: makes what sends; called at once, and in a forked child again.
        shows_pending: send a span without length for each that is open.
    """

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        make_exporter: Callable[[], SpanExporter],
        *,
        shows_pending: bool = False,
    ) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._make_exporter = make_exporter
        self._shows_pending = shows_pending
        self._exporter: SpanExporter | None = make_exporter()
        self._start()
        os.register_at_fork(after_in_child=self._start_in_child)

    def _start_in_child(self) -> None:
        # What the parent wrote, the parent sends; and its connections are its own.
        self._exporter = None
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._owed: dict[Path, _Owed] = {}
        self._unstored: deque[ReadableSpan] = deque()
        self._held = 0
        self._dropped = 0
        self._wake = threading.Event()
        self._is_stopping = False
        self._is_behind = False  # there is more to send, so try again soon
        self._is_down = False  # the endpoint took nothing at the last try
        self._is_idle = threading.Event()
        self._thread: threading.Thread | None = None

    # --- called by the run file's writer ---

    def will_be_written(self, run_file: Path) -> None:
        """Note that a run file is to be sent, before there is anything in it that a kill leaves."""
        with self._lock:
            if run_file not in self._owed:
                self._note_debt(run_file)

    def written(self, run_file: Path, batch: Batch) -> None:
        """Take note of what was written to a run file."""
        with self._lock:
            owed = self._owed.get(run_file)
            if owed is None:
                owed = self._owed[run_file] = _Owed(batch.end)
            owed.end = max(owed.end, batch.end)
            owed.spans += len(batch.spans)
            if self._held + len(batch.spans) <= _HELD_AT_MOST:
                owed.held.append(batch)
                self._held += len(batch.spans)
        self._go()

    def _note_debt(self, run_file: Path) -> None:
        # So that, whatever happens, it is known that this file is to be sent there.
        with guarded("noting that a run file is to be sent"):
            try:
                with open_ledger(run_file, patience_s=0) as ledger:
                    if ledger.sent_to(self._endpoint) is None:
                        ledger.note(self._endpoint, NOTHING)
            except OSError:
                return  # somebody is sending it, or it cannot be written: then `ship` has to

    def started(self, spans: Sequence[ReadableSpan]) -> None:
        """Show spans that have been open for a moment, if that is wanted and anybody listens."""
        if self._shows_pending and spans and not self._is_down:
            self.not_written([pending(span) for span in clean.spans(spans)])

    def not_written(self, spans: Sequence[ReadableSpan]) -> None:
        """Take spans that no run file has room for: they are sent if possible, but kept nowhere."""
        with self._lock:
            self._unstored.extend(spans)
            self._bound_unstored(_HELD_AT_MOST)
        self._go()

    def _bound_unstored(self, at_most: int) -> None:
        too_many = len(self._unstored) - at_most
        if too_many <= 0:
            return
        for _ in range(too_many):
            self._unstored.popleft()
        self._dropped += too_many
        log_once_a_minute(
            "spans dropped",
            "%d spans are lost so far: no run file has room for them, and %s does not take them",
            self._dropped,
            self._endpoint,
        )

    def removed(self, run_file: Path) -> None:
        """Count what is lost with a run file that has to make room for newer ones."""
        if owed_to(run_file).get(self._endpoint):
            lost = count_unsent(run_file, self._endpoint)
            self._dropped += lost
            log_once_a_minute(
                "removed before it was sent",
                "%s was removed before %s took all of it, %d spans: more runs than"
                " configure(keep_runs=...) allows are waiting; %d spans are lost so far",
                run_file.name,
                self._endpoint,
                lost,
                self._dropped,
            )
        with self._lock:
            self._forget(run_file)

    def _go(self) -> None:
        self._is_idle.clear()  # set again once all is sent
        if self._thread is None and not self._is_stopping:
            self._thread = threading.Thread(
                target=self._run, name="otel-orchestrator-sender", daemon=True
            )
            self._thread.start()
        if not self._is_down:
            self._wake.set()

    # --- called by the tracer provider ---

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until everything that was written is sent; whether it is."""
        with guarded("waiting for what is sent"):
            if self._thread is None:
                return True
            self._wake.set()
            return self._is_idle.wait(timeout_millis / 1000)
        return False

    def shutdown(self) -> None:
        """Send what is left, unless the endpoint did not answer a moment ago."""
        self._is_stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_S)

    def unsent(self) -> int:
        """Return how many spans of this process are not sent."""
        with self._lock:
            return sum(owed.spans for owed in self._owed.values())

    # --- the thread ---

    def _run(self) -> None:
        note_thread("sender")
        exporter = self._exporter or self._make_exporter()
        self._take_over()
        pause_s = _SOONEST_S
        while not (self._is_stopping and self._is_idle.is_set()):
            self._wake.wait(random.uniform(pause_s / 2, pause_s) if self._is_behind else None)
            if self._is_stopping and self._is_down:
                break  # all is in the files, and nobody wants to wait for a dead endpoint at exit
            if not self._is_stopping:
                self._wake.clear()
            with guarded("sending run files"):
                self._send_all(exporter)
                note_thread("sender")
            pause_s = min(_LATEST_S, 2 * pause_s) if self._is_down else _SOONEST_S
        exporter.shutdown()
        with self._lock:
            self._bound_unstored(at_most=0)

    def _take_over(self) -> None:
        close_dead(self._folder)
        with guarded("looking for what earlier programs could not send"):
            files = sorted((p.stat().st_mtime, p) for p in self._folder.glob("*.jsonl"))
            for _, path in files:
                if owed_to(path).get(self._endpoint):
                    with self._lock:
                        self._owed.setdefault(path, _Owed(path.stat().st_size))

    def _send_all(self, exporter: SpanExporter) -> None:
        with self._lock:
            owed = list(self._owed)
        try:
            self._send_unstored(exporter)
            for run_file in owed:
                self._send(exporter, run_file)
            self._is_down = False
        except UnreachableError:
            self._is_down = True
        with self._lock:
            if self._is_down:
                self._held = 0
                for what in self._owed.values():
                    what.held.clear()
            self._is_behind = bool(self._owed or self._unstored)
            if not self._is_behind:
                self._is_idle.set()

    def _send_unstored(self, exporter: SpanExporter) -> None:
        while self._unstored:
            with self._lock:
                count = min(SPANS_AT_ONCE, len(self._unstored))
                spans = [self._unstored.popleft() for _ in range(count)]
            try:
                export(exporter, spans)
            except UnreachableError:
                with self._lock:
                    self._unstored.extendleft(reversed(spans))
                    self._bound_unstored(_HELD_AT_MOST)
                raise

    def _send(self, exporter: SpanExporter, run_file: Path) -> None:
        with self._lock:
            owed = self._owed.get(run_file)
            if owed is None:
                return
            end = owed.end

        def progress(sent: Sent, spans: int) -> None:
            if sent.refused > owed.sent.refused:
                log_once_a_minute(
                    "spans refused",
                    "%s refuses %d spans of %s for good",
                    self._endpoint,
                    sent.refused,
                    run_file.name,
                )
            owed.sent, owed.spans = sent, max(0, owed.spans - spans)

        try:
            with open_ledger(run_file) as ledger:
                send_stored(
                    ledger,
                    run_file,
                    self._endpoint,
                    exporter,
                    known=owed.sent,
                    end=end,
                    held=lambda start: self._held_at(owed, start),
                    progress=progress,
                )
        except BlockingIOError:
            return  # `ship` is at it, or another program
        except OSError as error:
            self._send_without_file(exporter, run_file, owed, error)
            return
        with self._lock:
            if owed.end == end:
                self._forget(run_file)

    def _send_without_file(
        self, exporter: SpanExporter, run_file: Path, owed: _Owed, error: OSError
    ) -> None:
        with self._lock:
            spans = [span for batch in owed.held for span in batch.spans]
            self._unstored.extend(spans)
            self._bound_unstored(_HELD_AT_MOST)
            self._forget(run_file)
        if owed.spans > len(spans):
            log_once_a_minute(
                "a run file that is gone",
                "%s cannot be read any more (%s): %d spans in it are not sent",
                run_file.name,
                error.strerror,
                owed.spans - len(spans),
            )
        self._send_unstored(exporter)

    def _held_at(self, owed: _Owed, start: int) -> Batch | None:
        with self._lock:
            while owed.held and owed.held[0].start < start:
                self._held -= len(owed.held.popleft().spans)
            end, spans = start, list[ReadableSpan]()
            while owed.held and owed.held[0].start == end and len(spans) < SPANS_AT_ONCE:
                batch = owed.held.popleft()
                end = batch.end
                spans.extend(batch.spans)
            self._held -= len(spans)
        return Batch(start, end, spans) if end > start else None

    def _forget(self, run_file: Path) -> None:
        owed = self._owed.pop(run_file, None)
        if owed is not None:
            self._held -= sum(len(batch.spans) for batch in owed.held)

"""The sender of a live process: what was written to the run files goes to the endpoint.

It works in a thread of its own, behind the run file's. What was just written is still in memory;
after an outage it is read from the files. What the process cannot send before it ends stays
there: the next process with the same folder and endpoint sends it, or `otel-orchestrator ship`.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from .._guard import guarded, log_once_a_minute, note_thread
from ..run_folder import run_files
from . import clean
from .closing import close_dead
from .ledger import Sent, open_ledger, owed_to
from .owed import Owed
from .pending import pending
from .sending import NOTHING, UnansweredError, UnreachableError, export, send_stored
from .stored import BYTES_AT_ONCE, SPANS_AT_ONCE, Batch, joined

_HELD_AT_MOST: Final = 10_000  # spans in memory; more are read from the files again
_SOONEST_S: Final = 1.0
_LATEST_S: Final = 30.0
_RESTS_TIMES: Final = 9  # as long as the try took: others have nine tenths of the time
_AT_THE_END_S: Final = 0.01
_LAST_WORDS_S: Final = 30.0  # for a caller of `shutdown` that sets no bound of its own
_LAST_LOOK_S: Final = 0.1  # for a thread that only has to see that it is to end


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
        self.endpoint = endpoint
        self._make_exporter = make_exporter
        self._shows_pending = shows_pending
        self._exporter: SpanExporter | None = make_exporter()
        # The endpoint took nothing at the last try; what the parent knew, a forked child knows.
        self._is_down = False
        self._start()
        os.register_at_fork(after_in_child=self._start_in_child)

    def _start_in_child(self) -> None:
        # What the parent wrote, the parent sends; and its connections are its own.
        self._exporter = None
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._owed: dict[Path, Owed] = {}
        self._unstored: deque[ReadableSpan] = deque()
        self._unstored_under_way = 0
        self._held = 0
        self._dropped = 0
        self._wake = threading.Event()
        self._is_stopping = False
        self._gives_up_at = math.inf
        self._is_behind = False  # there is more to send, so try again soon
        self._is_idle = threading.Event()
        self._thread: threading.Thread | None = None

    # --- called by the run file's writer ---

    def will_be_written(self, run_file: Path, *, is_new: bool) -> None:
        """Note that a run file is to be sent, before there is anything in it that a kill leaves."""
        with self._lock:
            if is_new or run_file not in self._owed:
                self._note_debt(run_file, is_new)

    def written(self, run_file: Path, batch: Batch) -> None:
        """Take note of what was written to a run file."""
        with self._lock:
            owed = self._owed.get(run_file)
            was_removed = owed is not None and batch.start < owed.own_end
            if owed is not None and was_removed:
                self._lose(run_file, owed)
            if owed is None or was_removed:
                owed = self._owed[run_file] = Owed(batch.end)
                owed.begins_anew = was_removed and batch.start == 0
            owed.wrote(batch.end, len(batch.spans))
            if self._held + len(batch.spans) <= _HELD_AT_MOST and not owed.rests_until:
                owed.held.append(batch)
                self._held += len(batch.spans)
        self._go()

    def _note_debt(self, run_file: Path, is_new: bool) -> None:
        # So that, whatever happens, it is known that this file is to be sent there.
        with guarded("noting that a run file is to be sent"):
            try:
                with open_ledger(run_file, patience_s=0) as ledger:
                    # What a new one knows is of a file that somebody has removed.
                    if is_new or ledger.sent_to(self.endpoint) is None:
                        ledger.note(self.endpoint, NOTHING)
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
            self.endpoint,
        )

    def removed(self, run_file: Path, owed: Mapping[str, int]) -> None:
        """Forget a run file that made room for newer ones, and count what is lost with it."""
        with self._lock:
            self._dropped += owed.get(self.endpoint, 0)
            self._forget(run_file, self._owed.get(run_file))

    def _go(self) -> None:
        self._is_idle.clear()  # set again once all is sent
        if self._thread is None and not self._is_stopping:
            thread = threading.Thread(None, self._run, "otel-orchestrator-sender", daemon=True)
            with suppress(RuntimeError):  # the next one tries again; at exit `shutdown` sends
                thread.start()
                self._thread = thread
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
        """Send what is left, unless the endpoint did not answer a moment ago.

        Then a try that is under way is not waited for either, if all of it is in the files.
        """
        self._gives_up_at = time.monotonic() + _LAST_WORDS_S
        self._is_stopping = True
        self._wake.set()
        if self._thread is not None:
            is_in_files = not (self._unstored or self._unstored_under_way)
            self._thread.join(_LAST_LOOK_S if self._is_down and is_in_files else _LAST_WORDS_S)
        elif self._owed or self._unstored:
            self._run()

    def unsent(self) -> int:
        """Return how many spans of this process are not sent."""
        with self._lock:
            unstored = len(self._unstored) + self._unstored_under_way
            return unstored + sum(owed.spans for owed in self._owed.values())

    @property
    def dropped(self) -> int:
        """How many spans will never be sent: no run file has them, and nobody took them."""
        return self._dropped

    # --- the thread ---

    def _run(self) -> None:
        note_thread("sender")
        exporter = self._exporter or self._make_exporter()
        self._take_over()
        pause_s = _SOONEST_S
        while not (self._is_stopping and self._is_idle.is_set()):
            tries_again = self._is_behind or self._is_down
            self._wake.wait(random.uniform(pause_s / 2, pause_s) if tries_again else None)
            is_hopeless = self._is_down or (self._owed and not (self._due() or self._unstored))
            if self._is_stopping and (is_hopeless or time.monotonic() > self._gives_up_at):
                break  # all is in the files, and nobody wants to wait for a dead endpoint at exit
            if not self._is_stopping:
                self._wake.clear()
            with guarded("sending run files"):
                self._send_all(exporter)
                note_thread("sender")
            if self._is_stopping and self._is_behind and not self._is_down:
                time.sleep(_AT_THE_END_S)  # somebody else may be sending a file, for a moment
            pause_s = min(_LATEST_S, 2 * pause_s) if self._is_down else _SOONEST_S
        exporter.shutdown()
        with self._lock:
            self._bound_unstored(at_most=0)

    def _take_over(self) -> None:
        close_dead(self._folder)
        with guarded("looking for what earlier programs could not send"):
            left = run_files(self._folder)
            # Of programs that end soon, each would begin with the one that is never answered.
            random.shuffle(left)
            for _, size, path in left:
                if owed_to(path).get(self.endpoint):
                    with self._lock:
                        self._owed.setdefault(path, Owed(size))

    def _due(self) -> list[Path]:
        """Return the run files that do not rest, of those that are to be sent."""
        now = time.monotonic()
        with self._lock:
            return [path for path, owed in self._owed.items() if owed.rests_until <= now]

    def _send_all(self, exporter: SpanExporter) -> None:
        due = self._due()
        try:
            self._send_unstored(exporter)
            for run_file in due:
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
                self._unstored_under_way = count
            try:
                if refused := export(exporter, spans):
                    self._say_refused(refused, "those that are in no run file")
            except UnreachableError as error:
                if error.refused:
                    self._say_refused(error.refused, "those that are in no run file")
                left = spans[error.done :]
                with self._lock:
                    if isinstance(error, UnansweredError):  # what is behind it goes first
                        self._unstored.append(left.pop(0))
                    self._unstored.extendleft(reversed(left))
                    self._unstored_under_way = 0
                    self._bound_unstored(_HELD_AT_MOST)
                if isinstance(error, UnansweredError):
                    return
                raise
            self._unstored_under_way = 0

    def _send(self, exporter: SpanExporter, run_file: Path) -> None:
        with self._lock:
            owed = self._owed.get(run_file)
            if owed is None:
                return
            end = owed.end

        def progress(sent: Sent, spans: int) -> None:
            if spans:
                self._is_down = False  # it answers again, so the rest is worth waiting for
            if sent.refused > owed.sent.refused:
                where = f"{run_file.name} (or they cannot be read back)"
                self._say_refused(sent.refused, where)
            with self._lock:
                owed.has_sent(sent)

        began = time.monotonic()
        try:
            with open_ledger(run_file) as ledger:
                if owed.begins_anew:  # what is noted by now is of the one before
                    with suppress(OSError):
                        ledger.note(self.endpoint, NOTHING)
                    owed.begins_anew = False
                send_stored(
                    ledger,
                    run_file,
                    self.endpoint,
                    exporter,
                    known=owed.sent,
                    end=end,
                    held=lambda start: self._held_at(owed, start),
                    progress=progress,
                )
        except UnansweredError:
            now = time.monotonic()
            with self._lock:
                self._let_go(owed)
                owed.rests_until = now + max(_LATEST_S, _RESTS_TIMES * (now - began))
            log_once_a_minute(
                "spans unanswered",
                "%s does not answer to a span of %s: it is kept, and tried again",
                self.endpoint,
                run_file.name,
            )
            return
        except BlockingIOError:
            return  # `ship` is at it, or another program
        except OSError as error:
            self._send_without_file(exporter, run_file, owed, error)
            return
        with self._lock:
            if owed.end == end:
                self._forget(run_file, owed)

    def _say_refused(self, count: int, what: str) -> None:
        log_once_a_minute(
            "spans refused", "%s refuses %d spans of %s for good", self.endpoint, count, what
        )

    def _send_without_file(
        self, exporter: SpanExporter, run_file: Path, owed: Owed, error: OSError
    ) -> None:
        with self._lock:
            lost = self._lose(run_file, owed)
        if lost:
            log_once_a_minute(
                "a run file that is gone",
                "%s cannot be read any more (%s): %d spans in it are not sent",
                run_file.name,
                error.strerror,
                lost,
            )
        self._send_unstored(exporter)

    def _lose(self, run_file: Path, owed: Owed) -> int:
        """Forget a file that is gone, but not what is still in memory; return how many are lost."""
        if self._owed.get(run_file) is not owed:
            return 0
        spans = [span for batch in owed.held for span in batch.spans]
        lost = max(0, owed.spans - len(spans))
        self._dropped += lost
        self._unstored.extend(spans)
        self._bound_unstored(_HELD_AT_MOST)
        self._forget(run_file, owed)
        return lost

    def _held_at(self, owed: Owed, start: int) -> Batch | None:
        with self._lock:
            while owed.held and owed.held[0].start < start:
                self._held -= len(owed.held.popleft().spans)
            end, count, lines = start, 0, list[Batch]()
            while owed.held and owed.held[0].start == end:
                line = owed.held[0]
                is_too_much = (
                    count + len(line.spans) > SPANS_AT_ONCE or line.end - start > BYTES_AT_ONCE
                )
                if count and is_too_much:
                    break
                end, count = line.end, count + len(line.spans)
                lines.append(owed.held.popleft())
            self._held -= count
        return joined(lines) if lines else None

    def _forget(self, run_file: Path, owed: Owed | None) -> None:
        # It may have been removed while it was sent, and another have taken its place.
        if owed is not None and self._owed.get(run_file) is owed:
            del self._owed[run_file]
            self._let_go(owed)

    def _let_go(self, owed: Owed) -> None:
        self._held -= sum(len(batch.spans) for batch in owed.held)
        owed.held.clear()

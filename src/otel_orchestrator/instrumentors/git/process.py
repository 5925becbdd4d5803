"""A git process under way: where its span starts, and the one place where it ends."""

from __future__ import annotations

import functools
import signal
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import SpanKind

from ... import semconv
from ..._guard import guarded
from ...lifecycle import collecting, spans
from ...semconv import Attr, Metric
from . import locks
from .command import GitCommand
from .repository import place_of
from .trace2 import Trace2

# Processes that have ended while somebody still reads what they said. Normally that takes no time;
# where nobody reads on, the span is ended at the program's next process, at the latest at exit.
_held: Final[deque[tuple[GitProcess, int]]] = deque()
_HELD_AT_MOST_NS: Final = 1_000_000_000

OURS: Final = "_otel_orchestrator_git"
"""The attribute of a Popen object, or of a loop's protocol, that tells which process it has."""

_OUT, _ERR = 1, 2


class GitProcess:
    """A git process under way: its span, and how to end it."""

    __slots__ = (
        "_command",
        "_exit",
        "_holders",
        "_is_handed_on",
        "_is_merged",
        "_let_go",
        "_operation",
        "_said",
        "_size",
        "_trace2",
        "_trace2_file",
    )

    def __init__(
        self,
        command: GitCommand,
        *,
        is_merged: bool = False,
        is_handed_on: bool = False,
        trace2: Trace2 | None = None,
    ) -> None:
        """Start the span.

        Args:
            command: what it runs.
            is_merged: what it complains about stands in its output.
            is_handed_on: its output goes to others than this program.
            trace2: where to ask for git's own events.
        """
        self._command = command
        self._is_merged = is_merged
        self._is_handed_on = is_handed_on
        self._let_go: tuple[str, ...] = ()
        self._holders = 0
        self._exit: tuple[int | None, int] | None = None
        self._size: int | None = None
        self._said = b""
        self._trace2 = trace2
        self._trace2_file: str | None = None
        self._operation = spans.start(
            f"{semconv.GIT} {command.name}",
            # One that waits for its caller's questions is alive for long, and hardly ever works.
            state=semconv.CONTAINER if command.is_served else semconv.WORKING,
            category=semconv.GIT,
            kind=SpanKind.CLIENT,
            attributes={Attr.PROCESS_EXECUTABLE: "git"},
            metric=None if command.is_served else Metric.GIT_DURATION,
            measured={Attr.GIT_COMMAND: command.name},
        )

    def __del__(self) -> None:
        # Nobody can wait for it any more, and nobody has.
        with guarded("ending a git span"):
            if not self._operation.end_ns and not self._operation.is_inherited:
                self.end_late(None)

    def environment(self, env: Mapping[Any, Any] | None) -> dict[Any, Any] | None:
        """Return an environment for the process instead of `env`; None if it is good as it is."""
        if self._trace2 is None:
            return None
        # A served one has no end that its events could be read at.
        asks = self._operation.span.is_recording() and not self._command.is_served
        changed, self._trace2_file = self._trace2.environment(self._operation, env, events_too=asks)
        return changed

    def failed_to_start(self, error: BaseException) -> None:
        """End the span: there is no process, or the program gave it up at once."""
        self._operation.fail(error)
        self._read_events()

    def started(self, pid: int) -> None:
        """Note the process id."""
        if not self._operation.end_ns:
            self._operation.span.set_attribute(Attr.PROCESS_PID, pid)

    def hold(self) -> None:
        """Keep the span from ending before `release`: what the process says is still being read.

        It ends with the instant of the exit in any case.
        """
        self._holders += 1

    def release(self) -> None:
        """Say that one of those who read has all of it."""
        self._holders -= 1
        if self._holders <= 0 and self._exit is not None:
            self._finish(*self._exit)

    def wrote(self, descriptor: int, data: bytes | str | None) -> None:
        """Note a piece of what the process wrote: its size, and of complaints their end."""
        if data is None:
            return
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        self._size = (self._size or 0) + size
        if descriptor == (_OUT if self._is_merged else _ERR):
            end = data[-locks.READ_AT_MOST :]
            said = end if isinstance(end, bytes) else end.encode(errors="replace")
            self._said = (self._said + said)[-locks.READ_AT_MOST :]

    def let_go(self, by: signal.Signals) -> None:
        """Note that the program wants nothing more of the process, and that it may die of this."""
        self._let_go += (by.name,)

    def closed(self) -> None:
        """Note that the program has closed a pipe that the process writes to."""
        # Not if it is held, for then it is read to the end. Nor if it talks to others, too, or they
        # get its output: where those break off, a program that has read everything has closed its
        # pipes as well.
        if self._holders <= 0 and not self._command.talks and not self._is_handed_on:
            self.let_go(signal.SIGPIPE)

    def end_late(self, code: int | None) -> None:
        """Note the end now and end the span at the next opportunity; for finalizers."""
        collecting.end_late(functools.partial(self.exited, code, spans.now_ns()))

    def exited(self, code: int | None, end_ns: int | None = None) -> None:
        """End the span, at once or as soon as everything that the process said is read.

        Args:
            code: negative for a signal, as in `subprocess`; None if nobody waited for it.
            end_ns: when that was, if not now.
        """
        if self._operation.end_ns or self._operation.is_inherited:
            return
        if self._exit is None:
            self._exit = (code, spans.now_ns() if end_ns is None else end_ns)
        if self._holders <= 0 or code is None:
            self._finish(*self._exit)
        else:
            _held.append((self, self._exit[1]))

    def finish(self) -> None:
        """End the span with what is known, if the process has ended."""
        if self._exit is not None and not self._operation.is_inherited:
            self._finish(*self._exit)

    def _finish(self, code: int | None, end_ns: int) -> None:
        operation = self._operation
        if operation.end_ns:
            return
        if operation.span.is_recording():
            with guarded("finding a git repository"):
                # Now and not at the start: checkout, switch and clone change it.
                operation.set(place_of(self._command).attributes())
            if self._size is not None:
                operation.span.set_attribute(Attr.GIT_OUTPUT_SIZE, self._size)
        self._end(code, end_ns)
        self._read_events()

    def _end(self, code: int | None, end_ns: int) -> None:
        operation, command = self._operation, self._command
        if code is None:
            operation.end(semconv.ABANDONED, end_ns=end_ns)
            return
        operation.span.set_attribute(Attr.PROCESS_EXIT_CODE, code)
        error_type = None if command.answers_with(code) else self._error_type(code)
        if error_type in self._let_go:
            operation.end(semconv.ABANDONED, end_ns=end_ns)
        elif error_type is None:
            operation.end(end_ns=end_ns)
        else:
            operation.end(semconv.ERROR, error_type=error_type, end_ns=end_ns)

    def _error_type(self, code: int) -> str | None:
        span = self._operation.span
        if code < 0:
            name = _signal_name(-code)
            span.set_attribute(Attr.GIT_SIGNAL, name)
            return None if self._command.is_served else name
        with guarded("reading why git failed"):
            lock = locks.lock_in(self._said.decode(errors="replace"))
            if not self._said and self._trace2 is not None and self._trace2_file is not None:
                # At once, because an ended span takes no attributes. It is there: git has ended.
                lock = self._trace2.lock_in(self._trace2_file)
            if lock is not None:
                span.set_attribute(Attr.GIT_LOCK, lock)
                return f"{lock}.lock"
        return str(code)

    def _read_events(self) -> None:
        path, self._trace2_file = self._trace2_file, None
        if path is not None and self._trace2 is not None:
            with guarded("reading git's events"):
                self._trace2.ended(path, self._operation)


def end_held_ones(*, every: bool = False) -> None:
    """End spans whose reader stopped reading.

    Args:
        every: also those that ended a moment ago: there will be no later opportunity.
    """
    while _held and (every or spans.now_ns() - _held[0][1] > _HELD_AT_MOST_NS):
        try:
            process, _ = _held.popleft()
        except IndexError:
            return
        with guarded("ending a git span"):
            process.finish()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

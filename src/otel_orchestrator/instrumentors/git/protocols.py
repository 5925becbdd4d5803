"""git that a loop starts: hooks on the protocol between it and `asyncio.subprocess.Process`.

That protocol is the same for every loop. What passes by is looked at and passed on; nothing is read
that the program does not read itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from ..._guard import guarded
from .process import OURS, GitProcess


@dataclass(slots=True)
class Start:
    """A process that a loop is starting, from before it exists until its pipes are connected."""

    process: GitProcess | None = None


starting_now: Final[ContextVar[Start | None]] = ContextVar("otel-orchestrator-git", default=None)
"""What the current asyncio task is starting. Popen's hook and the protocol's both find it here."""


def protocol_is_made(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap `__init__`: it belongs to the process that is being started."""

    @functools.wraps(original)
    def __init__(self: Any, *positional: Any, **named: Any) -> None:  # noqa: N807
        original(self, *positional, **named)
        if (starting := starting_now.get()) is not None:
            self.__dict__[OURS] = starting

    return __init__


def pipes_are_connected(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap `connection_made`: each pipe is read to its end."""

    @functools.wraps(original)
    def connection_made(self: Any, transport: Any) -> None:
        original(self, transport)
        with guarded("noting a pipe"):
            if (process := process_of(self)) is not None:
                for stream in (self.stdout, self.stderr):
                    if stream is not None:
                        process.hold()

    return connection_made


def pipe_carries(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap `pipe_data_received`: git said something."""

    @functools.wraps(original)
    def pipe_data_received(self: Any, fd: int, data: bytes) -> None:
        with guarded("reading what git said"):
            if (process := process_of(self)) is not None:
                process.wrote(fd, data)
        original(self, fd, data)

    return pipe_data_received


def pipe_is_closed(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap `pipe_connection_lost`: one that was read is at its end."""

    @functools.wraps(original)
    def pipe_connection_lost(self: Any, fd: int, exc: Exception | None) -> None:
        original(self, fd, exc)
        with guarded("ending a git span"):
            if fd != 0 and (process := process_of(self)) is not None:
                process.release()

    return pipe_connection_lost


def exits_without_popen(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap `process_exited`: how the process ended."""

    @functools.wraps(original)
    def process_exited(self: Any) -> None:
        with guarded("ending a git span"):
            if (process := process_of(self)) is not None:
                # With a Popen object, its return code was set before and this is too late.
                process.started(self._transport.get_pid())
                process.exited(self._transport.get_returncode())
        original(self)

    return process_exited


def process_of(protocol: Any) -> GitProcess | None:
    """Return the git process that a protocol belongs to."""
    starting = protocol.__dict__.get(OURS)
    return None if starting is None else starting.process

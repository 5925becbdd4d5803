"""Append to run files: whole lines or none, so much in each, and the oldest make room for new ones.

Others may append to the same file at the same time, and remove others.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from .._guard import log_once_a_minute
from ..alive import writer_of
from ..private import open_file
from ..run_file_header import VERSION
from ..run_folder import is_of_a_run, run_files, sync_folder
from .ledger import count_owed, is_of_metrics, owed_to
from .ledger import path_of as ledger_of
from .sender import Sender
from .stored import Batch
from .whole import append_whole

FULL: Final = "is full"
DISK_FULL: Final = "the disk is full"
_IS_FULL: Final = b'{"resourceSpans":[],"runFile":{"version":%d,"full":true}}\n' % VERSION


@dataclass(frozen=True, slots=True)
class Line:
    """A line to write, and the spans of it that are to be sent: those that ended."""

    data: bytes
    ended: Sequence[ReadableSpan] = ()


def line_of(content: dict[str, Any], ended: Sequence[ReadableSpan] = ()) -> Line:
    """Return a line with an object of OTLP JSON."""
    return Line(json.dumps(content, separators=(",", ":")).encode() + b"\n", ended)


class RunFiles:
    """The run files of a folder, to append to.

    Args:
        folder: where they are.
        max_file_bytes: a file takes no more lines past this size.
        keep_runs: so many runs, and as many files of what is outside of runs; older ones go.
        keep_bytes: of all of them together; older ones go when a new one would exceed it.
        fsync: have the disk keep each write before anything else is done with it.
        sender: hears what was written, to send it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_file_bytes: int,
        keep_runs: int,
        keep_bytes: int,
        fsync: bool,
        sender: Sender | None,
    ) -> None:
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._keep_runs, self._keep_bytes = keep_runs, keep_bytes
        self._fsync = fsync
        self._sender = sender
        self._full: set[str] = set()
        self._newest: Path | None = None  # for which no room was made yet

    def path_of(self, name: str) -> Path:
        """Return where the file of a run is."""
        return self._folder / f"{name}.jsonl"

    def append(self, name: str, lines: Sequence[Line]) -> str | None:
        """Append lines, all or none; return why they could not be, in a few words."""
        if name in self._full:
            return FULL
        path = self.path_of(name)
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                return self._append(descriptor, path, lines)
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"cannot be written: {error.strerror}"

    def _append(self, descriptor: int, path: Path, lines: Sequence[Line]) -> str | None:
        size = os.fstat(descriptor).st_size
        encoded = [line.data for line in lines]
        if size == 0:
            header = b'{"runFile":{"version":%d},' % VERSION
            if not encoded[0].startswith(b'{"runFile":'):
                encoded[0] = header + encoded[0][1:]
            self._newest = path
        # A process was killed while it wrote here.
        mend = b"\n" if size and _last_byte(descriptor) != b"\n" else b""
        if size + sum(map(len, encoded)) > self._max_file_bytes:
            self._full.add(path.stem)
            append_whole(descriptor, mend + _IS_FULL)
            return FULL
        encoded[0] = mend + encoded[0]
        data = b"".join(encoded)
        if self._sender is not None:
            self._sender.will_be_written(path, is_new=size == 0)
        if not append_whole(descriptor, data):
            return DISK_FULL
        if self._fsync:
            os.fsync(descriptor)
            if size == 0:
                sync_folder(self._folder)
        if self._sender is not None:
            # Others may append to this file as well: only now is it known where this went.
            end = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
            for line, content in zip(lines, encoded, strict=True):
                start, end = end, end + len(content)
                self._sender.written(path, Batch(start, end, line.ended))
        return None

    def make_room(self) -> None:
        """Remove the oldest files, if new ones were made: once for all that are made at a time."""
        keep, self._newest = self._newest, None
        if keep is None:
            return
        total = 0
        newer = Counter[bool]()  # what is outside of every run pushes out no run
        for _, size, path in reversed(run_files(self._folder)):
            total += size
            is_newest = newer[is_of_a_run(path)] < self._keep_runs
            newer[is_of_a_run(path)] += 1
            if path == keep or (is_newest and total <= self._keep_bytes):
                continue
            if (writer := writer_of(path)) is not None and writer.is_alive:
                continue  # a run that has been quiet for long, and goes on
            with suppress(OSError):  # gone meanwhile, or not ours to remove
                self._remove(path)

    def _remove(self, path: Path) -> None:
        owed = {to: count_owed(path, to) for to in owed_to(path)}
        path.unlink(missing_ok=True)
        ledger_of(path).unlink(missing_ok=True)
        for endpoint, count in owed.items():
            if count:
                log_once_a_minute(
                    f"removed before it was sent to {endpoint}",
                    "%s was removed before %s took all of it, %d %s: more runs than"
                    " configure(keep_runs=...) allows are waiting",
                    path.name,
                    endpoint,
                    count,
                    "exports of metrics" if is_of_metrics(endpoint) else "spans",
                )
        if self._sender is not None:
            self._sender.removed(path, owed)


def _last_byte(descriptor: int) -> bytes:
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)

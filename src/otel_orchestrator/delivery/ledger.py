"""The ledger beside a run file: how far each endpoint has acknowledged it.

A run file only grows, and is sent in order. So what an endpoint has taken is one number, the bytes
up to which it has acknowledged everything. `<run>.sent` gets a line for each acknowledged batch,
`{"to": ..., "bytes": ..., "count": ..., "refused": ...}`; of an endpoint, the last line counts.

A killed writer may leave half a line, or none for a batch that was taken: it is sent again then,
and readers know a span by its id. Whoever sends holds the ledger's lock, so two never send the
same batch at once, in whatever process they are.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..private import open_file
from ..run_file_header import UNSENT
from ..run_folder import LEDGER
from .whole import append_whole

_LONGEST: Final = 64 * 2**10
_OF_METRICS: Final = " (metrics)"
_ENDED_SPAN: Final = b'"endTimeUnixNano":"'  # in a text, its quotes would be escaped
_UNSENT_METRICS: Final = f'"unsent":"{UNSENT}"'.encode()


@dataclass(frozen=True, slots=True, order=True)
class Sent:
    """What an endpoint has of a run file.

    Attributes:
        bytes: everything before this offset was acknowledged, or refused for good.
        count: how many spans, or exports of metrics, were acknowledged.
        refused: how many the endpoint takes in no way, not even one by one, or that cannot be read
            back from the file.
    """

    bytes: int = 0
    count: int = 0
    refused: int = 0


class Ledger:
    """An open and locked ledger, as `open_ledger` gives it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._all = _parse(_content(descriptor))

    def sent_to(self, endpoint: str) -> Sent | None:
        """Return what an endpoint has; None if nothing was ever meant for it."""
        return self._all.get(endpoint)

    def note(self, endpoint: str, sent: Sent) -> None:
        """Write what an endpoint has by now.

        Raises:
            OSError: it cannot be written.
        """
        self._all[endpoint] = sent
        size = os.fstat(self._descriptor).st_size
        if append_whole(self._descriptor, _line(endpoint, sent).encode()) and size > _LONGEST:
            self._shorten()

    def _shorten(self) -> None:
        # Another file takes its name, so that a kill in between leaves the long one as it is.
        short = self._path.with_suffix(f"{LEDGER}-{os.getpid()}")
        descriptor = open_file(short, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        try:
            _lock(descriptor, patience_s=0)
            data = "".join(_line(to, has) for to, has in self._all.items()).encode()
            if os.write(descriptor, data) == len(data):
                short.replace(self._path)
                os.dup2(descriptor, self._descriptor, inheritable=False)
                _open[self._descriptor] = os.fstat(descriptor)
            else:
                short.unlink()
        finally:
            os.close(descriptor)


@contextmanager
def open_ledger(run_file: Path, patience_s: float = 0.5) -> Iterator[Ledger]:
    """Open the ledger of a run file, made if missing, for this process and thread alone.

    Args:
        run_file: whose ledger.
        patience_s: how long to wait for somebody else who is sending this file.

    Raises:
        BlockingIOError: somebody else is still sending it then.
        OSError: it cannot be opened.
    """
    path = path_of(run_file)
    descriptor = _open_locked(path, patience_s)
    try:
        yield Ledger(path, descriptor)
    finally:
        _unlock_and_close(descriptor)


def _open_locked(path: Path, patience_s: float) -> int:
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        _open[descriptor] = os.fstat(descriptor)
        try:
            _lock(descriptor, patience_s)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # taken away meanwhile, with its run file
            pass
        except BaseException:
            _unlock_and_close(descriptor)
            raise
        _unlock_and_close(descriptor)  # a shorter one has taken its place meanwhile


def _lock(descriptor: int, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)


def _unlock_and_close(descriptor: int) -> None:
    # Closing alone would leave it locked as long as a child that was forked meanwhile lives.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    _open.pop(descriptor, None)
    os.close(descriptor)


def _leave_to_parent() -> None:
    """Close what a forked child has inherited: if its parent is killed, it would hold the locks."""
    for descriptor, opened in _open.items():
        with suppress(OSError):  # the program may have closed every descriptor
            if os.path.samestat(os.fstat(descriptor), opened):
                os.close(descriptor)
    _open.clear()


_open: Final[dict[int, os.stat_result]] = {}
os.register_at_fork(after_in_child=_leave_to_parent)


def path_of(run_file: Path) -> Path:
    """Return where the ledger of a run file is."""
    return run_file.with_suffix(LEDGER)


def owed_to(run_file: Path) -> dict[str, int]:
    """Return how many bytes of a run file each endpoint that it was meant for does not have yet."""
    try:
        content, size = path_of(run_file).read_bytes(), run_file.stat().st_size
    except OSError:
        return {}
    owed = {endpoint: size - sent.bytes for endpoint, sent in _parse(content).items()}
    return {endpoint: count for endpoint, count in owed.items() if count > 0}


def metrics_of(endpoint: str) -> str:
    """Return the name that ledgers have for an endpoint's metrics."""
    return f"{endpoint}{_OF_METRICS}"


def is_of_metrics(name: str) -> bool:
    """Return whether a ledger's name for an endpoint is that of its metrics."""
    return name.endswith(_OF_METRICS)


def count_owed(run_file: Path, name: str) -> int:
    """Count what an endpoint does not have of a run file: ended spans, or exports of metrics.

    By what their lines hold: reading them would take long. 0 if the file cannot be read.
    """
    marker = _UNSENT_METRICS if is_of_metrics(name) else _ENDED_SPAN
    try:
        start = _parse(path_of(run_file).read_bytes()).get(name, Sent()).bytes
        with run_file.open("rb") as file:
            file.seek(start)
            return sum(line.count(marker) for line in file)
    except OSError:
        return 0


def _content(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 4 * _LONGEST)


def _parse(content: bytes) -> dict[str, Sent]:
    found: dict[str, Sent] = {}
    for line in content.splitlines():
        try:
            said: Any = json.loads(line)
            sent = Sent(*(int(said[k]) for k in ("bytes", "count", "refused")))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # torn: what it acknowledged is sent again
        if sent >= Sent():  # no file has an offset below 0, and one such would stop all others
            found[str(said["to"])] = sent
    return found


def _line(endpoint: str, sent: Sent) -> str:
    said = {"to": endpoint, "bytes": sent.bytes, "count": sent.count, "refused": sent.refused}
    return json.dumps(said, separators=(",", ":")) + "\n"

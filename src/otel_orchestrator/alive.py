"""How a killed program is told from one that goes on: a file that each writer of run files keeps.

`<name>.alive` lies beside the run files, under a lock that the kernel takes back when the process
ends, however it ends. A pid would not do: it may be somebody else's by now, and in a container it
is 1 every time. The file names the run files in which spans may be open, a line each, and the time
of its last change is the last sign of life. A clean end removes it; one that is left without its
lock belongs to a program that was killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from .private import open_file

try:
    import fcntl
except ImportError:  # Windows: no program is known to be gone, so nothing is closed
    fcntl = None  # type: ignore[assignment]

_SUFFIX: Final = ".alive"


class SignOfLife:
    """This process's file; made when there is something to say.

    Args:
        folder: the run files.
        name: of the process.
    """

    def __init__(self, folder: Path, name: str) -> None:
        # Containers that share a folder may all have this pid, and may start in one second.
        self.path = folder / f"{name}-{os.urandom(4).hex()}{_SUFFIX}"
        self._descriptor: int | None = None
        self._made: os.stat_result | None = None
        self._said: frozenset[str] = frozenset()

    def say(self, run_files: Collection[str]) -> None:
        """Say that this process lives, and in which run files its spans may be open.

        Raises:
            OSError: it cannot be said: then nobody must see a span of it as open.
        """
        names = frozenset(run_files)
        if names == self._said and (not names or (self._is_open() and self._touched())):
            return
        if not self._is_open() or not self.path.exists():
            self._make()
        assert self._descriptor is not None
        data = "".join(f"{name}\n" for name in sorted(names)).encode()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        if os.write(self._descriptor, data) < len(data):
            raise OSError(28, "No space left on device")
        os.ftruncate(self._descriptor, len(data))
        self._said = names

    def _touched(self) -> bool:
        now_ns = time.time_ns()
        try:
            os.utime(self.path, ns=(now_ns, now_ns))
        except FileNotFoundError:  # somebody has cleared the folder
            return False
        except OSError:
            pass
        return True

    def _make(self) -> None:
        self.leave_to_parent()
        # Nobody may find it without its lock.
        partial = self.path.with_suffix(".partial")
        descriptor = open_file(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            _can_lock(descriptor)
            partial.rename(self.path)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._made = descriptor, os.fstat(descriptor)

    def _is_open(self) -> bool:
        # A program that closes every descriptor (a daemon does) may have a file of its own there.
        if self._descriptor is None or self._made is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._made)
        except OSError:
            return False

    def leave_to_parent(self) -> None:
        """Close what a forked child has inherited: the parent alone is to hold the lock."""
        if self._descriptor is not None and self._is_open():
            os.close(self._descriptor)
        self._descriptor, self._said = None, frozenset()

    def remove(self) -> None:
        """Take it away: no span of this process is open any more."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink()
            self.leave_to_parent()


@dataclass(frozen=True, slots=True)
class Writer:
    """A process that may have left spans open in a run file.

    Attributes:
        is_alive: whether it still runs, as far as can be told.
        seen_ns: its last sign of life.
    """

    is_alive: bool
    seen_ns: int


def writer_of(run_file: Path, besides: Path | None = None) -> Writer | None:
    """Return who may have spans open in a run file: one that lives, else who was seen last.

    None if nobody has, or if that is not known: the file was copied, or is of an older version.

    Args:
        run_file: which.
        besides: whose sign of life is passed over.
    """
    found: Writer | None = None
    for path in _signs(run_file.parent):
        with suppress(OSError), _opened(path, "rb") as sign:
            if path == besides or run_file.stem not in _names_in(sign.read()):
                continue
            seen_ns = os.fstat(sign.fileno()).st_mtime_ns
            writer = Writer(not _can_lock(sign.fileno(), only_look=True), seen_ns)
            if writer.is_alive:
                return writer
            if found is None or writer.seen_ns > found.seen_ns:
                found = writer
    return found


def close_left(folder: Path, close: Callable[[Path, int], None]) -> None:
    """Have every run file closed that killed programs have left open, each by one process alone.

    Args:
        folder: the run files. Those that a living program has spans open in are not touched.
        close: called with a run file and the last sign of life; may raise OSError, then this is
            left to the next who tries.
    """
    for path in _signs(folder):
        with suppress(OSError), _opened(path, "r+b") as sign:
            if not _can_lock(sign.fileno()):
                continue
            seen_ns = os.fstat(sign.fileno()).st_mtime_ns
            is_done = True
            for run_file in sorted(folder / f"{name}.jsonl" for name in _names_in(sign.read())):
                other = writer_of(run_file, besides=path)
                if other is not None and other.is_alive:
                    is_done = False
                elif run_file.exists():
                    close(run_file, seen_ns if other is None else max(seen_ns, other.seen_ns))
            if is_done:
                path.unlink()


@contextmanager
def _opened(path: Path, mode: Literal["rb", "r+b"]) -> Iterator[BinaryIO]:
    with path.open(mode) as sign:
        try:
            yield sign
        finally:
            if fcntl is not None:  # closing would leave the lock to a child that was forked now
                fcntl.flock(sign.fileno(), fcntl.LOCK_UN)


def _signs(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except OSError:
        return []


def _names_in(content: bytes) -> set[str]:
    return {name for name in content.decode(errors="replace").split("\n") if name}


def _can_lock(descriptor: int, *, only_look: bool = False) -> bool:
    """Lock an open file, until it is closed; whether nobody else has it locked."""
    try:
        if fcntl is not None:
            # Those who only look must not be in each other's way.
            how = fcntl.LOCK_SH if only_look else fcntl.LOCK_EX
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
    except OSError:  # somebody has; or nobody can, on this file system, and then nothing is known
        pass
    return False

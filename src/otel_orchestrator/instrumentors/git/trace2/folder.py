"""The private folder that git writes its events to, and how it goes away again in any case."""
# ruff: noqa: PTH112, PTH118

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from ....private import open_file

PREFIX: Final = "otel-orchestrator-trace2-"
_LOCK: Final = ".lock"
_STALE_AFTER_S: Final = 60.0


class PrivateFolder:
    """A folder of this process, made when it is first needed; readable by nobody else."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._lock: int | None = None
        # Threads need it for the first time at once. A signal handler may come in between.
        self._making = threading.RLock()

    def file(self, name: str) -> str:
        """Return the path of a file in it, which need not exist."""
        # Programs that tidy up temporary folders take it away from long-lived processes.
        with self._making:
            if self._path is None or not os.path.isdir(self._path):
                self._make()
            assert self._path is not None
            return os.path.join(self._path, name)

    def remove(self) -> None:
        """Delete it and everything in it."""
        path, self._path = self._path, None
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
        self._unlock()

    def _make(self) -> None:
        import fcntl

        self._unlock()
        path = tempfile.mkdtemp(prefix=PREFIX)
        os.chmod(path, 0o700)  # the umask may have taken it from us  # noqa: PTH101
        # Held as long as this process lives, however it dies: so others know what is left over.
        # Process ids would not tell: containers that share a folder do not share them.
        self._lock = open_file(Path(path) / _LOCK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._path = path

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def forget(self) -> None:
        """Let go of it, in a forked child: the folder and its lock are the parent's."""
        self._path = None
        self._making = threading.RLock()  # a thread that held it is not here
        self._unlock()


def remove_stale_ones() -> None:
    """Delete folders of processes that were killed."""
    import fcntl

    for found in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            status = found.lstat()
            # Not one that is just being made, nor anybody else's.
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _STALE_AFTER_S:
                continue
            lock = os.open(found / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(found, ignore_errors=True)
        except OSError:  # alive
            continue
        finally:
            os.close(lock)

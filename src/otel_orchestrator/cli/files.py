"""What a command writes: files, whole or not at all, and what it prints, to a reader or to none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from ..errors import OrchestratorError


def check_free(path: Path, *, force: bool) -> None:
    """Refuse to overwrite a file, unless that is wanted.

    Raises:
        OrchestratorError: it is there already, or it is a folder.
    """
    if path.is_dir():
        raise OrchestratorError(f"{path} is a folder: name the file to write in it")
    if path.exists() and not force:
        raise OrchestratorError(f"{path} exists already. Type --force to overwrite it")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside it, then rename that: nobody sees half of it.

    Raises:
        OrchestratorError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OrchestratorError(f"{path} cannot be written: {error.strerror}") from error


def say(text: str, *, end: str = "\n", to: TextIO | None = None) -> None:
    """Print at once; if the reader of the pipe went away, as `head` does, everything else goes on.

    click would end the command with exit code 1 then, which of `compare` means a regression.

    Raises:
        OrchestratorError: it cannot be written for another reason, such as a full disk.
    """
    stream = to or sys.stdout
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError as error:
        drop(stream)
        if not isinstance(error, BrokenPipeError):
            raise OrchestratorError(f"the output cannot be written: {error.strerror}") from error


def drop(stream: TextIO) -> None:
    """Send to nowhere what is not yet written: else Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

"""What a command writes: files, whole or not at all, and what it prints, to a reader or to none."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from ..errors import OrchestratorError

_KEPT: Final = 40


def check_free(path: Path, *, force: bool) -> None:
    """Refuse to overwrite a file, unless that is wanted; a pipe or a device is there to be written.

    Raises:
        OrchestratorError: it is there already, it is a folder, or nothing can have that name.
    """
    if str(path) == "-":
        raise OrchestratorError("- is no name of a file: without --output it is printed")
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # such as a name that is too long
        raise OrchestratorError(f"{path} cannot be written: {error.strerror}") from error
    if is_folder:
        raise OrchestratorError(f"{path} is a folder: name the file to write in it")
    if is_file and not force:
        raise OrchestratorError(f"{path} exists already. Type --force to overwrite it")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside it, then rename that: nobody sees half of it.

    What a link leads to is written, not the link; and what is no file, such as a pipe, directly.

    Raises:
        OrchestratorError: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError up to 3.12
        why = getattr(error, "strerror", None) or error
        raise OrchestratorError(f"{path} cannot be written: {why}") from error


def _replace(path: Path, data: bytes) -> None:
    if path.is_symlink():  # in a circle: Python 3.13 leaves them as they are
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    # A name may be no longer than 255 bytes: that of the file may have all of them.
    partial = path.with_name(f".{path.name[:_KEPT]}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with suppress(OSError):  # what hinders writing may hinder that as well
            partial.unlink()
        raise


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

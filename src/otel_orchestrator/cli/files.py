"""Files that a command writes: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

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

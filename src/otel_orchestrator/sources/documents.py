"""Read what a file of OTLP/JSON lines tells, and what of it is missing, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import RunFileError
from ..run_file_header import VERSION
from .lines import BUFFERED, LONGEST, lines_of, told_in
from .otlp import Told
from .printable import printable

_BYTES_TO_PROGRESS: Final = 2**20


def documents_of(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[Told]:
    """Yield what each line of a file tells; one that cannot be read tells only that.

    Args:
        path: of the file.
        progress: called with the bytes read so far, now and then.

    Raises:
        RunFileError: it cannot be read.
    """
    shown = 0
    try:
        with path.open("rb", BUFFERED) as lines:
            for number, line in enumerate(lines_of(lines), 1):
                if (told := told_in(line)) is not None:
                    yield told
                elif not line or not line.isspace():
                    why = f"line {number} {_problem(line)}; it is left out"
                    is_torn = bool(line) and not line.endswith(b"\n")
                    yield Told([], [], {}, unread=why, is_torn=is_torn)
                if progress is not None and (at := lines.tell()) - shown >= _BYTES_TO_PROGRESS:
                    progress(at)
                    shown = at
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error


def begins(header: Any) -> bool:
    """Whether a header is that of a first line: a later one says why it is there."""
    return isinstance(header, dict) and header.keys() <= {"version"}


def is_full(header: Any) -> bool:
    """Whether a header says that there was no room for more."""
    return isinstance(header, dict) and bool(header.get("full"))


def losses_of(told: Told) -> Iterator[str]:
    """Yield what is to be said of spans that may be missing."""
    if told.unread is not None:
        yield told.unread
    if told.skipped:
        yield f"{told.skipped} spans of a line make no sense; they are left out"
    if not isinstance(told.header, dict):
        return
    if is_full(told.header):
        yield "the run file reached its size limit: later spans are missing"
    version = told.header.get("version")
    if version != VERSION:
        yield (
            f"the run file has version {printable(str(version))[:20]}, this program knows"
            f" {VERSION}: update it"
        )


def _problem(line: bytes) -> str:
    if not line:
        return f"is longer than {LONGEST // 2**20} MiB"
    whole = line.endswith(b"\n")
    return "is not OTLP JSON" if whole else "is torn: the program was killed writing it"

"""Run files on this machine: list them, find one, read one.

A line is one OTLP/JSON object; the first also carries `{"runFile": {"version": 1}}`. A span
without an end is a start note: it counts only where no end of the same span follows. Where its
program was killed, it is ended here as the next program ends it in the file.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..alive import writer_of
from ..errors import NoRunsError, RunFileError, SeveralRunsError
from ..model import Run
from ..run_folder import LEDGER, is_of_a_run
from ..semconv import Attr
from .documents import begins, documents_of, is_full
from .gathering import Gathering
from .printable import printable

_SUFFIX: Final = ".jsonl"
_NAMED_AT_MOST: Final = 3
_COUNTED: Final = re.compile(rb'"count": ?[1-9]')


@dataclass(frozen=True, slots=True)
class RunFile:
    """A run file that is there, not yet read."""

    id: str
    path: Path
    changed_s: float

    @property
    def is_of_a_run(self) -> bool:
        """Whether it holds one run, rather than what a process did outside of every run."""
        return is_of_a_run(self.path)

    @property
    def was_sent(self) -> bool:
        """Whether any of its spans was sent to an endpoint, as its ledger says."""
        try:
            lines = self.path.with_suffix(LEDGER).read_bytes().splitlines()
        except OSError:
            return False
        return any(map(_COUNTED.search, lines))


def list_runs(folder: Path) -> list[RunFile]:
    """Return the run files of a folder, newest first.

    Raises:
        NoRunsError: there are none.
        RunFileError: it cannot be read.
    """
    try:
        paths = [path for path in folder.iterdir() if path.suffix == _SUFFIX]
        found = [file for path in paths if (file := _run_file(path)) is not None]
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise RunFileError(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        where = _short(folder)
        there_are = (
            f"no runs yet in {where}" if folder.is_dir() else f"no runs yet: no folder {where}"
        )
        raise NoRunsError(
            f"there are {there_are}. Type: otel-orchestrator run python app.py, or make demo; or"
            " call configure() and instrument() in your program"
        )
    return sorted(found, key=lambda f: (f.changed_s, f.id), reverse=True)


def _run_file(path: Path) -> RunFile | None:
    try:
        about = path.stat()
    except OSError:  # a link that leads nowhere, or it was removed just now
        return None
    # One that is empty is left by a program that was killed between making and writing it. A pipe
    # would be waited for.
    if not about.st_size or not stat.S_ISREG(about.st_mode):
        return None
    return RunFile(printable(path.stem), path, about.st_mtime)


def find_run(wanted: str | None, folder: Path) -> RunFile:
    """Return the run file that `wanted` names: a path, a run id, its beginning, or the newest.

    Raises:
        RunFileError: there is none, or more than one.
    """
    if wanted is not None and _is_path(wanted):
        path = Path(wanted)
        try:
            about = path.stat()
        except (OSError, ValueError):  # it may have been removed just now
            about = None
        if about is not None and stat.S_ISDIR(about.st_mode):
            raise RunFileError(f"{wanted} is a folder. Type: --dir {wanted}")
        if about is None:
            raise RunFileError(f"there is no file {wanted}")
        if not stat.S_ISREG(about.st_mode):
            raise RunFileError(f"{wanted} is no file that holds a run")
        return RunFile(printable(path.stem), path, about.st_mtime)
    if wanted == "":
        raise RunFileError("the name of the run is empty. Type: otel-orchestrator runs")
    runs = list_runs(folder)
    if wanted is None:
        return next((r for r in runs if r.is_of_a_run), runs[0])
    matching = [r for r in runs if r.id == wanted] or [r for r in runs if r.id.startswith(wanted)]
    if not matching:
        what = "file" if Path(wanted).suffix else "run"
        raise RunFileError(
            f"there is no {what} {wanted} in {_short(folder)}. Type: otel-orchestrator runs"
        )
    if len(matching) > 1:
        some = ", ".join(r.id for r in matching[:_NAMED_AT_MOST])
        more = ", …" if len(matching) > _NAMED_AT_MOST else ""
        raise RunFileError(
            f"{wanted} is the beginning of {len(matching)} run ids: type more of it, as of"
            f" {some}{more}"
        )
    return matching[0]


def _is_path(word: str) -> bool:
    return word.endswith(_SUFFIX) or "/" in word or is_file(word) or _is_folder(word)


def _is_folder(word: str) -> bool:
    try:
        return bool(word) and Path(word).is_dir()
    except OSError:
        return False


def is_file(word: str) -> bool:
    """Whether a word names a file; one that is too long for a name does not."""
    try:
        return Path(word).is_file()
    except OSError:
        return False


def read_run(file: RunFile, progress: Callable[[int], None] | None = None) -> Run:
    """Read a run file, line by line.

    Args:
        file: which one.
        progress: called with the bytes read so far, now and then.

    Raises:
        RunFileError: it cannot be read, or holds no OTLP at all.
        SeveralRunsError: it is several run files, one after the other, or an export.
    """
    before = writer_of(file.path)
    gathered = Gathering()
    documents = beginnings = 0
    is_empty, has_room = True, True
    for told in documents_of(file.path, progress):
        gathered.add(told)
        documents += told.unread is None
        beginnings += begins(told.header)
        is_empty, has_room = False, has_room and not is_full(told.header)
    if not documents:
        why = "it is empty" if is_empty else "no line of it is OTLP JSON"
        raise RunFileError(f"{file.path} is not a run file: {why}")
    # Looked up before and after: a program may start a run, or end one, meanwhile.
    is_gone = before is not None and not before.is_alive and before == writer_of(file.path)
    # Of a full file, what looks open may have ended.
    gone_ns = before.seen_ns if before is not None and is_gone and has_room else None
    run = gathered.run(file.id, gone_ns)
    # One run file holds one run, whatever spans of others came into it.
    if beginnings != 1:
        ids = {span.text(Attr.RUN_ID) for span in run.spans} - {None}
        if len(ids) > 1:
            raise SeveralRunsError(f"{file.path} holds {len(ids)} runs")
    return run


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)

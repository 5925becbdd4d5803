"""Where a run may be: in a run file, in what a Collector's file exporter wrote, or in a Jaeger.

All are found by a word and read to the same `Run`s, so nothing after this knows where one is from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import NoRunsError, RunFileError, SeveralRunsError
from ..model import Run
from ..semconv import Attr
from ..urls import JAEGER_URL
from .documents import documents_of
from .gathering import runs_in
from .jaeger import PREFIX, Wanted, is_jaeger, runs_in_jaeger, wanted_in
from .lines import LONGEST
from .otlp import SIGNALS
from .runfiles import RunFile, find_run, is_file, list_runs, read_run

LABEL: Final = "label="
"""What a word begins with that names all runs of a label."""
OF: Final = "#"
"""What stands between a file and the one run of it that is meant."""
_NAMED_AT_MOST: Final = 5

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Export:
    """A file of OTLP/JSON lines that holds any number of runs, as a Collector's `file` exporter
    writes it.

    Attributes:
        run_id: the one run that is wanted of it; None for all.
    """

    path: Path
    run_id: str | None = None


Source = RunFile | Export | Wanted


def find(word: str | None, folder: Path, jaeger_url: str = JAEGER_URL) -> Source:
    """Return what a word names, as `find_run` and `wanted_in` read it; `FILE#RUN`: a run in a file.

    Raises:
        RunFileError: it names nothing.
    """
    if word is None:
        return _newest(folder)
    if is_jaeger(word):
        return wanted_in(word, jaeger_url)
    if word.startswith(("http://", "https://")):
        raise RunFileError(
            f"{word} is not the address of a trace in Jaeger, which ends with /trace/ and 32"
            " hexadecimal digits"
        )
    if word.startswith(LABEL) and not is_file(word):
        raise RunFileError(
            f"{word} may be many runs, which compare takes. Type one: otel-orchestrator runs"
        )
    name, _, run_id = word.partition(OF)
    if run_id and is_file(name):
        return Export(Path(name), run_id)
    return source_of(find_run(word, folder))


def _newest(folder: Path) -> RunFile | Export:
    """Return the newest of a folder that holds a run: a Collector may write metrics there, too."""
    for file in list_runs(folder):
        source = source_of(file)
        if file.is_of_a_run and (isinstance(source, RunFile) or _holds_a_run(source)):
            return source
    return source_of(find_run(None, folder))


def _holds_a_run(export: Export) -> bool:
    blocks = (block for told in documents_of(export.path) for block in told.blocks)
    return any(span.text(Attr.RUN_ID) is not None for _, spans in blocks for span in spans)


def source_of(file: RunFile) -> RunFile | Export:
    """Return what a file is by its first line: a Collector writes into the same folder, too."""
    first = _first_line(file.path)
    return Export(file.path) if _is_otlp(first) and "runFile" not in first else file


def is_otlp(path: Path) -> bool:
    """Whether a file begins as a run file or an export does; its name may be any."""
    return _is_otlp(_first_line(path))


def read(source: Source, progress: Progress | None = None) -> tuple[Run, ...]:
    """Read every run of a source, oldest first.

    Raises:
        NoRunsError: it is an export that holds none.
        RunFileError: it cannot be read.
    """
    if isinstance(source, RunFile):
        try:
            return (read_run(source, progress),)
        except SeveralRunsError:
            source = Export(source.path)
    if isinstance(source, Wanted):
        return runs_in_jaeger(source, progress)
    everything = runs_in(documents_of(source.path, progress)).values()
    runs = [run for run in everything if source.run_id in (None, run.id)]
    if not runs:
        what = "a run" if source.run_id is None else f"the run {source.run_id}"
        raise NoRunsError(f"{source.path} does not hold {what}")
    return tuple(sorted(runs, key=lambda run: (run.start_ns, run.id)))


def read_together(paths: Iterable[Path]) -> dict[str, Run]:
    """Read every run of files as if they were put together, by its id: each may hold a part of it.

    Raises:
        RunFileError: one of them cannot be read.
    """
    return runs_in(told for path in paths for told in documents_of(path))


def read_one(source: Source, progress: Progress | None = None) -> Run:
    """Read the one run of a source.

    Raises:
        RunFileError: it cannot be read, or holds none, or more than one.
    """
    runs = read(source, progress)
    if len(runs) == 1:
        return runs[0]
    within = PREFIX if isinstance(source, Wanted) else f"{source.path}{OF}"
    raise name_one([run.id for run in runs], within)


def name_one(ids: Sequence[str], within: str) -> RunFileError:
    """Return the mistake of naming several runs, oldest first, where one is wanted."""
    named = ", ".join(ids[-_NAMED_AT_MOST:])
    return RunFileError(
        f"that is {len(ids)} runs: name one, such as {within}{ids[-1]}. The newest are {named}"
    )


def _is_otlp(first: Mapping[str, Any]) -> bool:
    return not SIGNALS.isdisjoint(first)


def _first_line(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as lines:
            first = json.loads(lines.readline(LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}  # reading it says what is wrong
    return first if isinstance(first, dict) else {}

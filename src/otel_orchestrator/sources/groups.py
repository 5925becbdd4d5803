"""A group of runs to compare: found by words, read, and reduced to what a comparison keeps.

What is named may be a run wherever it is (see `found`), several of a Jaeger or of an export, a
folder of run files, `label=NAME` for all runs of a folder with that label, or a baseline file.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from ..analysis.comparing.digest import Digest, digest_of
from ..errors import RunFileError
from ..semconv import Attr
from .baselines import read_baseline
from .found import Export, Source, find, is_otlp, read
from .jaeger import DEFAULT_URL, Wanted
from .lines import lines_of
from .otlp import resource_of
from .runfiles import RunFile, list_runs

LABEL: Final = "label="
_BASELINE: Final = ".json"
_WORTH_PROCESSES: Final = 20 * 2**20
_LINES_TO_LABEL: Final = 5


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are there, not yet read.

    Attributes:
        sources: where they are, by a name of each.
        digests: what baseline files held.
    """

    sources: Mapping[str, Source]
    digests: tuple[Digest, ...]

    def sizes(self) -> list[int]:
        """Return the bytes of each source; 0 where that is not known before."""
        return [_size(source) for source in self.sources.values()]


def find_group(words: Sequence[str], folder: Path, jaeger_url: str = DEFAULT_URL) -> Group:
    """Find the runs that words name.

    Raises:
        RunFileError: a word names none.
    """
    sources: dict[str, Source] = {}
    digests: list[Digest] = []
    for word in words:
        if word.endswith(_BASELINE) and not is_otlp(Path(word)):
            digests += read_baseline(Path(word))
        else:
            sources.update((_name(one), one) for one in _sources(word, folder, jaeger_url))
    return Group(sources, tuple(digests))


def digests_of(
    groups: Sequence[Group], progress: Callable[[int], None] | None = None
) -> list[list[Digest]]:
    """Read every run of every group, each once; large ones in several processes.

    A run whose file has been taken away since it was found is left out.

    Args:
        groups: which.
        progress: called with the bytes of each source that has been read.

    Raises:
        RunFileError: a run cannot be read, or holds no spans; or no run of a group is left.
    """
    sources = {name: one for group in groups for name, one in group.sources.items()}
    sizes = {name: _size(one) for name, one in sources.items()}
    found: dict[str, list[Digest]] = {}
    processes = min(len(sources), os.cpu_count() or 1)
    with _each(processes if sum(sizes.values()) > _WORTH_PROCESSES else 1) as each:
        for name, digests in zip(sources, each(_digests, list(sources.values())), strict=True):
            found[name] = digests
            if progress is not None:
                progress(sizes[name])
    read_groups = [
        _each_once([*group.digests, *(d for name in group.sources for d in found[name])])
        for group in groups
    ]
    if any(group.sources and not left for group, left in zip(groups, read_groups, strict=True)):
        raise RunFileError("all runs of a side were removed meanwhile: there is nothing to compare")
    return read_groups


def _each_once(digests: Sequence[Digest]) -> list[Digest]:
    """Leave out what a run is twice, such as in a baseline and in a file: it is one value only."""
    # By its trace, too: different runs may be in files of one name.
    return list({(digest.run_id, digest.trace_id): digest for digest in digests}.values())


def _digests(source: Source) -> list[Digest]:
    try:
        runs = read(source)
    except RunFileError:
        # Programs that run meanwhile delete the oldest where there are too many.
        if isinstance(source, RunFile) and not source.path.exists():
            return []
        raise
    if not all(run.spans for run in runs):
        raise RunFileError(f"{_name(source)} holds no spans: there is nothing to compare")
    return [digest_of(run) for run in runs]


def _name(source: Source) -> str:
    if isinstance(source, Wanted):
        return f"{source.word} of {source.url}"
    name = str(source.path.resolve())
    return f"{name}#{source.run_id}" if isinstance(source, Export) and source.run_id else name


def _size(source: Source) -> int:
    try:
        return 0 if isinstance(source, Wanted) else source.path.stat().st_size
    except OSError:  # it was removed just now
        return 0


_Each = Callable[[Callable[[Source], list[Digest]], Sequence[Source]], Iterator[list[Digest]]]


@contextmanager
def _each(processes: int) -> Iterator[_Each]:
    if processes == 1:
        yield map
        return
    # Spawned: a fork would copy whatever thread draws the progress, in the middle of its drawing.
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, mp_context=context, initializer=gc.disable) as pool:
            yield pool.map
    except BrokenProcessPool as error:
        raise RunFileError(
            "a process that read runs was killed: is there enough memory?"
        ) from error


def _sources(word: str, folder: Path, jaeger_url: str) -> Sequence[Source]:
    if word.startswith(LABEL):
        label = word.removeprefix(LABEL)
        labelled = [f for f in _runs(folder) if _label(f) == label]
        if not labelled:
            raise RunFileError(f"no run in {folder} has the label {label}")
        return labelled
    with suppress(OSError):  # what is too long for a name is no folder
        if Path(word).is_dir():
            return _runs(Path(word))
    return [find(word, folder, jaeger_url)]


def _runs(folder: Path) -> list[RunFile]:
    runs = [file for file in list_runs(folder) if file.is_of_a_run]
    if not runs:
        raise RunFileError(f"there are no runs in {folder}, only what happened outside of them")
    return runs


def _label(file: RunFile) -> str | None:
    """Return a run's label, from the first of its lines that says where it is from."""
    try:
        with file.path.open("rb") as lines:
            for _, line in zip(range(_LINES_TO_LABEL), lines_of(lines), strict=False):
                try:
                    document = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                resource = resource_of(document) if isinstance(document, dict) else {}
                # The first line may be another process's that works for the run.
                if (label := resource.get(Attr.RUN_LABEL)) is not None:
                    return str(label)
    except FileNotFoundError:  # it was removed just now
        return None
    except OSError as error:
        raise RunFileError(f"{file.path} cannot be read: {error.strerror}") from error
    return None

"""A group of runs to compare: found by words, read, and reduced to what a comparison keeps.

What is named may be a run wherever it is (see `found`), several of a Jaeger or of an export, a
folder of run files, `label=NAME` for all runs of a folder with that label, or a baseline file.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from ..analysis.comparing.digest import Digest, digest_of
from ..errors import RunFileError
from ..model import Run
from ..semconv import Attr
from .baselines import read_baseline
from .found import LABEL, OF, Export, Source, find, is_otlp, read, source_of
from .jaeger import DEFAULT_URL, Wanted
from .labels import Labelled, labels_in
from .runfiles import RunFile, is_file, list_runs
from .same import Found, Identity, check_apart, each_once

_BASELINE: Final = ".json"
_WORTH_PROCESSES: Final = 20 * 2**20
_LABELS_AT_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are there, not yet read.

    Attributes:
        sources: where they are, by a name of each.
        unnamed: the names of those that were found in a folder, not by a word of their own.
        baselines: what baseline files held, by their names.
    """

    sources: Mapping[str, Source]
    unnamed: frozenset[str]
    baselines: Mapping[str, tuple[Digest, ...]]

    def sizes(self) -> list[int]:
        """Return the bytes of each source; 0 where that is not known before."""
        return [_size(source) for source in self.sources.values()]


def find_group(words: Sequence[str], folder: Path, jaeger_url: str = DEFAULT_URL) -> Group:
    """Find the runs that words name.

    Raises:
        RunFileError: a word names none.
    """
    sources: dict[str, Source] = {}
    named: set[str] = set()
    baselines: dict[str, tuple[Digest, ...]] = {}
    for word in words:
        name, of, _ = word.partition(OF)
        if word.endswith(_BASELINE) and not is_otlp(Path(word)):
            baselines[word] = read_baseline(Path(word))
        elif of and name.endswith(_BASELINE) and is_file(name) and not is_otlp(Path(name)):
            raise RunFileError(
                f"{word} names one run of a baseline, which is compared as a whole. Type {name}"
            )
        elif (many := _many(word, folder)) is not None:
            sources.update((_name(one), one) for one in many)
        else:
            one = _one(word, folder, jaeger_url)
            named.add(_name(one))
            sources[_name(one)] = one
    return Group(sources, frozenset(sources.keys() - named), baselines)


def digests_of(
    groups: Sequence[Group],
    progress: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[list[Digest]]:
    """Read every run of every group, each once; large ones in several processes.

    A run whose file has been taken away since it was found is left out.

    Args:
        groups: which.
        progress: called with the bytes of each source that has been read.
        tell: called with what is to be known of runs that are left out.

    Raises:
        RunFileError: a run cannot be read, or holds no spans; no run of a group is left; or a run
            is in two groups.
    """
    sources = {name: one for group in groups for name, one in group.sources.items()}
    unnamed = {name for group in groups for name in group.unnamed}
    sizes = {name: _size(one) for name, one in sources.items()}
    found: dict[str, list[Digest]] = {}
    processes = min(len(sources), os.cpu_count() or 1)
    wanted = [(one, name in unnamed) for name, one in sources.items()]
    with _each(processes if sum(sizes.values()) > _WORTH_PROCESSES else 1) as each:
        for name, digests in zip(sources, each(_digests, wanted), strict=True):
            found[name] = digests
            if progress is not None:
                progress(sizes[name])
    kept: list[dict[Identity, Found]] = []
    for group in groups:
        everything = [Found(n, None, d) for n, digests in group.baselines.items() for d in digests]
        everything += [_found(one, d) for name, one in group.sources.items() for d in found[name]]
        kept.append(each_once(everything, tell))
        if group.sources and not kept[-1]:
            raise RunFileError(
                "all runs of a side were removed meanwhile: there is nothing to compare"
            )
    check_apart(kept)
    return [[found.digest for found in group.values()] for group in kept]


def _found(source: Source, digest: Digest) -> Found:
    if isinstance(source, Wanted):
        return Found(_name(source), None, digest)
    return Found(str(source.path), source.path.resolve(), digest)


def _digests(wanted: tuple[Source, bool]) -> list[Digest]:
    """Read a source, and whether it was found in a folder."""
    source, is_unnamed = wanted
    try:
        return _read_whole(source)
    except RunFileError as error:
        # Programs that run meanwhile delete the oldest where there are too many.
        if not isinstance(source, Wanted) and not source.path.exists():
            return []
        if is_unnamed:
            raise RunFileError(f"{error}. Remove it from the folder, or name the runs") from error
        raise


def _read_whole(source: Source) -> list[Digest]:
    runs = read(source)
    if not all(run.spans for run in runs):
        raise RunFileError(f"{_name(source)} holds no spans: there is nothing to compare")
    return [digest_of(replace(run, id=_recorded_id(run))) for run in runs]


def _recorded_id(run: Run) -> str:
    """Return a run's id as its spans say it: its file may be called anything."""
    ids = (span.text(Attr.RUN_ID) for span in run.spans)
    return next((run_id for run_id in ids if run_id is not None), run.id)


def _name(source: Source) -> str:
    if isinstance(source, Wanted):
        return f"{source.word} of {source.url}"
    name = str(source.path.resolve())
    if isinstance(source, Export) and source.run_id is not None:
        return f"{name}{OF}{source.run_id}"
    if isinstance(source, Export) and source.label is not None:
        return f"{name}{OF}{LABEL}{source.label}"
    return name


def _size(source: Source) -> int:
    try:
        return 0 if isinstance(source, Wanted) else source.path.stat().st_size
    except OSError:  # it was removed just now
        return 0


_Read = Callable[[tuple[Source, bool]], list[Digest]]
_Each = Callable[[_Read, Sequence[tuple[Source, bool]]], Iterator[list[Digest]]]


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


def _many(word: str, folder: Path) -> Sequence[RunFile | Export] | None:
    """Return the files of a label or a folder; None where the word is neither."""
    if word.startswith(LABEL):
        label = word.removeprefix(LABEL)
        labels = [(file, labels_in(file.path)) for file in _runs(folder)]
        if labelled := [one for found in labels if (one := _of_label(label, *found)) is not None]:
            return labelled
        known = (label for _, its in labels for label in its.labels)
        raise RunFileError(f"no run in {folder} has the label {label}. {_which(known)}")
    with suppress(OSError):  # what is too long for a name is no folder
        if Path(word).is_dir():
            return [source_of(file) for file in _runs(Path(word))]
    return None


def _of_label(label: str, file: RunFile, its: Labelled) -> RunFile | Export | None:
    if its.is_of_one_run:
        # The first line may be another process's that works for the run, and has none.
        return file if label in its.labels[:1] else None
    return Export(file.path, label=label) if label in its.labels else None


def _which(labels: Iterable[str]) -> str:
    """Say which labels there are."""
    known = sorted({label for label in labels if label})
    if not known:
        return "None has any: give runs one with otel-orchestrator run --label NAME"
    more = f", … and {len(known) - _LABELS_AT_MOST} more" if len(known) > _LABELS_AT_MOST else ""
    return f"Type {LABEL} and one of {', '.join(known[:_LABELS_AT_MOST])}{more}"


def _one(word: str, folder: Path, jaeger_url: str) -> Source:
    try:
        return find(word, folder, jaeger_url)
    except RunFileError as error:
        is_label = False
        with suppress(RunFileError):
            is_label = any(word in labels_in(file.path).labels for file in _runs(folder))
        if not is_label:
            raise
        raise RunFileError(
            f"{word} names no run, but is the label of some: type {LABEL}{word}"
        ) from error


def _runs(folder: Path) -> list[RunFile]:
    runs = [file for file in list_runs(folder) if file.is_of_a_run]
    if not runs:
        raise RunFileError(f"there are no runs in {folder}, only what happened outside of them")
    return runs

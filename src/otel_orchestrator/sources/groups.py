"""A group of runs to compare: found by words, read, and reduced to what a comparison keeps.

What is named may be a run wherever it is (see `found`), several of a Jaeger or of an export, a
folder of run files, `label=NAME` for all runs of a folder with that label, or a baseline file.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from ..analysis.comparing.digest import Digest, digest_of
from ..errors import RunFileError
from ..semconv import Attr
from .baselines import read_baseline
from .found import LABEL, OF, Export, Source, find, is_otlp, read
from .jaeger import DEFAULT_URL, Wanted
from .lines import lines_of
from .otlp import resource_of
from .runfiles import RunFile, is_file, list_runs

_BASELINE: Final = ".json"
_WORTH_PROCESSES: Final = 20 * 2**20
_LINES_TO_LABEL: Final = 5
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
    kept: list[dict[_Identity, _Kept]] = []
    for group in groups:
        everything = [(name, d) for name, digests in group.baselines.items() for d in digests]
        everything += [(_shown(one), d) for name, one in group.sources.items() for d in found[name]]
        kept.append(_each_once(everything, tell))
        if group.sources and not kept[-1]:
            raise RunFileError(
                "all runs of a side were removed meanwhile: there is nothing to compare"
            )
    _check_apart(kept)
    return [[digest for _, digest in group.values()] for group in kept]


_Identity = tuple[str, int]
_Kept = tuple[str, Digest]
"""Where a run is from, for people, and what it came to."""


def _identity(digest: Digest) -> _Identity:
    """Return what tells a run from all others, whatever its file is called.

    Its trace does; but a trace may hold several runs, one after the other.
    """
    return (digest.trace_id, digest.start_us) if digest.trace_id else (digest.run_id, 0)


def _each_once(
    everything: Iterable[_Kept], tell: Callable[[str], None] | None
) -> dict[_Identity, _Kept]:
    """Keep one of what is the same run, such as in a baseline and in a file: the most complete."""
    kept: dict[_Identity, _Kept] = {}
    again: list[str] = []
    for place, digest in everything:
        identity = _identity(digest)
        before, other = kept.setdefault(identity, (place, digest))
        if other is not digest:
            again.append(f"{digest.run_id} in {place}, which is the run in {before}")
            if digest.spans > other.spans:
                kept[identity] = place, digest
    if again and tell is not None:
        more = f", and {len(again) - 1} more" if len(again) > 1 else ""
        tell(f"A run counts once. Left out: {again[0]}{more}")
    return kept


def _check_apart(groups: Sequence[Mapping[_Identity, _Kept]]) -> None:
    for before, after in pairwise(groups):
        for identity in sorted(before.keys() & after.keys()):
            (place, digest), (other, _) = before[identity], after[identity]
            files = place if place == other else f"{place} and {other}"
            raise RunFileError(
                f"the run {digest.run_id} is on both sides: leave it out of one; it is in {files}"
            )


def _digests(wanted: tuple[Source, bool]) -> list[Digest]:
    """Read a source, and whether it was found in a folder."""
    source, is_unnamed = wanted
    try:
        return _read_whole(source)
    except RunFileError as error:
        # Programs that run meanwhile delete the oldest where there are too many.
        if isinstance(source, RunFile) and not source.path.exists():
            return []
        if is_unnamed:
            raise RunFileError(f"{error}. Remove it from the folder, or name the runs") from error
        raise


def _read_whole(source: Source) -> list[Digest]:
    runs = read(source)
    if not all(run.spans for run in runs):
        raise RunFileError(f"{_name(source)} holds no spans: there is nothing to compare")
    return [digest_of(run) for run in runs]


def _name(source: Source) -> str:
    if isinstance(source, Wanted):
        return f"{source.word} of {source.url}"
    name = str(source.path.resolve())
    return f"{name}#{source.run_id}" if isinstance(source, Export) and source.run_id else name


def _shown(source: Source) -> str:
    return _name(source) if isinstance(source, Wanted) else str(source.path)


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


def _many(word: str, folder: Path) -> Sequence[RunFile] | None:
    """Return the run files of a label or a folder; None where the word is neither."""
    if word.startswith(LABEL):
        label = word.removeprefix(LABEL)
        labels = [(file, _label(file)) for file in _runs(folder)]
        if labelled := [file for file, its in labels if its == label]:
            return labelled
        raise RunFileError(
            f"no run in {folder} has the label {label}. {_which(its for _, its in labels)}"
        )
    with suppress(OSError):  # what is too long for a name is no folder
        if Path(word).is_dir():
            return _runs(Path(word))
    return None


def _which(labels: Iterable[str | None]) -> str:
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
            is_label = any(_label(file) == word for file in _runs(folder))
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

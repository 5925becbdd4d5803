"""A group of runs to compare: found by words, read, and reduced to what a comparison keeps.

What is named may be a run wherever it is (see `found`), several of a Jaeger or of an export, a
folder of run files, `label=NAME` for all runs of a folder with that label, or a baseline file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from ..analysis.comparing.digest import Digest, digest_of
from ..errors import NoRunsError, RunFileError
from ..model import Run
from ..semconv import Attr
from ..urls import JAEGER_URL
from .baselines import read_baseline
from .found import LABEL, OF, Export, Source, find, is_otlp, read, source_of
from .jaeger import Wanted
from .labels import Labelled, labels_in
from .processes import each_in
from .runfiles import RunFile, is_file, list_runs
from .same import RunCopy, check_apart, each_once

_BASELINE: Final = ".json"
_WORTH_PROCESSES: Final = 20 * 2**20
_LABELS_AT_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are there, not yet read.

    Attributes:
        sources: where they are, by a name of each.
        unnamed: the names of those that were found in a folder, not by a word of their own.
        labels: of those that may hold several runs, or a part of one, the labels of the runs that
            are wanted; by the names of the sources, which say them. All runs of the others are.
        baselines: what baseline files held, by their names.
    """

    sources: Mapping[str, Source]
    unnamed: frozenset[str]
    labels: Mapping[str, frozenset[str]]
    baselines: Mapping[str, tuple[Digest, ...]]

    def sizes(self) -> list[int]:
        """Return the bytes of each source; 0 where that is not known before."""
        return [_size(source) for source in self.sources.values()]


def find_group(words: Sequence[str], folder: Path, jaeger_url: str = JAEGER_URL) -> Group:
    """Find the runs that words name.

    Raises:
        RunFileError: a word names none.
    """
    sources: dict[str, Source] = {}
    named: set[str] = set()
    labelled: dict[Export, set[str]] = {}
    baselines: dict[str, tuple[Digest, ...]] = {}
    for word in words:
        name, of, _ = word.partition(OF)
        if word.endswith(_BASELINE) and not is_otlp(Path(word)):
            baselines[word] = read_baseline(Path(word))
        elif of and name.endswith(_BASELINE) and is_file(name) and not is_otlp(Path(name)):
            raise RunFileError(
                f"{word} names one run of a baseline, which is compared as a whole. Type {name}"
            )
        elif word.startswith(LABEL):
            label = word.removeprefix(LABEL)
            single, other = _of_label(label, folder)
            sources.update((_name(one), one) for one in single)
            for export in other:
                labelled.setdefault(export, set()).add(label)
        elif (many := _in_folder(word)) is not None:
            sources.update((_name(one), one) for one in many)
        else:
            one = _one(word, folder, jaeger_url)
            named.add(_name(one))
            sources[_name(one)] = one
    labels: dict[str, frozenset[str]] = {}
    for export, its in labelled.items():
        if (name := _name(export)) not in sources:  # it is wanted as a whole
            name = f"{name}{OF}{LABEL}{','.join(sorted(its))}"
            sources[name], labels[name] = export, frozenset(its)
    return Group(sources, frozenset(sources.keys() - named), labels, baselines)


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
    # By a name without the labels: runs of one label and of another may be in one file.
    sources = {_name(one): one for group in groups for one in group.sources.values()}
    named = {
        _name(one)
        for group in groups
        for name, one in group.sources.items()
        if name not in group.unnamed
    }
    sizes = {name: _size(one) for name, one in sources.items()}
    uses = Counter(_name(one) for group in groups for one in group.sources.values())
    found: dict[str, list[Digest]] = {}
    processes = min(len(sources), os.cpu_count() or 1)
    wanted = [(one, name not in named) for name, one in sources.items()]
    with each_in(processes if sum(sizes.values()) > _WORTH_PROCESSES else 1) as each:
        for name, digests in zip(sources, each(_digests, wanted), strict=True):
            found[name] = digests
            if progress is not None:
                progress(sizes[name] * uses[name])
    sides = [
        [RunCopy(n, None, None, d) for n, digests in group.baselines.items() for d in digests]
        + [
            _copy_of(one, group.labels.get(name), digest)
            for name, one in group.sources.items()
            for digest in found[_name(one)]
        ]
        for group in groups
    ]
    kept = each_once(sides, tell)
    for group, its in zip(groups, kept, strict=True):
        if group.sources and not its:
            raise RunFileError(f"{_why_none(group)}: there is nothing to compare")
    check_apart(kept)
    return [[copy.digest for copy in its.values()] for its in kept]


def _why_none(group: Group) -> str:
    if any(not isinstance(one, Wanted) and not one.path.exists() for one in group.sources.values()):
        return "all runs of a side were removed meanwhile"
    if group.labels:
        labels = {label for its in group.labels.values() for label in its}
        return f"no run has the label {' or '.join(sorted(labels))}"
    return "the files of a side hold no runs, only what happened outside of them"


def _copy_of(source: Source, labels: frozenset[str] | None, digest: Digest) -> RunCopy:
    if isinstance(source, Wanted):
        return RunCopy(_name(source), None, labels, digest)
    return RunCopy(str(source.path), source.path.resolve(), labels, digest)


def _digests(wanted: tuple[Source, bool]) -> list[Digest]:
    """Read a source, which may have been found in a folder, not by a word of its own."""
    source, is_unnamed = wanted
    try:
        return _read_whole(source)
    except NoRunsError:
        if is_unnamed:
            return []
        raise
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
    return name


def _size(source: Source) -> int:
    try:
        return 0 if isinstance(source, Wanted) else source.path.stat().st_size
    except OSError:  # it was removed just now
        return 0


def _in_folder(word: str) -> list[RunFile | Export] | None:
    """Return the files of a folder; None where the word is none."""
    with suppress(OSError):  # what is too long for a name is no folder
        if Path(word).is_dir():
            return [source_of(file) for file in _runs(Path(word))]
    return None


def _of_label(label: str, folder: Path) -> tuple[list[RunFile], list[Export]]:
    """Return the run files with a label, and all else that may hold a run with it, or a part of it:
    which label that has is known when its parts are put together."""
    files = _runs(folder)
    labelled = [_labels(file) for file in files]
    single: list[RunFile] = []
    other: list[Export] = []
    is_there = False
    for file, its in zip(files, labelled, strict=True):
        # The first line may be another process's that works for the run, and has none.
        has_it = label in (its.labels[:1] if its.is_of_one_run else its.labels)
        is_there = is_there or has_it
        if not its.is_of_one_run:
            other.append(Export(file.path))
        elif has_it:
            single.append(file)
    if not is_there:
        known = (label for its in labelled for label in its.labels)
        raise RunFileError(f"no run in {folder} has the label {label}. {_which(known)}")
    return single, other


@cache
def _labels(file: RunFile) -> Labelled:
    """Read a file's labels once for all words; one that has changed since is another `RunFile`."""
    return labels_in(file.path)


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
            is_label = any(word in _labels(file).labels for file in _runs(folder))
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

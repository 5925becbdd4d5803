"""When what files, baselines and a Jaeger hold is the same run, and what counts then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

from ..analysis.comparing.digest import Digest, digest_of
from ..errors import RunFileError
from .found import read_together

Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RunCopy:
    """A run as one place has it, or what a file holds of it.

    Attributes:
        place: where it is from, for people.
        file: which it is from, if it is from one that may hold a part of it only.
        labels: which are wanted, if it is wanted for its label only.
        digest: what it came to.
    """

    place: str
    file: Path | None
    labels: frozenset[str] | None
    digest: Digest


def _identity(digest: Digest) -> Identity:
    """Return what tells a run from all others, whatever its file is called.

    Its trace alone does not: that may hold several runs. Nor does its start: a file may hold a
    part of the run only.
    """
    return digest.trace_id, digest.run_id


def each_once(
    sides: Sequence[Sequence[RunCopy]], tell: Callable[[str], None] | None
) -> list[dict[Identity, RunCopy]]:
    """Keep one of what is the same run, such as in a baseline and in a file: the most complete.

    Where no file holds all of it, that is what they hold together. What then has none of the labels
    that are wanted is left out.
    """
    read = cache(_digests_together)  # one folder may be read for both sides
    kept: list[dict[Identity, RunCopy]] = []
    again: list[str] = []
    gathered: list[str] = []
    for side in sides:
        same: dict[Identity, list[RunCopy]] = {}
        for copy in side:
            same.setdefault(_identity(copy.digest), []).append(copy)
        together = _put_together(same, read)
        kept.append({})
        for identity, some in same.items():
            most = max(some, key=_spans)  # of equals the first
            best = max(most, together.get(identity, most), key=_spans)
            if not any(f.labels is None or best.digest.label in f.labels for f in some):
                continue
            kept[-1][identity] = best
            if best is most:
                others = (copy for copy in some if copy is not most)
                which = f"which is the run in {most.place}"
                again += [f"{identity[1]} in {other.place}, {which}" for other in others]
            else:
                gathered.append(f"{identity[1]} in {best.place}")
    if tell is not None:
        for said, its in (
            ("A run counts once. Left out", again),
            ("A run counts once, with all that files hold of it. Put together", gathered),
        ):
            if its:
                more = f", and {len(its) - 1} more" if len(its) > 1 else ""
                tell(f"{said}: {its[0]}{more}")
    return kept


def _spans(copy: RunCopy) -> int:
    return copy.digest.spans


_Files = tuple[Path, ...]
_Ids = tuple[str, ...]
_Read = Callable[[_Files, _Ids], Mapping[str, Digest]]


def _put_together(
    same: Mapping[Identity, Sequence[RunCopy]], read: _Read
) -> dict[Identity, RunCopy]:
    """Read together the files that do not hold the same of a run, each of them once."""
    together: dict[Identity, RunCopy] = {}
    for files, identities in _sharing(same):
        digests = read(files, tuple(run_id for _, run_id in identities))
        for identity in identities:
            if (digest := digests.get(identity[1])) is not None:
                places = dict.fromkeys(f.place for f in same[identity] if f.file is not None)
                together[identity] = RunCopy(" and ".join(places), None, None, digest)
    return together


def _sharing(same: Mapping[Identity, Sequence[RunCopy]]) -> list[tuple[_Files, list[Identity]]]:
    """Return which files to read together, each once, for which runs: those that share a file."""
    traces = Counter(run_id for _, run_id in same)
    alone: list[tuple[_Files, list[Identity]]] = []
    sets: list[tuple[_Files, list[Identity]]] = []
    for identity, some in same.items():
        in_files = [copy for copy in some if copy.file is not None]
        files = tuple(dict.fromkeys(copy.file for copy in in_files if copy.file is not None))
        if len(files) < 2 or all(copy.digest == in_files[0].digest for copy in in_files):
            continue
        if traces[identity[1]] > 1:  # files are read by run ids: not those of its namesakes
            alone.append((files, [identity]))
            continue
        apart = [one for one in sets if set(files).isdisjoint(one[0])]
        joined = [one for one in sets if not set(files).isdisjoint(one[0])]
        every = dict.fromkeys(chain(*(theirs for theirs, _ in joined), files))
        sets = [*apart, (tuple(every), [*chain(*(ids for _, ids in joined)), identity])]
    return sets + alone


def _digests_together(files: _Files, run_ids: _Ids) -> dict[str, Digest]:
    runs = read_together(files)
    return {run_id: digest_of(runs[run_id]) for run_id in run_ids if run_id in runs}


def check_apart(groups: Sequence[Mapping[Identity, RunCopy]]) -> None:
    """Check that no run is in two groups, not even a part of it.

    Raises:
        RunFileError: one is.
    """
    for before, after in pairwise(groups):
        for identity in sorted(before.keys() & after.keys()):
            places = dict.fromkeys([before[identity].place, after[identity].place])
            raise RunFileError(
                f"the run {identity[1]} is on both sides: leave it out of one; it is in"
                f" {' and '.join(places)}"
            )

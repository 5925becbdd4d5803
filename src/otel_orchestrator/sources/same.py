"""When what files, baselines and a Jaeger hold is the same run, and what counts then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..analysis.comparing.digest import Digest, digest_of
from ..errors import RunFileError
from .found import read_together

Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A run, or what a file holds of it.

    Attributes:
        place: where it is from, for people.
        file: which it is from, if it is from one that may hold a part of it only.
        digest: what it came to.
    """

    place: str
    file: Path | None
    digest: Digest


def _identity(digest: Digest) -> Identity:
    """Return what tells a run from all others, whatever its file is called.

    Its trace alone does not: that may hold several runs. Nor does its start: a file may hold a
    part of the run only.
    """
    return digest.trace_id, digest.run_id


def each_once(
    everything: Iterable[Found], tell: Callable[[str], None] | None
) -> dict[Identity, Found]:
    """Keep one of what is the same run, such as in a baseline and in a file: the most complete.

    Where no file holds all of it, that is what they hold together.
    """
    same: dict[Identity, list[Found]] = {}
    for found in everything:
        same.setdefault(_identity(found.digest), []).append(found)
    together = _put_together(same)
    kept: dict[Identity, Found] = {}
    again: list[str] = []
    gathered: list[str] = []
    for identity, (first, *others) in same.items():
        most = max([first, *others], key=_spans)  # of equals the first
        whole = together.get(identity, most)
        kept[identity] = max(most, whole, key=_spans)
        run_id = first.digest.run_id
        if kept[identity] is most:
            again += [f"{run_id} in {o.place}, which is the run in {first.place}" for o in others]
        else:
            gathered.append(f"{run_id} in {whole.place}")
    if tell is not None:
        for said, some in (
            ("A run counts once. Left out", again),
            ("A run counts once, with all that files hold of it. Put together", gathered),
        ):
            if some:
                more = f", and {len(some) - 1} more" if len(some) > 1 else ""
                tell(f"{said}: {some[0]}{more}")
    return kept


def _spans(found: Found) -> int:
    return found.digest.spans


def _put_together(same: Mapping[Identity, Sequence[Found]]) -> dict[Identity, Found]:
    """Read together the files that do not hold the same of a run, each of them once."""
    of_files: dict[tuple[Path, ...], list[Identity]] = {}
    for identity, (first, *others) in same.items():
        files = dict.fromkeys(found.file for found in (first, *others) if found.file is not None)
        if len(files) > 1 and any(other.digest != first.digest for other in others):
            of_files.setdefault(tuple(files), []).append(identity)
    together: dict[Identity, Found] = {}
    for files_of_some, identities in of_files.items():
        runs = read_together(files_of_some)
        for identity in identities:
            if (run := runs.get(identity[1])) is not None:
                places = dict.fromkeys(f.place for f in same[identity] if f.file is not None)
                together[identity] = Found(" and ".join(places), None, digest_of(run))
    return together


def check_apart(groups: Sequence[Mapping[Identity, Found]]) -> None:
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

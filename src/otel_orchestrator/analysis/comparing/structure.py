"""What runs do that they did not do before, no longer do, or do more or less often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median

from .amounts import Path
from .digest import Digest
from .statistics import shift


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path that comes more or less often than before.

    Attributes:
        path: the names.
        below: how many more paths there are below it, all of them new, or gone, with it.
        base, candidate: how often it comes in a run: the medians.
        base_runs, candidate_runs: in how many runs of each group it comes at all.
    """

    path: Path
    below: int
    base: float
    candidate: float
    base_runs: int
    candidate_runs: int


@dataclass(frozen=True, slots=True)
class Structure:
    """The changes in structure, by path.

    Attributes:
        new, gone: in no run of the base, or of the candidate, and clearly so: not what comes now
            and then, such as a retry; only the topmost of each.
        more, fewer: more often, or less; the topmost where what is below changed alike.
    """

    new: tuple[PathChange, ...]
    gone: tuple[PathChange, ...]
    more: tuple[PathChange, ...]
    fewer: tuple[PathChange, ...]


def structure_of(base: Sequence[Digest], candidate: Sequence[Digest], error: Fraction) -> Structure:
    """Compare how often each path comes; each end of an interval errs as often as told."""
    groups = [
        [{p.path: p.amount.count for p in digest.paths} for digest in group]
        for group in (base, candidate)
    ]
    paths = sorted({path for group in groups for counts in group for path in counts})
    kinds: dict[str, dict[Path, PathChange]] = {"new": {}, "gone": {}, "more": {}, "fewer": {}}
    for path in paths:
        before, after = ([counts.get(path, 0) for counts in group] for group in groups)
        kind = _kind(before, after, error)
        if kind is not None:
            runs = [sum(count > 0 for count in group) for group in (before, after)]
            kinds[kind][path] = PathChange(path, 0, median(before), median(after), *runs)
    return Structure(
        new=_topmost(kinds["new"]),
        gone=_topmost(kinds["gone"]),
        more=_topmost(kinds["more"], alike=True),
        fewer=_topmost(kinds["fewer"], alike=True),
    )


def _kind(before: Sequence[int], after: Sequence[int], error: Fraction) -> str | None:
    apart = shift(before, after, error)
    # Of too few runs for an interval, those that do not overlap are shown: they decide nothing.
    low = apart.low if apart.confidence else min(after) - max(before)
    high = apart.high if apart.confidence else max(after) - min(before)
    if low > 0:
        return "more" if any(before) else "new"
    if high < 0:
        return "fewer" if any(after) else "gone"
    return None


def _topmost(changes: dict[Path, PathChange], *, alike: bool = False) -> tuple[PathChange, ...]:
    """Leave out what is below another that changed, by as much if `alike`; count it there."""
    below = dict.fromkeys(changes, 0)
    shown: list[Path] = []
    for path, change in changes.items():
        above = next((path[:n] for n in range(1, len(path)) if path[:n] in changes), None)
        if above is None or (alike and not _is_alike(changes[above], change)):
            shown.append(path)
        else:
            below[above] += 1
    return tuple(replace(changes[path], below=below[path]) for path in shown)


def _is_alike(above: PathChange, change: PathChange) -> bool:
    return above.base * change.candidate == above.candidate * change.base

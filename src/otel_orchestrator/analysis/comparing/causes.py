"""Why a run takes longer, or less long: more calls, slower calls, or more waiting?

First comes what the wall itself is made of: it is broken down along the straggler of each
superstep, so what grew there is what the run took longer for. Waiting is what follows from work, so
the work is named first. But where the nodes' own code is what grew, and others waited for it longer
than it took, it is one straggler (or the Director) that holds all: then the waiting is named first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from ... import semconv
from .comparison import Comparison, Part, Row
from .digest import NOT_WAITED_FOR, Digest
from .gate import UNDECIDED, Gate, Values
from .measures import LLM_MEAN, WAITING, WALL

SLOWER: Final = "slower"
MORE: Final = "more"
BOTH: Final = "more and slower"
WAITS: Final = "more waiting"

AT_BARRIERS: Final = (semconv.BARRIER, semconv.HELD)
_FOLLOWS: Final = (*AT_BARRIERS, semconv.CYCLE, semconv.QUEUE)
"""Waits that come from how long others work; of their own they do not get longer."""
_WORTH_NAMING: Final = 0.15
_NAMED_AT_MOST: Final = 3
_UNCLEAR_AT_MOST: Final = 2
_MOSTLY: Final = 0.7


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for a difference.

    Attributes:
        kind: `slower`, `more`, `more and slower`, or `more waiting`; where the candidate is faster,
            the opposite.
        is_growth: it grew.
        category: of the work; of waiting, `barrier` for all that a superstep's barrier holds.
        row: of the work: the category.
        path: of the work: the path that changed most.
        wall_us: by how much its part of the wall changed; 0 where it has none there.
        waits: of waiting: its categories, the largest difference first.
        on: of waiting: whom for, mostly.
        is_clear: its interval, taken alone, does not reach zero: of the category, of its part of
            the wall, or of a wait; None where so few runs have none.
    """

    kind: str
    is_growth: bool
    category: str
    row: Row | None
    path: Row | None
    wall_us: float
    waits: tuple[Part, ...]
    on: tuple[str, ...]
    is_clear: bool | None


def causes_of(comparison: Comparison) -> tuple[Cause, ...]:
    """Return the reasons for what changed, the most important first; none where nothing did.

    Where whether anything changed is undecided, they are what to look at: see `are_leads`.
    """
    changed = _changed(comparison) or (_moved(comparison) if are_leads(comparison) else [])
    causes = list(_on_the_wall(comparison)) if WALL in changed else []
    named = {cause.category for cause in causes}
    if LLM_MEAN in changed and semconv.LLM not in named:
        causes += _of_work(comparison, semconv.LLM, None)
    wall, waiting = (_has_grown(comparison.gate(metric)) for metric in (WALL, WAITING))
    if WAITING in changed or (WALL in changed and waiting == wall):
        waits = [c for c in _of_waiting(comparison) if c.category not in named]
        is_first = bool(causes) and _is_outweighed(causes[0], waits)
        causes = waits + causes if is_first else causes + waits
    if not comparison.tells_chance:
        return tuple(replace(cause, is_clear=None) for cause in causes[:_NAMED_AT_MOST])
    clear = tuple(c for c in causes if c.is_clear)
    return clear if clear or are_leads(comparison) else tuple(causes[:_UNCLEAR_AT_MOST])


def are_leads(comparison: Comparison) -> bool:
    """Whether the causes explain no change that was found, but what may be one."""
    return comparison.standing == UNDECIDED and not _changed(comparison)


def _changed(comparison: Comparison) -> list[str]:
    """Return the metrics that changed, as far as so many runs tell."""
    told = [(metric, comparison.gate(metric).values.shift) for metric in _moved(comparison)]
    return [metric for metric, apart in told if apart and (apart.is_clear or not apart.confidence)]


def _moved(comparison: Comparison) -> list[str]:
    return [gate.rule.metric for gate in comparison.gates if gate.has_moved]


def _on_the_wall(comparison: Comparison) -> Iterator[Cause]:
    gate = comparison.gate(WALL)
    grew = _has_grown(gate)
    parts = [
        part
        for part in comparison.on_wall
        if part.has_grown(grew)
        and abs(part.difference) > _WORTH_NAMING * abs(gate.values.difference)
    ]
    for part in parts[:_NAMED_AT_MOST]:
        state, category = part.key
        if state == semconv.WORKING:
            yield from _of_work(comparison, category, part)
        elif category not in _FOLLOWS:
            waits = tuple(p for p in comparison.waits if p.key == part.key and p.has_grown(grew))
            if waits:
                yield _waiting(comparison, category, waits, part, grew=grew)


def _of_work(comparison: Comparison, category: str, on_wall: Part | None) -> Iterator[Cause]:
    key = semconv.WORKING, category
    row = next((r for r in comparison.categories if r.key == key), None)
    wall_us, is_clear = _told_by(on_wall)
    if row is None:
        # Between the nodes there are no spans: only the wall knows that.
        if wall_us:
            yield Cause(SLOWER, wall_us > 0, category, None, None, wall_us, (), (), is_clear)
        return
    grew, kind = row.grew, _kind_of(row)
    if (wall_us and (wall_us > 0) != grew) or not _is_told_alike(row, kind):
        return
    paths = [r for r in comparison.calls if r.key == key and r.grew == grew]
    yield Cause(
        kind=kind,
        is_growth=grew,
        category=category,
        row=row,
        path=paths[0] if paths else None,
        wall_us=wall_us,
        waits=(),
        on=(),
        is_clear=is_clear or row.is_lead,
    )


def _told_by(on_wall: Part | None) -> tuple[float, bool]:
    """Return by how much a part of the wall changed, and whether that is clear."""
    return (0.0, False) if on_wall is None else (on_wall.difference, on_wall.is_clear)


def _kind_of(row: Row) -> str:
    """Say whether it is the number of calls or their length: ln(total) = ln(count) + ln(mean)."""
    if row.count.shift is None or row.mean.shift is None:
        # Some runs have none: what all have is how many.
        return MORE if _has_moved(row.count, grew=row.grew) else SLOWER
    counts, means = row.count.shift.estimate, row.mean.shift.estimate
    total = counts + means
    if not total:
        return SLOWER
    if counts / total > _MOSTLY:
        return MORE
    return SLOWER if means / total > _MOSTLY else BOTH


def _is_told_alike(row: Row, kind: str) -> bool:
    """Whether what the kind names went the same way by its medians as by its total."""
    named = {MORE: (row.count,), SLOWER: (row.mean,), BOTH: (row.count, row.mean)}[kind]
    return all(_has_moved(values, grew=row.grew) for values in named)


def _has_moved(values: Values, *, grew: bool) -> bool:
    return values.difference > 0 if grew else values.difference < 0


def _has_grown(gate: Gate) -> bool:
    """Whether a metric that changed grew."""
    assert gate.values.shift is not None
    return gate.values.shift.estimate > 0


def _of_waiting(comparison: Comparison) -> Iterator[Cause]:
    gate = comparison.gate(WAITING)
    difference, grew = gate.values.difference, _has_grown(gate)
    waits = [
        part
        for part in comparison.waits
        if part.key[1] not in NOT_WAITED_FOR
        and part.has_grown(grew)
        and abs(part.difference) > _WORTH_NAMING * abs(difference)
    ]
    at_barriers = tuple(p for p in waits if p.key[1] in AT_BARRIERS)
    groups = [at_barriers, *((p,) for p in waits if p.key[1] not in AT_BARRIERS)]
    for group in sorted(filter(None, groups), key=_sum, reverse=True)[:_NAMED_AT_MOST]:
        category = semconv.BARRIER if group is at_barriers else group[0].key[1]
        yield _waiting(comparison, category, group, None, grew=grew)


def _waiting(
    comparison: Comparison,
    category: str,
    waits: tuple[Part, ...],
    on_wall: Part | None,
    *,
    grew: bool,
) -> Cause:
    wall_us, is_clear = _told_by(on_wall)
    return Cause(
        kind=WAITS,
        is_growth=grew,
        category=category,
        row=None,
        path=None,
        wall_us=wall_us,
        waits=waits,
        on=_whom(comparison, {part.key[1] for part in waits}, grew=grew),
        is_clear=is_clear or any(part.is_clear for part in waits),
    )


def _sum(parts: Iterable[Part]) -> float:
    return abs(sum(part.difference for part in parts))


def _whom(comparison: Comparison, categories: set[str], *, grew: bool) -> tuple[str, ...]:
    """Return for whom it waited that much longer: all that make up a good part of it."""
    groups = (comparison.base, comparison.candidate)
    names = {w.on for g in groups for d in g for w in d.waited_on if w.category in categories}
    sign = 1 if grew else -1
    by_name = {
        name: sign * (_waited(groups[1], categories, name) - _waited(groups[0], categories, name))
        for name in sorted(names)
    }
    longest = sorted(by_name, key=lambda name: -by_name[name])
    least = 0.3 * max([0.0, *by_name.values()])
    return tuple(n for n in longest[:2] if by_name[n] > least)


def _waited(digests: Sequence[Digest], categories: set[str], name: str) -> float:
    return median(
        sum(w.us for w in d.waited_on if w.on == name and w.category in categories) for d in digests
    )


def _is_outweighed(cause: Cause, waits: Sequence[Cause]) -> bool:
    """Whether others waited longer for the nodes' own code than it took itself."""
    if cause.category != semconv.COMPUTE or cause.row is None:
        return False
    holding = [
        _sum(wait.waits)
        for wait in waits
        if wait.category in _FOLLOWS and wait.is_growth == cause.is_growth
    ]
    return max(holding, default=0.0) > abs(cause.row.total.difference)

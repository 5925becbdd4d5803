"""N runs against N: what got slower, why, and how sure that is.

The unit is the run, because the spans of one run are not independent: whatever made it slow made
all of them slow. So every metric has one value for each run. Few metrics, declared beforehand, are
judged; what every path and category did is shown to be read, but decides nothing: of a hundred, a
few always look changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Final

from ..clip import Key
from .amounts import Amount, Example, Path
from .digest import Digest
from .gate import (
    FALSE_ALARMS,
    NO_REGRESSION,
    NOT_MEASURED,
    REGRESSION,
    TOO_FEW,
    UNDECIDED,
    Gate,
    Values,
    judge,
    values_of,
)
from .measures import endings_of, measure_of
from .provenance import Doubts, doubts_about
from .rules import Rule
from .statistics import order_of, shift
from .structure import Structure, structure_of

LEAD_ERROR: Final = Fraction(1, 40)
"""Each end of the interval of a path or category: 95 % of its own, not of all together."""
_NAMES_AT_LEAST: Final = 2
"""Of a path's end, so that it can be read without the others: `node worker / git commit`."""


@dataclass(frozen=True, slots=True)
class Row:
    """A path or a category in both groups.

    Attributes:
        path: its names; None for a category.
        ending: the last of them, enough to tell it from all other paths; of a category, none.
        key: what it counts as: state and category.
        base_runs, candidate_runs: how many runs of each group have it.
        count, mean, median, p95, total: their values; ln(total) = ln(count) + ln(mean).
        wall_share: median share of the run in which any of it went on, in base and candidate.
        waiting_share: median share of its time in which it waited, likewise.
        worst: the longest of the candidate's spans, or of the base's; a category has none.
    """

    path: Path | None
    ending: Path
    key: Key
    base_runs: int
    candidate_runs: int
    count: Values
    mean: Values
    median: Values
    p95: Values
    total: Values
    wall_share: tuple[float, float]
    waiting_share: tuple[float, float]
    worst: Example | None

    @property
    def is_lead(self) -> bool:
        """Whether its total or its mean changed, as far as it alone can tell.

        Where some runs have none of it there is neither, but how often it comes: it may be new.
        """
        told = (self.count,) if self.total.shift is None else (self.total, self.mean)
        return any(v.shift is not None and v.shift.is_clear for v in told)

    @property
    def grew(self) -> bool:
        """Whether its total is larger in the candidate."""
        shift = self.total.shift
        return (self.total.difference if shift is None else shift.estimate) > 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a whole that is the same in all runs: its values, in microseconds, 0 where missing.

    Attributes:
        key: state and category.
        base, candidate: the medians.
        difference: the median of the pairwise differences.
        is_clear: its interval is on one side of zero.
    """

    key: Key
    base: float
    candidate: float
    difference: float
    is_clear: bool

    def has_grown(self, grew: bool) -> bool:
        """Whether it grew, or shrank if not `grew`, by its medians and by their difference alike.

        They are not of one statistic: of values that scatter, one may grow and the other shrink.
        """
        return (self.difference > 0) == grew and (
            self.candidate > self.base if grew else self.candidate < self.base
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two groups of runs, and what follows.

    Attributes:
        base, candidate: the runs of each, by start.
        gates: what is said of each metric that is judged, in the order of the rules.
        false_alarms: how often at most such a comparison says regression where nothing differs.
        on_wall: the parts of the wall, the largest difference first.
        waits: all waits by category, likewise.
        categories, paths: what each did, the largest difference of totals first.
        structure: paths that are new, gone, or come more or less often.
        doubts: what makes the answer less sure.
    """

    base: tuple[Digest, ...]
    candidate: tuple[Digest, ...]
    gates: tuple[Gate, ...]
    false_alarms: float
    on_wall: tuple[Part, ...]
    waits: tuple[Part, ...]
    categories: tuple[Row, ...]
    paths: tuple[Row, ...]
    structure: Structure
    doubts: Doubts

    @property
    def standing(self) -> str:
        """The answer: the worst of what is said of the metrics."""
        said = {gate.standing for gate in self.gates} - {NOT_MEASURED}
        for standing in (REGRESSION, TOO_FEW, UNDECIDED):
            if standing in said:
                return standing
        return NO_REGRESSION if self.doubts.unlike_ends is None else UNDECIDED

    @property
    def is_one_each(self) -> bool:
        """Whether there is nothing that could tell an effect from chance."""
        return len(self.base) == len(self.candidate) == 1

    @property
    def tells_chance(self) -> bool:
        """Whether there are runs enough for the intervals of paths and categories."""
        return order_of(len(self.base), len(self.candidate), LEAD_ERROR) > 0

    def gate(self, metric: str) -> Gate:
        """Return what is said of one metric."""
        return next(g for g in self.gates if g.rule.metric == metric)

    @property
    def calls(self) -> tuple[Row, ...]:
        """The paths without the parts of what counts as one: a call's attempts are the call."""
        keys = {row.path: row.key for row in self.paths if row.path}
        return tuple(r for r in self.paths if r.path and keys.get(r.path[:-1]) != r.key)

    def exit_code(self, *, strict: bool) -> int:
        """Return 1 for a regression, 3 for what is undecided if that is to fail, else 0."""
        if self.standing == REGRESSION and not self.doubts.advisory:
            return 1
        is_decided = self.standing == NO_REGRESSION and not self.doubts.advisory
        return 3 if strict and not is_decided else 0


def compare(
    base: Iterable[Digest], candidate: Iterable[Digest], rules: Sequence[Rule], *, trusted: bool
) -> Comparison:
    """Compare two groups of at least one run each.

    Args:
        base, candidate: the groups, in any order.
        rules: what is judged.
        trusted: the runs are of one machine and session, whatever they say.

    Raises:
        OrchestratorError: a rule names what these runs do not have.
    """
    before, after = _by_start(base), _by_start(candidate)
    error = FALSE_ALARMS / len(rules)
    gates = tuple(
        judge(measure_of(rule.metric, before + after), rule, before, after, error) for rule in rules
    )
    return Comparison(
        base=before,
        candidate=after,
        gates=gates,
        false_alarms=sum(
            gate.values.shift.error
            for gate in gates
            if gate.values.shift is not None and gate.standing not in (TOO_FEW, NOT_MEASURED)
        ),
        on_wall=_parts(before, after, lambda digest: digest.on_wall),
        waits=_parts(before, after, lambda d: {("waiting", c): us for c, us in d.waits.items()}),
        categories=_rows(before, after, _categories_of),
        paths=_rows(before, after, _paths_of),
        structure=structure_of(before, after, LEAD_ERROR),
        doubts=doubts_about(before, after, trusted=trusted),
    )


def _by_start(digests: Iterable[Digest]) -> tuple[Digest, ...]:
    return tuple(sorted(digests, key=lambda d: (d.start_us, d.run_id)))


def _parts(
    base: Sequence[Digest],
    candidate: Sequence[Digest],
    parts_of: Callable[[Digest], Mapping[Key, int]],
) -> tuple[Part, ...]:
    groups = [[parts_of(digest) for digest in group] for group in (base, candidate)]
    keys = sorted({key for group in groups for parts in group for key in parts})
    found = []
    for key in keys:
        before, after = ([float(p.get(key, 0)) for p in group] for group in groups)
        apart = shift(before, after, LEAD_ERROR)
        part = Part(key, median(before), median(after), apart.estimate, apart.is_clear)
        found.append(part)
    return tuple(sorted(found, key=lambda part: (-abs(part.difference), part.key)))


@dataclass(frozen=True, slots=True)
class _Found:
    """One path or category of one run."""

    key: Key
    amount: Amount
    wall_us: int
    worst: Example | None

    @property
    def wall_share(self) -> float:
        return self.amount.covered_us / self.wall_us if self.wall_us else 0.0


_Name = tuple[str, ...]
_Rows = dict[_Name, _Found]


def _categories_of(digest: Digest) -> _Rows:
    return {c.key: _Found(c.key, c.amount, digest.wall_us, None) for c in digest.categories}


def _paths_of(digest: Digest) -> _Rows:
    return {p.path: _Found(p.key, p.amount, digest.wall_us, p.worst) for p in digest.paths}


def _rows(
    base: Sequence[Digest], candidate: Sequence[Digest], rows_of: Callable[[Digest], _Rows]
) -> tuple[Row, ...]:
    groups = [[rows_of(digest) for digest in group] for group in (base, candidate)]
    names = sorted({name for group in groups for rows in group for name in rows})
    endings = endings_of(names, _NAMES_AT_LEAST) if rows_of is _paths_of else {}
    rows = [_row(name, groups, endings.get(name)) for name in names]
    return tuple(sorted(rows, key=lambda row: -abs(row.total.difference)))


def _row(name: _Name, groups: list[list[_Rows]], ending: Path | None) -> Row:
    before, after = ([rows.get(name) for rows in group] for group in groups)
    there = [f for f in after if f is not None] or [f for f in before if f is not None]

    def values(of: Callable[[Amount], float], *, is_time: bool) -> Values:
        nothing = None if is_time else 0.0
        told = [
            tuple(nothing if f is None else of(f.amount) for f in group)
            for group in (before, after)
        ]
        return values_of(told[0], told[1], LEAD_ERROR, is_time=is_time)

    def shares(of: Callable[[_Found], float]) -> tuple[float, float]:
        told = [[0.0 if f is None else of(f) for f in group] for group in (before, after)]
        return median(told[0]), median(told[1])

    return Row(
        path=None if ending is None else name,
        ending=ending or (),
        key=there[0].key,
        base_runs=sum(f is not None for f in before),
        candidate_runs=sum(f is not None for f in after),
        count=values(lambda a: a.count, is_time=False),
        mean=values(lambda a: a.mean_us, is_time=True),
        median=values(lambda a: a.median_us, is_time=True),
        p95=values(lambda a: a.p95_us, is_time=True),
        total=values(lambda a: a.total_us, is_time=True),
        wall_share=shares(lambda f: f.wall_share),
        waiting_share=shares(lambda f: f.amount.waiting_share),
        worst=max((f.worst for f in there if f.worst is not None), key=_length, default=None),
    )


def _length(example: Example) -> tuple[int, str]:
    return example.us, example.span_id

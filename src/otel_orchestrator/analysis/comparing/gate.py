"""Judge one metric of two groups of runs: has it got worse, has it not, or can that not be told?

                0        threshold
──────────────────┬──────────┬──────────────▶ candidate against base
no regression   ├─┼───●───┤  │               no part of the interval is past the threshold
regression        │ ├────────┼──●────────┤   it is above 0, and the estimate past the threshold
undecided      ├──┼──────●───┼────┤          neither
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, log, log1p
from statistics import median
from typing import Final

from .digest import Digest
from .measures import Measure
from .rules import Rule
from .statistics import Shift, order_of, shift

REGRESSION: Final = "regression"
NO_REGRESSION: Final = "no regression"
UNDECIDED: Final = "undecided"
TOO_FEW: Final = "too few runs"
NOT_MEASURED: Final = "not measured"

FALSE_ALARMS: Final = Fraction(1, 20)
"""How often a comparison may say regression where nothing differs, all of its metrics together."""
RUNS_AT_LEAST: Final = 4

# Below what any clock tells; keeps the logarithm of nothing finite.
_LEAST_US: Final = 1.0
_LEAST_COUNT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Values:
    """One value of each run of two groups, and how far they are apart.

    Attributes:
        is_time: they are in microseconds.
        base, candidate: the values; None for a run that has none.
        shift: between their logarithms; None unless every run has a value.
    """

    is_time: bool
    base: tuple[float | None, ...]
    candidate: tuple[float | None, ...]
    shift: Shift | None

    @property
    def base_median(self) -> float | None:
        """The median of the base's values."""
        return _median(self.base)

    @property
    def candidate_median(self) -> float | None:
        """The median of the candidate's values."""
        return _median(self.candidate)

    @property
    def difference(self) -> float:
        """The difference of the two medians; what is not there counts as 0."""
        return (self.candidate_median or 0.0) - (self.base_median or 0.0)

    @property
    def is_plain(self) -> bool:
        """Whether the medians and the shift say the same: not one that it grew, one that it shrank.

        The median of the differences is not the difference of the medians.
        """
        return self.shift is None or self.difference * self.shift.estimate >= 0

    @property
    def has_share(self) -> bool:
        """Whether a change is a share of anything: from nothing and to nothing there is none."""
        return bool(self.shift is not None and self.base_median and self.candidate_median)

    @property
    def are_nothing(self) -> bool:
        """Whether no run of either group has any."""
        return not any(self.base + self.candidate)


@dataclass(frozen=True, slots=True)
class Gate:
    """What is said of one metric.

    Attributes:
        measure, rule: which, and how much of it is too much.
        values: of every run.
        threshold: the logarithm of the growth from which it counts.
        least_fall: the logarithm of the fall from which it counts, as a positive number; infinite
            where all that there is would be too little.
        standing: `regression`, `no regression`, `undecided`, `too few runs` or `not measured`.
        smallest_found: the logarithm of the smallest growth that would have been a regression,
            with values that scatter like these.
    """

    measure: Measure
    rule: Rule
    values: Values
    threshold: float
    least_fall: float
    standing: str
    smallest_found: float | None

    @property
    def has_moved(self) -> bool:
        """Whether the change is past its limits, up or down, by chance or not."""
        return self._moved() != 0

    @property
    def is_better(self) -> bool:
        """Whether it fell past its limits, beyond chance."""
        apart = self.values.shift
        return apart is not None and apart.high < 0 and self._moved() < 0

    def _moved(self) -> int:
        apart = self.values.shift
        if apart is None or -self.least_fall <= apart.estimate <= self.threshold:
            return 0
        return 1 if apart.estimate > 0 else -1


def values_of(
    base: Sequence[float | None],
    candidate: Sequence[float | None],
    error: Fraction,
    *,
    is_time: bool,
) -> Values:
    """Return the values of both groups with their shift; each of its ends errs as often as told."""
    known = [[v for v in group if v is not None] for group in (base, candidate)]
    apart = None
    if all(known) and len(known[0]) == len(base) and len(known[1]) == len(candidate):
        least = _LEAST_US if is_time else _LEAST_COUNT
        logs = [[log(max(v, least)) for v in group] for group in known]
        apart = shift(logs[0], logs[1], error)
    return Values(is_time, tuple(base), tuple(candidate), apart)


def judge(
    measure: Measure,
    rule: Rule,
    base: Sequence[Digest],
    candidate: Sequence[Digest],
    error: Fraction,
) -> Gate:
    """Judge one metric; `error` is how often it alone may give a false alarm."""
    told = [[measure.value(digest) for digest in group] for group in (base, candidate)]
    values = values_of(told[0], told[1], error, is_time=measure.is_time)
    threshold, least_fall = _limits(rule, values)
    standing = _standing(values, threshold, error)
    smallest = None
    if values.shift is not None and standing in (REGRESSION, NO_REGRESSION, UNDECIDED):
        smallest = max(values.shift.smallest_found, threshold)
    return Gate(measure, rule, values, threshold, least_fall, standing, smallest)


def _limits(rule: Rule, values: Values) -> tuple[float, float]:
    """Return the logarithms of the growth and of the fall from which they count."""
    before = values.base_median or 0.0
    # A share of nothing is nothing: there, only a limit in time is one.
    share = rule.share if before else 0.0
    if values.is_time:
        share = max(share, rule.us / max(before, _LEAST_US))
    return log1p(share), -log1p(-share) if share < 1 else inf


def _standing(values: Values, threshold: float, error: Fraction) -> str:
    n, m = len(values.base), len(values.candidate)
    apart = values.shift
    if all(v is None for v in values.base + values.candidate):
        return NOT_MEASURED
    if min(n, m) < RUNS_AT_LEAST or order_of(n, m, error) == 0:
        return TOO_FEW
    if apart is None:
        return UNDECIDED
    if apart.low > 0 and apart.estimate > threshold:
        return REGRESSION
    return NO_REGRESSION if apart.high <= threshold else UNDECIDED


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return median(known) if known else None

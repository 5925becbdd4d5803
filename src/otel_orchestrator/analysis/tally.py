"""Adding time up by category, exactly: breakdowns, which add up to their whole, and what they are
made from.

Shares are added up as exact fractions and rounded once, to nanoseconds that add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from msgspec import Struct

from .. import semconv
from .clip import Key, Ran

IDLE: Final = "idle"
NO_WORK: Final = "no_work"

SCALE_BITS: Final = 40
"""What a span with short waits did itself is added up in nanoseconds times two to this power."""

_STATES: Final = (semconv.WORKING, semconv.WAITING, IDLE)


# No dataclasses, here and where there is one for each job: a frozen one takes six times as long to
# make.
class Part(Struct, frozen=True, gc=False, array_like=True):
    """What one category took.

    Attributes:
        state: `working`, `waiting`, or `idle` for a slot that had nothing to do.
        category: `llm`, `git`, …; of a wait, what kind of wait.
        ns: how long.
    """

    state: str
    category: str
    ns: int


class Breakdown(Struct, frozen=True, gc=False, array_like=True):
    """A whole and its parts, which add up to it exactly; the largest first within each state."""

    whole_ns: int
    parts: tuple[Part, ...]

    def ns(self, *categories: str, state: str | None = None) -> int:
        """Return what these categories took together; of one state only, if that is given."""
        ns = 0
        for part in self.parts:
            if part.category in categories and state in (None, part.state):
                ns += part.ns
        return ns

    def of_state(self, state: str) -> int:
        """Return what all categories of a state took together."""
        return sum(p.ns for p in self.parts if p.state == state)

    def share(self, *categories: str, state: str | None = None) -> float:
        """Return the share of the whole, from 0 to 1; 0 of nothing."""
        return self.ns(*categories, state=state) / self.whole_ns if self.whole_ns else 0.0


def breakdown_of(amounts: Mapping[Key, int]) -> Breakdown:
    """Return a breakdown of whole nanoseconds by state and category, without the empty ones."""
    parts = [(_STATES.index(key[0]), -ns, key[1], key[0]) for key, ns in amounts.items() if ns]
    parts.sort()
    return Breakdown(
        sum(amounts.values()),
        tuple([Part(state, category, -negative) for _, negative, category, state in parts]),
    )


def together(breakdowns: Iterable[Breakdown]) -> Breakdown:
    """Add breakdowns up."""
    amounts: dict[Key, int] = {}
    for breakdown in breakdowns:
        for part in breakdown.parts:
            key = part.state, part.category
            amounts[key] = amounts.get(key, 0) + part.ns
    return breakdown_of(amounts)


class Tally:
    """Time by category, as it is added up.

    Attributes:
        alone: nanoseconds that went to one span at a time.
        shared: nanoseconds of which one span gets 1/k, by k.
        own: what each span that has waits without spans of their own did itself, scaled.
    """

    __slots__ = ("alone", "own", "shared")

    def __init__(
        self,
        alone: dict[Key, int] | None = None,
        shared: dict[tuple[Key, int], int] | None = None,
    ) -> None:
        self.alone: dict[Key, int] = alone or {}
        self.shared: dict[tuple[Key, int], int] = shared or {}
        self.own: dict[Ran, int] = {}

    def add(self, key: Key, ns: int) -> None:
        """Give time to one category."""
        self.alone[key] = self.alone.get(key, 0) + ns

    def share(self, key: Key, ns: int, of: int) -> None:
        """Give a category one part in so many of some time."""
        if of == 1:
            self.add(key, ns)
        else:
            self.shared[key, of] = self.shared.get((key, of), 0) + ns

    def did(self, ran: Ran, scaled: int) -> None:
        """Note what a span did itself, in scaled nanoseconds."""
        self.own[ran] = self.own.get(ran, 0) + scaled

    def merge(self, other: Tally) -> None:
        """Add what another has added up."""
        for key, ns in other.alone.items():
            self.alone[key] = self.alone.get(key, 0) + ns
        for part, ns in other.shared.items():
            self.shared[part] = self.shared.get(part, 0) + ns
        for ran, scaled in other.own.items():
            self.own[ran] = self.own.get(ran, 0) + scaled

    def move(self, source: Key, target: Key, ns: int) -> None:
        """Move time from one category to another."""
        self.add(source, -ns)
        self.add(target, ns)

    def breakdown(self) -> Breakdown:
        """Round to nanoseconds: down, and those left over go to the largest remainders."""
        return breakdown_of(self._rounded() if self.shared else self.alone)

    def _rounded(self) -> dict[Key, int]:
        exact = {key: Fraction(ns) for key, ns in self.alone.items()}
        for (key, of), ns in self.shared.items():
            exact[key] = exact.get(key, Fraction(0)) + Fraction(ns, of)
        amounts = {key: int(value) for key, value in exact.items()}
        left = int(sum(exact.values(), Fraction(0))) - sum(amounts.values())
        by_remainder = sorted(exact, key=lambda key: (amounts[key] - exact[key], key))
        for key in by_remainder[:left]:
            amounts[key] += 1
        return amounts

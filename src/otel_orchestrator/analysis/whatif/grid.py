"""What two changes at once would lead to: faster LLM calls, and another number of workers.

Every pair is estimated beforehand, as `whatif` estimates each alone, so that a page can step
through them without arithmetic of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ... import semconv
from ..outline import Outline
from ..phases import phases_of
from .paper import Band, Paper

SPEEDS: Final[tuple[float, ...]] = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times as fast LLM calls would be."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Estimates for each speed of LLM calls and each number of workers.

    Attributes:
        speeds: how many times as fast; only 1 where no LLM call was recorded.
        workers: how many; only the measured number where none was limited.
        slots: the measured number of workers.
        bands: the wall clock, by speed, then by number of workers; empty if it cannot be told.
        reason: why it cannot be told.
        fixed: why the number of workers stays what it is, if so.
    """

    speeds: tuple[float, ...]
    workers: tuple[int, ...]
    slots: int
    bands: tuple[tuple[Band, ...], ...]
    reason: str | None = None
    fixed: str | None = None


def what_if_grid(outline: Outline) -> Grid:
    """Estimate all pairs."""
    paper = Paper(outline, phases_of(outline))
    slots = outline.slots
    reason = paper.why_not()
    if reason is not None:
        return Grid((1.0,), (slots,), slots, (), reason)
    llm = paper.served_ns(semconv.LLM, state=semconv.WORKING)
    speeds = SPEEDS if any(llm) else (1.0,)
    fixed = None if outline.limit else "nothing waited for a slot: their number was not limited"
    workers = (slots,) if fixed else _workers(slots)

    def band(speed: float, count: int) -> Band:
        # Those that are placed come first.
        measured = zip(paper.measured, llm, strict=False)
        times = [took - ns + round(ns / speed) for took, ns in measured]
        found = paper.estimate("", "", times, count, ()).band
        assert found is not None  # there is a reason otherwise
        return found

    bands = tuple(tuple(band(speed, count) for count in workers) for speed in speeds)
    return Grid(speeds, workers, slots, bands, fixed=fixed)


def _workers(slots: int) -> tuple[int, ...]:
    near = (slots - 1, slots, slots + 1, slots + 2, slots * 2)
    return tuple(sorted({n for n in near if n >= 1}))

"""What takes the largest part of the wall, for runs in which none of the four suspects does."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from ... import semconv
from .findings import Case


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest part of the wall.

    Attributes:
        state, category: what it counts as.
        share_of_wall: from 0 to 1.
        node: the node in whose jobs most of it is; None where there is none.
    """

    state: str
    category: str
    share_of_wall: float
    node: str | None


def largest_of(case: Case) -> Largest | None:
    """Return the largest part of the wall; None where the run took no time."""
    part = max(case.accounting.wall.parts, key=attrgetter("ns"), default=None)
    if part is None:
        return None
    node = None
    # What an agent did that hands out work is in no job.
    if part.state == semconv.WORKING and case.outline.root.operation != semconv.INVOKE_AGENT:
        node = _mostly_in(case, part.category)
    return Largest(part.state, part.category, case.of_wall(part.ns), node)


def _mostly_in(case: Case, category: str) -> str | None:
    phases = case.phases
    jobs = (*phases.opening, *phases.cycle, *case.chain)
    by_name: dict[str, int] = {}
    for job in jobs if case.outline.supersteps else case.outline.jobs:
        ns = case.service(job).ns(category, state=semconv.WORKING)
        by_name[job.name] = by_name.get(job.name, 0) + ns
    name = max(sorted(by_name), key=by_name.__getitem__, default="")
    return name if 2 * by_name.get(name, 0) > sum(by_name.values()) else None

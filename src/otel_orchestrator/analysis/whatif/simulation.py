"""List scheduling: what a number of slots makes of jobs that need each other.

A slot that is free takes a job that is ready, always; which one, the order says. Jobs are never
interrupted. That is how a semaphore and a queue behave.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Literal

Order = Literal["first_ready", "longest_path"]


class Plan:
    """What has to wait for what, whatever it takes.

    Attributes:
        needs: of each item, the indices of the items that must have ended before.
        release_ns: it cannot start before this.
        needed_by: of each item, which need it.
        in_order: the indices such that what an item needs comes before it.
        is_free: every item may start at once.
    """

    __slots__ = ("in_order", "is_free", "needed_by", "needs", "release_ns")

    def __init__(
        self, needs: Sequence[Sequence[int]], release_ns: Sequence[int] | None = None
    ) -> None:
        """Make a plan.

        Raises:
            ValueError: some items need each other.
        """
        self.needs = needs
        self.release_ns = release_ns or [0] * len(needs)
        self.is_free = not any(needs) and not any(self.release_ns)
        self.needed_by: list[list[int]] = [[] for _ in needs]
        for n, needed in enumerate(needs):
            for m in needed:
                self.needed_by[m].append(n)
        self.in_order = self._sorted()
        if len(self.in_order) < len(needs):
            raise ValueError("some items need each other")

    def _sorted(self) -> list[int]:
        open_needs = [len(needed) for needed in self.needs]
        order = [n for n, count in enumerate(open_needs) if count == 0]
        for n in order:  # grows while it is walked
            for m in self.needed_by[n]:
                open_needs[m] -= 1
                if open_needs[m] == 0:
                    order.append(m)
        return order


def starts(
    plan: Plan, service_ns: Sequence[int], slots: int, order: Order = "first_ready"
) -> list[int]:
    """Return when each item starts.

    Args:
        plan: what has to wait for what.
        service_ns: how long each item occupies a slot.
        slots: how many run at once.
        order: `first_ready` takes what has been ready for longest, of equals the first;
            `longest_path` takes what the longest chain of other items waits for.
    """
    release_ns, needed_by = plan.release_ns, plan.needed_by
    count = len(service_ns)
    rank = [0] * count if order == "first_ready" else _by_path(plan, service_ns)
    open_needs = [len(needed) for needed in plan.needs]
    found = [-1] * count
    arrivals = sorted((release_ns[n], n) for n in range(count) if not open_needs[n])
    ready: list[tuple[int, int, int]] = []
    running: list[tuple[int, int]] = []
    while arrivals or running:
        now = min(queue[0][0] for queue in (arrivals, running) if queue)
        while running and running[0][0] <= now:
            for n in needed_by[heappop(running)[1]]:
                open_needs[n] -= 1
                if open_needs[n] == 0:
                    heappush(arrivals, (max(now, release_ns[n]), n))
        while arrivals and arrivals[0][0] <= now:
            at, n = heappop(arrivals)
            heappush(ready, (rank[n], at, n))
        while ready and len(running) < slots:
            n = heappop(ready)[2]
            found[n] = now
            heappush(running, (now + service_ns[n], n))
    return found


def makespan(
    plan: Plan, service_ns: Sequence[int], slots: int, order: Order = "first_ready"
) -> int:
    """Return when the last item ends."""
    if not plan.is_free:
        placed = starts(plan, service_ns, slots, order)
        return max([at + ns for at, ns in zip(placed, service_ns, strict=True)])
    if len(service_ns) <= slots:
        return max(service_ns, default=0)
    if slots == 1:
        return sum(service_ns)
    # Whoever is next takes the slot that is free first: there is nothing else to look at.
    queue = service_ns if order == "first_ready" else sorted(service_ns, reverse=True)
    ends = list(queue[:slots])
    heapify(ends)
    for ns in queue[slots:]:
        heapreplace(ends, ends[0] + ns)
    return max(ends)


def bound(plan: Plan, service_ns: Sequence[int], slots: int) -> int:
    """Return what no order can beat: the longest chain, or all work spread over all slots."""
    spread = -(-sum(service_ns) // slots)
    if plan.is_free:
        return max(spread, max(service_ns, default=0))
    ends = [0] * len(service_ns)
    for n in plan.in_order:
        ends[n] = max([plan.release_ns[n], *[ends[m] for m in plan.needs[n]]]) + service_ns[n]
    return max(spread, *ends)


def _by_path(plan: Plan, service_ns: Sequence[int]) -> list[int]:
    """Rank items by how long they take together with the longest chain that needs them."""
    lengths = list(service_ns)
    for n in reversed(plan.in_order):
        if needed_by := plan.needed_by[n]:
            lengths[n] += max([lengths[m] for m in needed_by])
    return [-length for length in lengths]

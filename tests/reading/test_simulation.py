"""List scheduling: what a number of slots makes of jobs that need each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.whatif import simulation
from otel_orchestrator.analysis.whatif.simulation import Plan


@dataclass(frozen=True)
class Item:
    service_ns: int
    needs: tuple[int, ...] = ()
    release_ns: int = 0


def planned(items: list[Item]) -> tuple[Plan, list[int]]:
    plan = Plan([i.needs for i in items], [i.release_ns for i in items])
    return plan, [i.service_ns for i in items]


def test_a_free_slot_takes_what_has_been_ready_for_longest() -> None:
    """Two slots. 0: 5, 1: 3, 2: 4 after 1, 3: 2 from the beginning but last in line.

    slot 0  ├ 0 ──┤├ 2 ──┤      2 is ready at 3, but 3 has been since 0
    slot 1  ├ 1┤├3┤
    """
    items = [Item(5), Item(3), Item(4, (1,)), Item(2)]
    assert simulation.starts(*planned(items), 2) == [0, 0, 5, 3]
    assert simulation.makespan(*planned(items), 2) == 9
    assert simulation.starts(*planned(items), 2, "longest_path") == [0, 0, 3, 5]
    assert simulation.bound(*planned(items), 2) == 7


def test_longest_chain_first_starts_what_others_wait_for() -> None:
    """One slot, 1 and its successor 2 are the longest chain."""
    items = [Item(4), Item(3), Item(9, (1,))]
    assert simulation.starts(*planned(items), 1) == [0, 4, 7]
    assert simulation.starts(*planned(items), 1, "longest_path") == [12, 0, 3]


def test_nothing_starts_before_its_release() -> None:
    assert simulation.starts(*planned([Item(2, (), 7), Item(1)]), 1) == [7, 0]
    assert simulation.bound(*planned([Item(2, (), 7), Item(1)]), 1) == 9


def test_items_that_need_each_other_are_an_error() -> None:
    with pytest.raises(ValueError, match="need each other"):
        simulation.starts(*planned([Item(1, (1,)), Item(1, (0,))]), 1)


@st.composite
def plans(draw: st.DrawFn) -> list[Item]:
    return [
        Item(
            draw(st.integers(0, 6)),
            tuple(sorted(draw(st.sets(st.integers(0, n - 1), max_size=2)))) if n else (),
            draw(st.sampled_from((0, 0, 3))),
        )
        for n in range(draw(st.integers(0, 5)))
    ]


@settings(max_examples=200, deadline=None)
@given(items=plans(), slots=st.integers(1, 3))
def test_schedules_are_possible_never_lazy_and_never_beat_the_bound(
    items: list[Item], slots: int
) -> None:
    for order in ("first_ready", "longest_path"):
        starts = simulation.starts(*planned(items), slots, order)
        ends = [s + i.service_ns for s, i in zip(starts, items, strict=True)]
        assert simulation.makespan(*planned(items), slots, order) == max(ends, default=0)
        for n, item in enumerate(items):
            ready = max([item.release_ns, *(ends[m] for m in item.needs)])
            assert starts[n] >= ready
            for tick in range(ready, starts[n]):
                assert sum(s <= tick < e for s, e in zip(starts, ends, strict=True)) == slots
        for tick in range(max(ends, default=0)):
            assert sum(s <= tick < e for s, e in zip(starts, ends, strict=True)) <= slots
        assert max(ends, default=0) >= simulation.bound(*planned(items), slots)


@settings(max_examples=60, deadline=None)
@given(items=plans(), slots=st.integers(1, 2))
def test_no_order_at_all_beats_the_bound(items: list[Item], slots: int) -> None:
    best = min((_in_this_order(items, order, slots) for order in permutations(range(len(items)))),
               default=0)  # fmt: skip
    assert best >= simulation.bound(*planned(items), slots)


def _in_this_order(items: list[Item], order: tuple[int, ...], slots: int) -> int:
    """Place each as early as its needs and one slot allow; needs that come later: impossible."""
    free, ends = [0] * slots, dict[int, int]()
    for n in order:
        if not set(items[n].needs) <= set(ends):
            return 10**9
        at = max([min(free), items[n].release_ns, *(ends[m] for m in items[n].needs)])
        free[free.index(min(free))] = ends[n] = at + items[n].service_ns
    return max(free)


# --- estimates ---

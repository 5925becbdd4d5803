"""Two changes at once: the estimates of a page's sliders are those of what-if, and more."""

from __future__ import annotations

from itertools import pairwise

from otel_orchestrator.analysis.in_flight import in_flight
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.whatif.estimates import what_if
from otel_orchestrator.analysis.whatif.grid import SPEEDS, what_if_grid
from otel_orchestrator.model import Run

from .made import Control, Task, made

PLAN = [
    Task("a", llm=300, git=20),
    Task("b", llm=900),
    Task("c", needs="a", llm=400),
    Task("d", llm=250),
]


def run_of(*, is_limited: bool = True) -> Run:
    director, strategist = Control(llm=50), Control(llm=30)
    return made(PLAN, 2, director, strategist, is_limited=is_limited)


def test_one_change_alone_is_what_what_if_says() -> None:
    outline = outline_of(run_of())
    grid, alone = what_if_grid(outline), what_if(outline)
    at = {
        (s, w): grid.bands[i][j]
        for i, s in enumerate(grid.speeds)
        for j, w in enumerate(grid.workers)
    }
    assert at[1.0, 2].expected_ns == outline.wall_ns
    assert at[2.0, 2] == alone.named("llm_twice_as_fast").band
    assert at[1.0, 3] == alone.named("workers_plus_1").band
    assert at[1.0, 1] == alone.named("workers_minus_1").band
    assert at[1.0, 4] == alone.named("workers_times_2").band


def test_both_changes_save_at_least_as_much_as_each() -> None:
    grid = what_if_grid(outline_of(run_of()))
    expected = [[band.expected_ns for band in bands] for bands in grid.bands]
    for slower, faster in pairwise(expected):
        assert all(a >= b for a, b in zip(slower, faster, strict=True))
    for bands in expected:
        assert bands == sorted(bands, reverse=True), "this plan gains from workers"
    assert grid.speeds == SPEEDS


def test_what_was_not_limited_stays() -> None:
    grid = what_if_grid(outline_of(run_of(is_limited=False)))
    assert grid.workers == (grid.slots,)
    assert grid.fixed is not None


def test_a_run_without_workers_has_a_reason_and_no_estimates() -> None:
    grid = what_if_grid(outline_of(made([])))
    assert grid.bands == ()
    assert grid.reason == "no superstep with workers was recorded"


def test_calls_in_flight_change_only_where_their_number_does() -> None:
    #  ├────┤
    #    ├──┼──┤      one ends as another starts: no change
    assert in_flight([(0, 5), (2, 5), (5, 8), (7, 7)]) == [(0, 1), (2, 2), (5, 1), (8, 0)]
    assert in_flight([]) == []

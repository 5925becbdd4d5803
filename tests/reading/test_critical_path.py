"""The critical path is Jaeger's: its own drawn cases, brute force, and a hundred thousand spans."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.critical_path import critical_path
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Span

Drawn = tuple[str, str | None, int, int]
Path = list[tuple[str, int, int]]


def made(drawn: Iterable[Drawn], kinds: dict[str, int] | None = None) -> list[Span]:
    return [Span("t", i, up, i, (kinds or {}).get(i, 1), a, b) for i, up, a, b in drawn]


def path_of(spans: list[Span], *, unit_ns: int = 1, touching: bool = False) -> Path:
    forest = forest_of(spans)
    path = critical_path(forest.roots[0], forest.below, 10**9, unit_ns=unit_ns, touching=touching)
    return [(s.span.name, s.start_ns, s.end_ns) for s in path]


# jaeger-ui, packages/jaeger-ui/src/components/TracePage/CriticalPath/testCases/test1.js to test9.js
JAEGER: list[tuple[list[Drawn], Path]] = [
    (
        [("C", None, 1, 101), ("D", "C", 20, 40), ("E", "C", 50, 60)],
        [("C", 1, 20), ("D", 20, 40), ("C", 40, 50), ("E", 50, 60), ("C", 60, 101)],
    ),
    (
        [("X", None, 1, 101), ("A", "X", 10, 50), ("C", "X", 20, 60)],
        [("X", 1, 20), ("C", 20, 60), ("X", 60, 101)],
    ),
    ([("A", None, 100, 140), ("B", "A", 150, 160)], [("A", 100, 140)]),
    ([("A", None, 1, 31), ("B", "A", 40, 80), ("C", "B", 50, 60)], [("A", 1, 31)]),
    ([("A", None, 1, 31), ("B", "A", 10, 20), ("C", "B", 12, 14)], [("A", 1, 31)]),
    (
        [("A", None, 1, 30), ("B", "A", 15, 35), ("C", "B", 10, 25)],
        [("A", 1, 15), ("C", 15, 25), ("B", 25, 30)],
    ),
    (
        [("A", None, 1, 30), ("B", "A", 15, 35), ("C", "B", 20, 40)],
        [("A", 1, 15), ("B", 15, 20), ("C", 20, 30)],
    ),
    ([("A", None, 10, 30), ("B", "A", 5, 35)], [("B", 10, 30)]),
    ([("A", None, 10, 30), ("B", "A", 1, 5)], [("A", 10, 30)]),
]


@pytest.mark.parametrize("number", range(len(JAEGER)))
def test_jaegers_own_drawn_cases(number: int) -> None:
    drawn, expected = JAEGER[number]
    producer_and_consumer = {"A": 4, "B": 5} if number == 4 else {}
    assert path_of(made(drawn, producer_and_consumer)) == expected


def test_a_child_that_ends_when_the_next_starts_is_passed_over_as_in_jaeger() -> None:
    spans = made([("p", None, 1, 100), ("a", "p", 10, 50), ("b", "p", 50, 90)])
    assert path_of(spans) == [("p", 1, 50), ("b", 50, 90), ("p", 90, 100)]
    assert path_of(spans, touching=True) == [
        ("p", 1, 10), ("a", 10, 50), ("b", 50, 90), ("p", 90, 100),
    ]  # fmt: skip


def test_instants_are_whole_microseconds_as_in_jaeger() -> None:
    spans = made([("p", None, 1_200, 9_900), ("a", "p", 2_500, 4_900), ("b", "p", 4_950, 8_100)])
    assert path_of(spans, unit_ns=1_000) == [
        ("p", 1_000, 4_000), ("b", 4_000, 8_000), ("p", 8_000, 9_000),
    ]  # fmt: skip


def test_of_children_that_end_together_the_first_is_on_the_path() -> None:
    spans = made([("p", None, 0, 50), ("a", "p", 5, 40), ("b", "p", 6, 40)])
    assert path_of(spans) == [("p", 0, 5), ("a", 5, 40), ("p", 40, 50)]


def test_the_straggler_is_on_the_path_and_not_who_waits_for_it() -> None:
    """Every task lasts until the barrier; the straggler's ends 2 µs after the others."""
    spans = made(
        [
            ("superstep", None, 0, 100_000),
            ("task a", "superstep", 1_000, 88_000),
            ("node a", "task a", 2_000, 20_000),
            ("wait a", "task a", 21_000, 88_000),
            ("task b", "superstep", 1_000, 90_000),
            ("node b", "task b", 2_000, 86_000),
        ]
    )
    assert [name for name, _, _ in path_of(spans, unit_ns=1_000)] == [
        "superstep", "task b", "node b", "task b", "superstep",
    ]  # fmt: skip


# --- brute force: jaeger-ui's recursion, line by line ---


def jaegers(spans: list[Span]) -> Path:
    forest = forest_of(spans)
    root = forest.roots[0]
    times = {root.span_id: (root.start_ns, root.end_ns or 10**9)}
    below: dict[str, list[str]] = {root.span_id: []}
    for span, depth in forest.walk():
        if depth == 0 or str(span.parent_id) not in times:
            continue
        start, end = span.start_ns, span.end_ns or 10**9
        parent_start, parent_end = times[str(span.parent_id)]
        if start >= parent_start:
            if start >= parent_end:
                continue
            end = min(end, parent_end)
        elif end <= parent_start:
            continue
        else:
            start, end = parent_start, min(end, parent_end)
        times[span.span_id] = (start, end)
        below[span.span_id] = []
        below[str(span.parent_id)].append(span.span_id)
    parent = {s.span_id: s.parent_id for s in spans}
    path: Path = []

    def compute(span_id: str, returning: int | None = None) -> None:
        last, latest = None, -1
        for child in below[span_id]:
            end = times[child][1]
            if (returning is None or end < returning) and end > latest:
                last, latest = child, end
        bound = times[span_id][1] if returning is None else returning
        edge = latest if last is not None else times[span_id][0]
        if edge != bound:
            path.append((span_id, edge, bound))
        if last is not None:
            compute(last)
        elif span_id != root.span_id:
            compute(str(parent[span_id]), times[span_id][0])

    compute(root.span_id)
    return path[::-1]


@st.composite
def trees(draw: st.DrawFn) -> list[Span]:
    spans = [Span("t", "00", None, "00", 1, 5, draw(st.integers(5, 40)))]
    for n in range(1, draw(st.integers(1, 12))):
        start = draw(st.integers(1, 40))
        end = draw(st.one_of(st.none(), st.integers(start, 45)))
        up = draw(st.sampled_from(spans)).span_id
        spans.append(Span("t", f"{n:02}", up, f"{n:02}", 1, start, end))
    return spans


@settings(max_examples=500, deadline=None)
@given(spans=trees())
def test_it_is_what_jaegers_recursion_finds(spans: list[Span]) -> None:
    root = min((s for s in spans if s.parent_id is None), key=lambda s: s.start_ns)
    if forest_of(spans).roots[0] is root:
        assert path_of(spans) == jaegers(spans)


@settings(max_examples=300, deadline=None)
@given(spans=trees(), touching=st.booleans())
def test_it_covers_the_root_without_a_gap(spans: list[Span], touching: bool) -> None:
    root = spans[0]
    path = path_of(spans, touching=touching)
    edges = [root.start_ns, *(end for _, _, end in path)]
    assert [start for _, start, _ in path] == edges[:-1]
    assert edges[-1] == root.end_ns


@pytest.mark.parametrize("shape", ["deep", "wide", "sequence"])
def test_a_hundred_thousand_spans_take_seconds_and_no_recursion(shape: str) -> None:
    count = 100_000
    if shape == "deep":
        drawn: list[Drawn] = [
            (str(n), str(n - 1) if n else None, n, 3 * count - n) for n in range(count)
        ]
    elif shape == "wide":
        drawn = [("r", None, 0, 3 * count)]
        drawn += [(str(n), "r", 1 + n, count + 7 * n % count) for n in range(count)]
    else:
        drawn = [("r", None, 0, 3 * count)]
        drawn += [(str(n), "r", 3 * n, 3 * n + 2) for n in range(count)]
    spans = made(drawn)
    started = time.process_time()
    path = path_of(spans)
    assert time.process_time() - started < 10
    assert sys.getrecursionlimit() < 10_000
    assert len(path) == {"deep": 2 * count - 1, "sequence": 2 * count}.get(shape, len(path))
    assert sum(end - start for _, start, end in path) == 3 * count

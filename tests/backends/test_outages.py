"""A part that is killed, and comes back, has lost nothing that was on its way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from otel_orchestrator.model import Run
from otel_orchestrator.sources.runfiles import find_run, read_run

from .outages import Outcome, held_against, longest_hole_s, trial
from .stack import Binaries, Stack, finish, query, stack, start_app, until, values
from .test_metrics_in_prometheus import COUNT, PROGRAM

pytestmark = pytest.mark.timeout(300)  # waits for scrapes and flushes


@pytest.fixture
def up(binaries: Binaries, tmp_path: Path) -> Iterator[Stack]:
    with stack(binaries, tmp_path) as running:
        yield running


def _run(up: Stack, folder: Path, service: str, calls: int) -> Run:
    endpoint = up.collector.grpc_endpoint
    finish(start_app(PROGRAM, service, f"{calls}", "0.2", endpoint=endpoint, folder=folder))
    return read_run(find_run(None, folder))


@pytest.mark.parametrize("part", ["jaeger", "collector", "prometheus"])
def test_a_part_killed_under_load_with_a_batch_in_flight_loses_nothing(
    binaries: Binaries, tmp_path: Path, part: str
) -> None:
    outcome = trial(binaries, tmp_path, part, down_s=4)
    assert outcome.is_right, outcome
    assert outcome.spans > 300


@pytest.mark.parametrize(
    ("changed", "is_right"),
    [
        ({}, True),
        ({"lost": 1}, False),
        ({"strange": 1}, False),
        ({"was_in_flight": False}, False),
        ({"counted": 99}, False),
        ({"counted": 101}, False),
        ({"counted": 99, "may_miss": 1}, True),
        ({"raw_duplicates": 5}, True),
        ({"hole_s": 30.0}, False),
    ],
)
def test_the_trial_would_see_a_span_that_is_missing(
    changed: dict[str, float], is_right: bool
) -> None:
    whole = Outcome("jaeger", True, 4, 10, 230, 0, 0, 0, 100, 100, 0, 5.0)
    assert replace(whole, **changed).is_right == is_right  # type: ignore[arg-type]


def test_a_hole_is_what_is_missing_beside_the_outage() -> None:
    s = 10**9
    assert longest_hole_s([0, 5 * s, 10 * s, 40 * s, 45 * s], range(11 * s, 38 * s)) == 5
    assert longest_hole_s([0, 5 * s, 10 * s, 40 * s, 60 * s], range(11 * s, 38 * s)) == 20


def test_the_count_of_what_is_there_finds_a_span_that_is_missing_and_one_that_is_doubled() -> None:
    assert held_against({"a", "b"}, ["a", "b"]) == (0, 0, 0)
    assert held_against({"a", "b"}, ["b"]) == (1, 0, 0)
    assert held_against({"a", "b"}, ["a", "b", "b"]) == (0, 1, 0)
    assert held_against({"a", "b"}, ["a", "b", "c"]) == (0, 0, 1)


def test_a_killed_prometheus_gets_what_it_missed(up: Stack, tmp_path: Path) -> None:
    service = "prometheus-down.test"
    selector = f'{COUNT}{{service_name="{service}"}}'
    _run(up, tmp_path / "before", service, 2)
    until(lambda: values(up.prometheus, selector), lambda seen: seen == [2])
    up.prometheus_program.kill()
    missed = _run(up, tmp_path / "missed", service, 5)
    up.prometheus_program.start()
    until(lambda: values(up.prometheus, selector), lambda seen: seen == [7])
    (series,) = query(up.prometheus, f"{selector}[10m]")
    samples = [float(value) for _, value in series["values"]]
    assert all(a <= b for a, b in pairwise(samples))
    # Gauges keep the time at which they were taken.
    run = f'orchestrator_queue_depth{{orchestrator_run_id="{missed.id}"}}[10m]'
    found = until(lambda: query(up.prometheus, run), bool)
    end_s = max(span.end_ns or 0 for span in missed.spans) / 1e9
    assert all(abs(float(at) - end_s) < 5 for one in found for at, _ in one["values"])


def test_sums_that_a_killed_collector_forgot_are_a_reset_and_no_gap(
    up: Stack, tmp_path: Path
) -> None:
    """As many calls after as before: without the zero in between nobody could tell the reset."""
    service = "collector-down.test"
    selector = f'{COUNT}{{service_name="{service}"}}'
    _run(up, tmp_path / "before", service, 4)
    until(lambda: values(up.prometheus, selector), lambda seen: seen == [4])
    up.collector_program.kill()
    up.collector_program.start()
    _run(up, tmp_path / "after", service, 4)
    until(
        lambda: values(up.prometheus, f"increase({selector}[2m])"),
        lambda seen: len(seen) == 1 and 8 <= seen[0] <= 10,
    )

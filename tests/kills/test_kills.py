"""SIGKILL at random moments loses nothing beyond what is promised, and doubles nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_orchestrator.delivery.shipping import Shipper
from otel_orchestrator.model import Span, changed
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import list_runs

from ..delivery.receiver import Receiver
from .checking import Truth, complaints
from .program import SERIAL
from .trials import table, try_all

KILLS = 20
SEED = 7


@pytest.fixture
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def ship(folder: Path, to: Receiver) -> None:
    """As `otel-orchestrator ship`, without the time to start a Python."""
    os.environ.update(to.environment)
    shipper = Shipper()
    for path in shipper.owed([file.path for file in reversed(list_runs(folder))]):
        shipper.ship(path, lambda _: None)
    shipper.close()


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("environment")
def test_nothing_is_lost_and_nothing_doubled_however_a_program_is_killed(tmp_path: Path) -> None:
    by_case = try_all(KILLS, SEED, ship, tmp_path)
    print(table(by_case))
    assert [broken for counts in by_case.values() for broken in counts.broken] == []
    assert sum(counts.kills for counts in by_case.values()) == KILLS
    assert sum(counts.in_flight for counts in by_case.values()) >= 3, "no batch was in flight"
    assert sum(counts.interrupted for counts in by_case.values()) >= KILLS


# --- the count itself ---

S = 1_000_000_000
KILLED_NS = 100 * S


def span(serial: str, start_s: float, end_s: float | None, **more: object) -> Span:
    attributes = {SERIAL: serial, Attr.RUN_ID: "r", **more}
    end_ns = None if end_s is None else int(end_s * S)
    return Span("t", serial, None, "n", 1, int(start_s * S), end_ns, attributes=attributes)  # type: ignore[arg-type]


CUT = {Attr.OUTCOME: "interrupted", Attr.OPEN_AGE: 5.0}
TRUTH = Truth(
    {"ended": 90 * S, "open": 95 * S, "late": int(99.5 * S)},
    {"ended": 91 * S, "late": int(99.6 * S)},
)
STORED = [span("ended", 90, 91), span("open", 95, 100, **CUT)]


def test_what_is_promised_passes_the_count() -> None:
    assert complaints(TRUTH, [KILLED_NS], STORED, STORED) == []
    late = [*STORED, span("late", 99.5, 99.6)]
    assert complaints(TRUTH, [KILLED_NS], late, late) == []


@pytest.mark.parametrize("removed", [0, 1])
def test_the_count_fails_when_a_span_is_removed(removed: int) -> None:
    fewer = [s for i, s in enumerate(STORED) if i != removed]
    assert complaints(TRUTH, [KILLED_NS], fewer, fewer)
    assert complaints(TRUTH, [KILLED_NS], STORED, fewer)
    assert complaints(TRUTH, [KILLED_NS], fewer, STORED)


@pytest.mark.parametrize("doubled", [0, 1])
def test_the_count_fails_when_a_span_is_doubled(doubled: int) -> None:
    more = [*STORED, changed(STORED[doubled], span_id="another")]
    assert complaints(TRUTH, [KILLED_NS], more, more)
    assert complaints(TRUTH, [KILLED_NS], STORED, more)
    assert complaints(TRUTH, [KILLED_NS], STORED, [*STORED, STORED[doubled]])


@pytest.mark.parametrize(
    "instead",
    [
        [span("ended", 90, 91), span("open", 95, None)],
        [span("ended", 90, 91), span("open", 95, 97, **CUT)],
        [span("ended", 90, 91), span("open", 95, 100)],
        [span("ended", 90, 100, **CUT), span("open", 95, 100, **CUT)],
        [*STORED, span("unheard of", 95, 96)],
    ],
    ids=["left open", "too young", "as if ended", "ended, as if open", "never started"],
)
def test_the_count_fails_when_a_span_is_not_what_it_was(instead: list[Span]) -> None:
    assert complaints(TRUTH, [KILLED_NS], instead, instead)


def test_the_count_fails_when_one_came_otherwise_than_it_is_stored() -> None:
    other = [STORED[0], changed(STORED[1], name="other")]
    assert complaints(TRUTH, [KILLED_NS], STORED, other)

"""The picture that the project started from comes out of the report as exactly that."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.analysis.study import Study, study
from otel_orchestrator.reports import json as json_report
from otel_orchestrator.reports import text as text_report

from .program import SECONDS
from .running import Noted, run_picture, says_who_blocked_whom

# Clocks are compared to 20 ms. When another program holds the machine for longer than that, it is
# tried again, twice at most.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])


@pytest.fixture
def supersteps(tmp_path: Path) -> tuple[Study, Noted]:
    run, noted = run_picture("supersteps", tmp_path / "supersteps")
    return study(run), noted


def test_the_spans_say_who_blocked_whom_and_for_how_long(supersteps: tuple[Study, Noted]) -> None:
    told, noted = supersteps
    says_who_blocked_whom(told.run.spans, noted)


def test_the_report_says_who_blocked_whom_and_for_how_long(
    supersteps: tuple[Study, Noted],
) -> None:
    told, noted = supersteps
    blocking = [s for s in json_report.document(told)["supersteps"] if s["held"]]
    assert [(s["straggler"], s["jobs"]) for s in blocking] == [("B", 3)]
    end_of_b = noted["B"][1]
    held = {h["task"]: h["seconds"] for h in blocking[0]["held"]}
    assert held == {
        "D": pytest.approx((end_of_b - noted["A"][1]) / 1e9, abs=0.02),
        "E": pytest.approx((end_of_b - max(noted["A"][1], noted["C"][1])) / 1e9, abs=0.02),
    }
    waited = sum(end_of_b - noted[n][1] for n in "AC") / 1e9
    assert blocking[0]["results_waited_s"] == pytest.approx(waited, abs=0.04)
    text = text_report.render(told, width=120, colour=False)
    (row,) = [line.split() for line in text.splitlines() if "(D, E)" in line or "(E, D)" in line]
    assert "B" in row


def test_only_superstep_blocking_is_supported_and_worth_continuous_dispatch(
    supersteps: tuple[Study, Noted],
) -> None:
    told, _ = supersteps
    assert [f.key for f in told.verdict.findings if f.standing == "supported"] == ["superstep"]
    assert told.verdict.is_continuous_worth_it is True
    for view in (told.accounting.wall, told.accounting.slots.total, told.accounting.task.total):
        assert sum(part.ns for part in view.parts) == view.whole_ns


def test_the_continuous_run_takes_what_the_estimate_says(
    supersteps: tuple[Study, Noted], tmp_path: Path
) -> None:
    estimate = supersteps[0].estimates.named("continuous").band
    assert estimate is not None
    really, _ = run_picture("continuous", tmp_path / "continuous")
    told = study(really)
    wall = told.accounting.outline.wall_ns
    assert estimate.low_ns <= wall <= estimate.high_ns, (estimate, wall)
    assert wall < (SECONDS["B"] + SECONDS["D"]) * 1e9 * 0.8, "D and E ran beside B"
    assert told.accounting.slots.total.ns("held", "barrier") == 0

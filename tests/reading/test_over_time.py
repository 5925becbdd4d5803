"""What the report draws, and says, of slots and of the queue over time."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.analysis.queue import longest_not_started_s
from otel_orchestrator.model import GaugePoint
from otel_orchestrator.semconv import Attr, Metric

from .runs import write_example
from .test_report import text_of


def points(at_s: int, *, waiting: int, since_s: int) -> list[GaugePoint]:
    return [
        GaugePoint(name, at_s * 1_000_000_000, value, {Attr.TASK_STATE: "waiting"})
        for name, value in (
            (Metric.QUEUE_DEPTH, waiting),
            (Metric.QUEUE_OLDEST_AGE, at_s - since_s if waiting else 0),
        )
    ]


@pytest.mark.parametrize(("ends_s", "longest_s"), [(9, 8), (20, 11)])
def test_a_wait_is_as_long_as_it_was_when_it_ended(ends_s: int, longest_s: int) -> None:
    queue = [
        *points(0, waiting=2, since_s=0),
        *points(3, waiting=1, since_s=0),
        *points(8, waiting=0, since_s=0),
        *points(9, waiting=1, since_s=9),
    ]
    assert longest_not_started_s(queue, ends_s * 1_000_000_000) == longest_s


def test_an_idle_slot_is_not_drawn_at_work_where_langgraph_is(tmp_path: Path) -> None:
    write_example(tmp_path)
    (slot,) = [line for line in text_of(tmp_path).splitlines() if line.startswith("  slot 2")]
    assert slot.split()[1:] == ["2", "14.9", "%", "83.4", "%", slot.split()[-1]]
    assert slot.split()[-1].strip("▒░").strip("█") == "", "it had one job, of 149 ms"

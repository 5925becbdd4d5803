"""Gauges of queue depth."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_orchestrator.queue import tasks
from otel_orchestrator.semconv import Attr, Metric

from .boards import opened, plan


def gauges(reader: InMemoryMetricReader) -> dict[str, dict[tuple[Any, Any], float]]:
    data = reader.get_metrics_data()
    found: dict[str, dict[tuple[Any, Any], float]] = {}
    for resource in data.resource_metrics if data else ():
        for metric in resource.scope_metrics[0].metrics:
            for point in metric.data.data_points:
                told = point.attributes or {}
                key = (told.get(Attr.RUN_ID), told.get(Attr.TASK_STATE))
                found.setdefault(metric.name, {})[key] = point.value  # type: ignore[union-attr]
    return found


def test_gauges_show_every_run_and_its_zeros_to_every_reader(
    measured: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = opened("one"), opened("two")
    one.observe(plan(a=[], b=["a"]))
    two.observe(plan(a=[]))
    depth = gauges(measured)[Metric.QUEUE_DEPTH]
    assert depth["one", "ready"] == 1
    assert depth["one", "waiting"] == 1
    assert depth["two", "ready"] == 1
    age = gauges(measured)[Metric.QUEUE_OLDEST_AGE]
    assert age["one", "ready"] > 0
    assert age["one", "waiting"] > 0
    tasks.close_board("one")
    for _ in range(2):
        depth = gauges(measured)[Metric.QUEUE_DEPTH]
        assert [depth["one", s] for s in ("ready", "active", "waiting")] == [0, 0, 0]
        assert depth["two", "ready"] == 1
    monkeypatch.setattr(tasks, "_SHOWN_CLOSED_NS", 0)
    assert ("one", "ready") not in gauges(measured)[Metric.QUEUE_DEPTH]
    tasks.close_board("two")


def test_of_very_many_runs_in_one_process_the_gauges_tell_the_sum(
    measured: InMemoryMetricReader,
) -> None:
    runs = [opened(f"run {i}") for i in range(700)]
    for run in runs:
        run.observe(plan(a=[], b=["a"]))
    depth = gauges(measured)[Metric.QUEUE_DEPTH]
    assert sum(n for (_, state), n in depth.items() if state == "ready") == 700
    assert depth[None, "ready"] == 100
    # What other tests have begun outside of every run stays.
    active = sum(n for (_, state), n in depth.items() if state == "active")
    assert len(depth) == 3 * 601
    for run in runs:
        tasks.close_board(run.run_id)
    depth = gauges(measured)[Metric.QUEUE_DEPTH]
    assert sum(depth.values()) == active
    assert None not in {state for _, state in depth}, "the SDK's own overflow"

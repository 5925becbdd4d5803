"""Sums of deltas over long pauses and late arrivals: nothing is lost, and what would be is told.

The Collector forgets a series after `max_stale`, and drops a point that is older than what it has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import yaml

from .processes import OTEL_COLLECTOR, free_ports
from .stack import Binaries, Stack, finish, query, stack, start_app, until, values
from .test_metrics_in_prometheus import COUNT, PROGRAM
from .wire import Wire, wire_to

pytestmark = pytest.mark.timeout(400)  # the Collector looks for stale series once a minute

FORGETFUL: Final = "processors: {delta_to_cumulative: {max_stale: 4s}}\n"
# As it would be without the processor that gives each point the time of its arrival.
STRICT: Final = """
service:
  pipelines:
    metrics/deltas:
      receivers: [forward/metrics]
      processors: [filter/deltas, transform/one_series, batch/one_by_one, delta_to_cumulative]
      exporters: [prometheus/deltas]
"""
DROPPED: Final = 'otelcol_deltatocumulative_datapoints_total{error!=""}'
TRACKED: Final = "max_over_time(otelcol_deltatocumulative_streams_tracked[10s])"


def overlay(folder: Path, text: str) -> Path:
    path = folder / "overlay.yaml"
    path.write_text(text)
    return path


def run(up: Stack, folder: Path, service: str, calls: int, endpoint: str = "") -> None:
    to = endpoint or up.collector.grpc_endpoint
    finish(start_app(PROGRAM, service, f"{calls}", "0.2", endpoint=to, folder=folder))


def counted(up: Stack, service: str) -> list[float]:
    return values(up.prometheus, f'{COUNT}{{service_name="{service}"}}')


def gone_up(up: Stack, service: str) -> float:
    """Return by how much the count has gone up, resets included: what `increase()` sees."""
    (series,) = query(up.prometheus, f'{COUNT}{{service_name="{service}"}}[15m]')
    samples = [float(value) for _, value in series["values"]]
    # Prometheus puts a zero before each start of a series, so that none of it is missed.
    return samples[0] + sum(b - a if b >= a else b for a, b in pairwise(samples))


def test_the_collector_remembers_for_weeks() -> None:
    config = yaml.safe_load(OTEL_COLLECTOR.read_text())
    remembered = config["processors"]["delta_to_cumulative"]["max_stale"]
    assert config["exporters"]["prometheus/deltas"]["metric_expiration"] == remembered
    assert int(remembered.removesuffix("h")) >= 4 * 7 * 24


@pytest.fixture(scope="module")
def forgetful(
    binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, Path]]:
    folder = tmp_path_factory.mktemp("forgetful")
    with stack(binaries, folder, overlays=[overlay(folder, FORGETFUL)]) as up:
        yield up, folder / "runs"


def test_runs_further_apart_than_it_remembers_are_all_counted(
    forgetful: tuple[Stack, Path],
) -> None:
    """The second is longer than the first, so that nothing but its start tells of a new count."""
    up, folder = forgetful
    run(up, folder, "seldom.test", 5)
    until(lambda: counted(up, "seldom.test"), lambda seen: seen == [5])
    until(lambda: values(up.prometheus, TRACKED), lambda seen: seen == [0], within_s=150)
    run(up, folder, "seldom.test", 8)
    until(lambda: counted(up, "seldom.test"), lambda seen: seen == [8])
    assert gone_up(up, "seldom.test") == 13
    (increase,) = values(up.prometheus, f'increase({COUNT}{{service_name="seldom.test"}}[10m])')
    assert 13 <= increase <= 13 * 1.3
    assert values(up.prometheus, DROPPED) == []


def test_a_service_that_runs_often_keeps_its_count_beside_one_that_is_forgotten(
    forgetful: tuple[Stack, Path],
) -> None:
    up, folder = forgetful
    run(up, folder, "now-and-then.test", 3)
    runs = 0
    both = 0.0

    def runs_again() -> float:
        nonlocal runs
        run(up, folder, "often.test", 2)
        runs += 1
        return sum(values(up.prometheus, "otelcol_deltatocumulative_streams_tracked"))

    def is_one_forgotten(tracked: float) -> bool:
        nonlocal both
        both = max(both, tracked)  # the first that is scraped may be of one of the two only
        return 0 < tracked < 0.7 * both  # each of them has about half

    until(runs_again, is_one_forgotten, within_s=200)
    run(up, folder, "now-and-then.test", 4)
    run(up, folder, "often.test", 2)
    runs += 1
    until(lambda: counted(up, "often.test"), lambda seen: seen == [2 * runs])
    (series,) = query(up.prometheus, f'{COUNT}{{service_name="often.test"}}[15m]')
    samples = [float(value) for _, value in series["values"]]
    assert all(a <= b for a, b in pairwise(samples)), "it was never forgotten"
    until(lambda: counted(up, "now-and-then.test"), lambda seen: seen == [4])
    assert gone_up(up, "now-and-then.test") == 7


def _cut_off(wire: Wire, folder: Path, service: str, calls: int) -> None:
    """Run a program that nobody hears: its run file keeps what it counted."""
    arguments = (service, f"{calls}", "0.2")
    endpoint = f"http://127.0.0.1:{wire.port}"
    process = start_app(PROGRAM, *arguments, endpoint=endpoint, folder=folder)
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, "not sent yet" in complaints) == (0, True), complaints


def _shipped_late(up: Stack, wire: Wire, folder: Path) -> None:
    wire.to_port = int(up.collector.grpc_endpoint.rpartition(":")[2])
    command = ["ship", "--dir", str(folder), "--endpoint", f"http://127.0.0.1:{wire.port}"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", *command],
        capture_output=True,
        text=True,
        env=clean,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_sent_late_counts_when_it_comes(binaries: Binaries, tmp_path: Path) -> None:
    """Two runs that nobody heard, one before and one between others that were."""
    (nobody,) = free_ports(1)
    with stack(binaries, tmp_path) as up, wire_to(f"127.0.0.1:{nobody}") as wire:
        _cut_off(wire, tmp_path / "cut-off", "late.test", 5)
        run(up, tmp_path / "heard", "late.test", 3)
        _cut_off(wire, tmp_path / "cut-off", "late.test", 7)
        run(up, tmp_path / "heard", "late.test", 2)
        until(lambda: counted(up, "late.test"), lambda seen: seen == [3 + 2])
        _shipped_late(up, wire, tmp_path / "cut-off")
        run(up, tmp_path / "heard", "late.test", 1)
        until(lambda: counted(up, "late.test"), lambda seen: seen == [3 + 2 + 5 + 7 + 1])
        assert gone_up(up, "late.test") == 18
        assert values(up.prometheus, DROPPED) == []


def test_points_that_are_dropped_raise_an_alert(binaries: Binaries, tmp_path: Path) -> None:
    """What is told above to be no trouble is one where points keep their own time."""
    (nobody,) = free_ports(1)
    firing = 'ALERTS{alertname="DeltasDropped",alertstate="firing"}'
    with (
        stack(binaries, tmp_path, rules=["alerts.yml"], overlays=[overlay(tmp_path, STRICT)]) as up,
        wire_to(f"127.0.0.1:{nobody}") as wire,
    ):
        _cut_off(wire, tmp_path / "cut-off", "dropped.test", 5)
        run(up, tmp_path / "heard", "dropped.test", 3)
        until(lambda: counted(up, "dropped.test"), lambda seen: seen == [3])
        assert query(up.prometheus, firing) == []
        _shipped_late(up, wire, tmp_path / "cut-off")
        seen = until(lambda: query(up.prometheus, firing), bool, within_s=75)
        assert {series["metric"]["error"] for series in seen} == {"delta.ErrOlderStart"}
        assert counted(up, "dropped.test") == [3]

"""Metrics that are true for short runs: app, Collector, Prometheus and Jaeger, all real."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from .reading import trace_of
from .stack import Binaries, Stack, exemplars, finish, query, stack, start_app, until, values

pytestmark = pytest.mark.timeout(300)  # waits for scrapes and flushes

PROGRAM = """
import sys, time
import otel_orchestrator as otel
service, calls, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
otel.configure(service, attributes={"deployment.environment.name": "test"})
with otel.run("r"), otel.loop():
    for i in range(calls):
        otel.observe_tasks([{"id": "a", "status": "active"}, {"id": "b", "status": "planned"}])
        with otel.task("worker", "a"):
            with otel.wait("lock", on="b"):
                time.sleep(0.005)
            with otel.node("worker"), otel.llm_call("m"):
                time.sleep(seconds / calls)
"""
COUNT = "gen_ai_client_operation_duration_seconds_count"
CALLS = "traces_span_metrics_calls_total"
BUCKETS = "traces_span_metrics_duration_milliseconds_bucket"


@pytest.fixture(scope="module")
def up(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(binaries, tmp_path_factory.mktemp("stack")) as running:
        yield running


def _run(up: Stack, tmp_path: Path, service: str, calls: int, seconds: float = 0.3) -> None:
    endpoint = up.collector.grpc_endpoint
    finish(
        start_app(PROGRAM, service, f"{calls}", f"{seconds}", endpoint=endpoint, folder=tmp_path)
    )


def _one_series(up: Stack, metric: str, service: str, total: int) -> list[float]:
    """Wait until a counter has reached `total`; return the samples of its one series."""
    selector = f'{metric}{{service_name="{service}"}}'
    if metric == CALLS:
        selector = f'{metric}{{service_name="{service}",span_name="chat m"}}'
    until(lambda: values(up.prometheus, selector), lambda seen: seen == [total])
    (series,) = query(up.prometheus, f"{selector}[10m]")
    return [float(value) for _, value in series["values"]]


@pytest.mark.parametrize("metric", [COUNT, CALLS])
def test_short_runs_one_after_the_other_are_one_series_that_only_goes_up(
    up: Stack, tmp_path: Path, metric: str
) -> None:
    service = f"after.{metric}.test"
    total = 0
    for calls in (3, 5, 2):
        _run(up, tmp_path, service, calls)
        total += calls
        samples = _one_series(up, metric, service, total)
        # The first sample is the zero that Prometheus puts before the first run.
        assert samples[0] == 0
        assert all(a <= b for a, b in pairwise(samples))
    # What rate() makes of it; it extrapolates to the edges of its window, hence not exactly.
    window = f'{{service_name="{service}",span_name=~"chat m|"}}[2m]'
    (increase,) = values(up.prometheus, f"increase({metric}{window})")
    assert total <= increase <= total * 1.3
    (per_second,) = values(up.prometheus, f"rate({metric}{window})")
    assert per_second == pytest.approx(increase / 120, rel=0.1)


def test_a_single_run_of_3_s_has_a_rate(up: Stack, tmp_path: Path) -> None:
    _run(up, tmp_path, "single.test", 6, 3)
    _one_series(up, COUNT, "single.test", 6)
    until(
        lambda: values(up.prometheus, f'increase({COUNT}{{service_name="single.test"}}[1m])'),
        lambda seen: len(seen) == 1 and 5.5 <= seen[0] <= 8,
    )
    # Long after the run the series still has points, so a window there shows a rate of zero.
    until(
        lambda: values(up.prometheus, f'increase({COUNT}{{service_name="single.test"}}[10s])'),
        lambda seen: seen == [0],
    )


def test_runs_at_once_neither_clash_nor_reset(up: Stack, tmp_path: Path) -> None:
    """The one that began first ends last, when the series has begun with the later one."""
    service, endpoint = "at-once.test", up.collector.grpc_endpoint
    runs = []
    for calls, seconds in ((7, 6.0), (5, 1.0), (4, 1.0), (3, 0.1)):
        arguments = (service, f"{calls}", f"{seconds}")
        runs.append(start_app(PROGRAM, *arguments, endpoint=endpoint, folder=tmp_path))
    for process in runs:
        finish(process)
    for metric in (COUNT, CALLS):
        samples = _one_series(up, metric, service, 7 + 5 + 4 + 3)
        assert all(a <= b for a, b in pairwise(samples))
    assert values(up.prometheus, 'otelcol_deltatocumulative_datapoints_total{error!=""}') == []


def test_span_metrics_and_the_programs_own_agree(up: Stack, tmp_path: Path) -> None:
    _run(up, tmp_path, "agree.test", 4)
    for metric in (COUNT, CALLS):
        _one_series(up, metric, "agree.test", 4)
    selector = '{service_name="agree.test",span_name=~"chat m|"}'
    (seconds,) = values(up.prometheus, f"gen_ai_client_operation_duration_seconds_sum{selector}")
    (ms,) = values(up.prometheus, f"traces_span_metrics_duration_milliseconds_sum{selector}")
    assert ms == pytest.approx(seconds * 1000, abs=0.1)
    for series in query(
        up.prometheus, f'{{service_name="agree.test",__name__=~"{COUNT}|{CALLS}"}}'
    ):
        assert series["metric"]["deployment_environment_name"] == "test"
        assert series["metric"]["job"] == "agree.test"
        assert "instance" not in series["metric"], "nothing that tells processes apart"


def test_gauges_keep_their_run_apart(up: Stack, tmp_path: Path) -> None:
    for _ in range(2):
        _run(up, tmp_path, "gauges.test", 1)
    depth = 'orchestrator_queue_depth{service_name="gauges.test",orchestrator_task_state="active"}'
    series = until(
        lambda: query(up.prometheus, f"max_over_time({depth}[10m])"), lambda seen: len(seen) == 2
    )
    runs = {read_run(file).id for file in list_runs(tmp_path)}
    assert {s["metric"]["orchestrator_run_id"] for s in series} == runs


def test_a_heartbeat_is_1_during_a_run_and_0_at_its_end(up: Stack, tmp_path: Path) -> None:
    arguments, interval = ("heart.test", "3", "3"), {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
    endpoint = up.collector.grpc_endpoint
    finish(start_app(PROGRAM, *arguments, endpoint=endpoint, folder=tmp_path, **interval))
    selector = 'orchestrator_run_active{service_name="heart.test"}'
    until(lambda: values(up.prometheus, selector), lambda seen: seen == [0])
    assert values(up.prometheus, f"max_over_time({selector}[1m])") == [1]


def test_exemplars_lead_to_traces_that_jaeger_has(up: Stack, tmp_path: Path) -> None:
    _run(up, tmp_path, "exemplars.test", 3)
    selector = f'{BUCKETS}{{service_name="exemplars.test",span_name="chat m"}}'
    found = until(lambda: exemplars(up.prometheus, selector), bool)
    spans = {s.span_id: s for s in read_run(find_run(None, tmp_path)).spans}
    for exemplar in found:
        span = spans[exemplar["labels"]["span_id"]]
        assert exemplar["labels"]["trace_id"] == span.trace_id
        assert span.end_ns is not None
        assert float(exemplar["value"]) == pytest.approx((span.end_ns - span.start_ns) / 1e6)
        assert trace_of(up.jaeger, span.trace_id, spans=len(spans))


def test_jaegers_monitor_tab_answers_from_prometheus(up: Stack, tmp_path: Path) -> None:
    for _ in range(2):
        _run(up, tmp_path, "monitor.test", 3)
        _one_series(up, CALLS, "monitor.test", 3 * (_ + 1))
    parameters = {
        "service": "monitor.test",
        "spanKind": "client",
        "endTs": f"{time.time_ns() // 1_000_000}",
        "lookback": f"{600_000}",
        "step": f"{5_000}",
        "ratePer": f"{120_000}",
    }

    def answers(what: str, **more: str) -> list[float]:
        url = f"{up.jaeger.query_url}/api/metrics/{what}?{urlencode({**parameters, **more})}"
        with urlopen(url, timeout=10) as answer:
            families = json.load(answer)["metrics"]
        return [
            point["gaugeValue"]["doubleValue"]
            for metric in families
            for point in metric["metricPoints"]
            if point["gaugeValue"]["doubleValue"] not in ("NaN", 0)
        ]

    rates = until(lambda: answers("calls"), bool)
    assert max(rates) == pytest.approx(6 / 120, rel=0.35)
    latencies = answers("latencies", quantile="0.95")
    assert latencies
    assert all(100 <= ms <= 250 for ms in latencies), "0.1 s each: the bucket up to 250 ms"


def test_what_looks_like_a_credential_is_masked_everywhere(up: Stack, tmp_path: Path) -> None:
    program = """
import sys
import otel_orchestrator as otel
from opentelemetry import trace
otel.configure("masked.test", redact=False)  # so that it is the Collector that masks
with otel.run("r"):
    attributes = {
        "http.request.header.authorization": "whatever",
        "url.full": "https://jo:hunter2@example.org/x",
        "note": "with sk-abcdefghijklmnopqrstuvwx in it",
        "header": "Bearer abcdefghijklmnopqrstuvwxyz",
        "plain": "kept as it is, on a basic level",
    }
    with trace.get_tracer("theirs").start_as_current_span("theirs", attributes=attributes):
        pass
"""
    finish(start_app(program, endpoint=up.collector.grpc_endpoint, folder=tmp_path))
    run = read_run(find_run(None, tmp_path))
    found = trace_of(up.jaeger, run.spans[0].trace_id, spans=2)
    (theirs,) = (shown.span for shown in found if shown.span.name == "theirs")
    shown = {k: v for k, v in theirs.attributes.items() if not k.startswith("orchestrator.")}
    assert shown.pop("redaction.masked.count") == 4
    assert shown == {
        "http.request.header.authorization": "****",
        "url.full": "https****example.org/x",
        "note": "with **** in it",
        "header": "****",
        "plain": "kept as it is, on a basic level",
    }

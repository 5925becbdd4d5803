"""An agent in front of two gateways: traces stay whole, whoever of them is killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from otel_orchestrator.model import changed
from otel_orchestrator.sources.runfiles import find_run, read_run

from . import processes
from .checking import STAMP, check
from .load import Recording, again, post, recording_of, together
from .processes import FILES, Jaeger, Prometheus, free_ports
from .reading import Shown, spans_in, trace_of
from .scaled import AGENT, AGENT_DNS, Tier, gateway, node, tier
from .stack import Binaries, finish, query, start_app, until, values
from .test_metrics_in_prometheus import CALLS, COUNT, PROGRAM

pytestmark = pytest.mark.timeout(300)  # waits for retries and scrapes
TRACES = 12
SCALE = FILES / "scrape.scale.yml"
_SCRAPED = (
    *(("otel-collector", 8888), ("gateway-1", 8888), ("gateway-2", 8888)),
    *(("gateway-1", 8889), ("gateway-2", 8889), ("jaeger", 8888)),
)


@pytest.fixture(scope="module")
def badger(jaeger_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    folder = tmp_path_factory.mktemp("jaeger")
    with processes.jaeger(jaeger_binary, folder, storage=processes.JAEGER_BADGER) as up:
        yield up


@pytest.fixture
def up(otelcol_binary: Path, badger: Jaeger, tmp_path: Path) -> Iterator[Tier]:
    gateways = [
        gateway(otelcol_binary, tmp_path, name, jaeger_endpoint=badger.otlp_endpoint)
        for name in ("gateway-1", "gateway-2")
    ]
    with tier(otelcol_binary, tmp_path, gateways) as running:
        yield running


def _record(endpoint: str, folder: Path, calls: int = 5) -> Recording:
    finish(start_app(PROGRAM, "gateways.test", f"{calls}", "0.1", endpoint=endpoint, folder=folder))
    return recording_of(find_run(None, folder).path)


def _counted(metrics_url: str, name: str) -> float:
    with urlopen(metrics_url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.partition("{")[0] == name)


def _there(jaeger: Jaeger, sent: dict[str, tuple[str, ...]]) -> dict[str, list[Shown]]:
    return {trace_id: spans_in(jaeger, trace_id) for trace_id in sent}


def test_a_gateway_and_then_the_agent_are_killed(up: Tier, badger: Jaeger, tmp_path: Path) -> None:
    """What is for the dead gateway waits on disk; the other goes on, and gets nothing twice."""
    (in_front,) = up.agents
    one, two = up.gateways
    recording = _record(in_front.collector.grpc_endpoint, tmp_path / "runs")
    sent = {recording.trace_id: recording.span_ids}
    trace_of(badger, recording.trace_id, spans=len(recording.span_ids))
    taken = _counted(one.metrics_url, "otelcol_receiver_accepted_spans_total")

    two.program.kill()
    for _ in range(TRACES // 2):  # two traces in each request, often for two gateways
        (a, first), (b, second) = again(recording), again(recording)
        sent |= {a: recording.span_ids, b: recording.span_ids}
        for pair in zip(first, second, strict=True):
            post(in_front.collector.http_endpoint, together(pair))
    resent = {k: v for k, v in sent.items() if k != recording.trace_id}
    spans = len(recording.span_ids)
    before = until(
        lambda: {k for k, v in _there(badger, sent).items() if len(v) == spans},
        lambda seen: len(seen) > 1,
    )
    assert len(before) < len(sent), "nothing was on its way when the agent died"
    assert _counted(in_front.metrics_url, "otelcol_exporter_queue_size") > 0
    # In time for further attempts of what is stuck; the living one has seen nothing again.
    until(
        lambda: in_front.program.log.read_text().count("Exporting failed. Will retry"),
        lambda seen: seen > TRACES,
    )
    # Counts are read while they move: once all that the living one took is there, they are equal.
    until(
        lambda: (
            _counted(one.metrics_url, "otelcol_receiver_accepted_spans_total") - taken,
            sum(len({s.span.span_id for s in v}) for v in _there(badger, resent).values()),
        ),
        lambda counts: counts[0] == counts[1],
    )

    in_front.program.kill()
    in_front.program.start()
    two.program.start()
    for trace_id in sent:
        trace_of(badger, trace_id, spans=spans, within_s=60)
    outcome = check(sent, _there(badger, sent))
    assert outcome.is_right, outcome
    assert set(outcome.by_gateway) == {"gateway-1", "gateway-2"}


def test_the_check_finds_what_is_lost_doubled_strange_and_torn(
    up: Tier, badger: Jaeger, tmp_path: Path
) -> None:
    recording = _record(up.agents[0].collector.grpc_endpoint, tmp_path / "runs", calls=2)
    sent = {recording.trace_id: recording.span_ids}
    right = trace_of(badger, recording.trace_id, spans=len(recording.span_ids))
    assert check(sent, {recording.trace_id: right}).is_right
    other = "gateway-2" if right[0].resource[STAMP] == "gateway-1" else "gateway-1"
    strange = changed(right[0].span, span_id="f" * 16)
    moved = replace(right[0], resource={**right[0].resource, STAMP: other})
    wrong = {
        "lost": right[1:],
        "doubled": [*right, right[0]],
        "strange": [*right, replace(right[0], span=strange)],
        "torn": [moved, *right[1:]],
    }
    for what, found in wrong.items():
        outcome = check(sent, {recording.trace_id: found})
        assert {k for k in wrong if getattr(outcome, k)} == {what}
        assert getattr(outcome, what) == 1
        assert not outcome.is_right
    assert check(sent, {}).lost == len(recording.span_ids)


@pytest.fixture
def counted(
    binaries: Binaries, badger: Jaeger, tmp_path: Path
) -> Iterator[tuple[Tier, Prometheus]]:
    """Run two gateways whose metrics go to a Prometheus that has the file of the scale profile."""
    targets = {
        f"{name}:{port}": f"127.0.0.1:{free}"
        for (name, port), free in zip(_SCRAPED, free_ports(len(_SCRAPED)), strict=True)
    }
    targets["jaeger-ingester:8888"] = targets["jaeger:8888"]  # there is none here, nor the other
    program, prometheus = processes.prometheus_program(
        binaries.prometheus, tmp_path, targets, scrape=SCALE
    )
    gateways = [
        gateway(
            binaries.otelcol,
            tmp_path,
            name,
            jaeger_endpoint=badger.otlp_endpoint,
            prometheus_url=prometheus.url,
            ports=(_port(targets[f"{name}:8889"]), _port(targets[f"{name}:8888"])),
        )
        for name in ("gateway-1", "gateway-2")
    ]
    with program, tier(binaries.otelcol, tmp_path, gateways) as running:
        yield running, prometheus


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_two_gateways_count_as_one(counted: tuple[Tier, Prometheus], tmp_path: Path) -> None:
    """Span metrics of each have its name; sums that programs send are one gateway's alone."""
    up, prometheus = counted
    spans = 0
    for i in range(6):
        folder, endpoint = tmp_path / f"run-{i}", up.agents[0].collector.grpc_endpoint
        finish(start_app(PROGRAM, "two.test", "2", "0.1", endpoint=endpoint, folder=folder))
        spans += len(read_run(find_run(None, folder)).spans)
    calls, sums = (f'{name}{{service_name="two.test"}}' for name in (CALLS, COUNT))
    until(lambda: values(prometheus, f"sum({calls})"), lambda seen: seen == [float(spans)])
    assert _instances(prometheus, calls) == {"gateway-1", "gateway-2"}
    until(lambda: values(prometheus, sums), lambda seen: seen == [12.0])
    (instance,) = _instances(prometheus, sums)

    # Killed and back, a gateway goes on with its series instead of beginning others.
    series = len(query(prometheus, calls))
    for one in up.gateways:
        one.program.kill()
        one.program.start()
    for i in range(6, 12):
        folder = tmp_path / f"run-{i}"
        finish(start_app(PROGRAM, "two.test", "2", "0.1", endpoint=endpoint, folder=folder))
        spans += len(read_run(find_run(None, folder)).spans)
    until(
        lambda: values(prometheus, f"sum(increase({sums}[5m]))"),
        lambda seen: len(seen) == 1 and seen[0] >= 24,
    )
    until(
        lambda: values(prometheus, f"sum(increase({calls}[5m]))"),
        lambda seen: len(seen) == 1 and seen[0] >= spans,
    )
    assert _instances(prometheus, sums) == {instance}
    assert len(query(prometheus, calls)) == series


def _instances(prometheus: Prometheus, selector: str) -> set[str]:
    found = query(prometheus, f"count by (instance) ({selector})")
    return {series["metric"]["instance"] for series in found}


def test_gateways_by_a_name(otelcol_binary: Path, badger: Jaeger, tmp_path: Path) -> None:
    one = gateway(otelcol_binary, tmp_path, "gateway-1", jaeger_endpoint=badger.otlp_endpoint)
    port = f"{_port(one.collector.grpc_endpoint)}"
    in_front = node(
        otelcol_binary,
        tmp_path,
        "agent",
        base=AGENT,
        overlays=[AGENT_DNS],
        environment={"OTELCOL_GATEWAYS_NAME": "127.0.0.1", "OTELCOL_GATEWAYS_PORT": port},
    )
    with one.program, in_front.program:
        recording = _record(in_front.collector.grpc_endpoint, tmp_path / "runs", calls=1)
        shown = trace_of(badger, recording.trace_id, spans=len(recording.span_ids))
        assert {s.resource[STAMP] for s in shown} == {"gateway-1"}

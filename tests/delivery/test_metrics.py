"""Deltas that an endpoint did not take are kept, and sent before newer ones."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_orchestrator.delivery.ledger import owed_to
from otel_orchestrator.delivery.stored_metrics import read_metrics

from .receiver import Receiver, receiving
from .test_delivery import ran, ship, started

pytestmark = pytest.mark.timeout(90)
NODES = "orchestrator.node.duration"


def with_metrics(receiver: Receiver) -> Receiver:
    receiver.signals = "traces,metrics"
    return receiver


def test_this_process_sends_what_it_counted_during_an_outage(tmp_path: Path) -> None:
    receiver = with_metrics(Receiver())
    with receiving(receiver):
        pass
    program = started(
        """
        import sys
        otel.configure()
        for _ in range(2):
            with otel.run("r"):
                for _ in range(5):
                    with otel.node("n"):
                        pass
            print("ran", flush=True)
            sys.stdin.readline()
        otel.shutdown(20)
        """,
        tmp_path,
        receiver,
        OTEL_METRIC_EXPORT_INTERVAL="300",
    )
    assert program.stdout is not None and program.stdin is not None
    assert program.stdout.readline() == "ran\n"
    time.sleep(4)  # until several exports have failed
    with receiving(receiver):
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "ran\n"
        # Before it ends: at its end nobody waits for an endpoint that was dead a moment ago.
        deadline = time.monotonic() + 30
        while receiver.count_of(NODES) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        program.communicate("\n", timeout=30)
    assert receiver.count_of(NODES) == 10
    starts = [at for at, _ in receiver.points_of(NODES)]
    assert starts == sorted(starts)


def test_the_next_process_or_ship_sends_what_one_could_not(tmp_path: Path) -> None:
    receiver = with_metrics(Receiver())
    with receiving(receiver):
        pass
    code = """
        otel.configure()
        with otel.run("r"), otel.node("n"):
            pass
        """
    for _ in range(2):
        ran(code, tmp_path, receiver)
    with receiving(receiver):
        ran(code, tmp_path, receiver)
        assert receiver.count_of(NODES) == 3
    ran(code, tmp_path, receiver)
    with receiving(receiver):
        assert ship(tmp_path, to=receiver)[0] == 0
    assert receiver.count_of(NODES) == 4
    assert all(owed_to(path) == {} for path in tmp_path.glob("*.jsonl"))


def test_a_program_that_could_send_everything_keeps_no_metrics(tmp_path: Path) -> None:
    with receiving(with_metrics(Receiver())) as receiver:
        ran("otel.configure()\nwith otel.run('r'): pass", tmp_path, receiver)
    assert "resourceMetrics" not in "".join(p.read_text() for p in tmp_path.glob("*.jsonl"))


def test_stored_metrics_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    view = View(instrument_name="exp", aggregation=ExponentialBucketHistogramAggregation())
    meter = MeterProvider([reader], views=[view]).get_meter("m", "1", "https://example.org/s")
    meter.create_counter("sum", "{thing}", "counts").add(3, {"a": "ü"})
    meter.create_up_down_counter("updown").add(-2)
    meter.create_gauge("gauge").set(0.5, {"b": True})
    for name in ("histogram", "exp"):
        histogram = meter.create_histogram(name, "s")
        for value in (0, 0.3, 7, 1000):
            histogram.record(value, {"c": 1})
    data = reader.get_metrics_data()
    assert isinstance(data, MetricsData)
    written = encode_metrics(data).to_dict()
    file = tmp_path / "process-1.jsonl"
    line = json.dumps({"runFile": {"version": 1, "unsent": "metrics"}, **written}) + "\n"
    file.write_text('{"resourceMetrics": []}\n' + line)
    size = file.stat().st_size
    first = read_metrics(file, 0, size)
    assert first is not None and first[1] is None, "queue points of a run are no debt"
    second = read_metrics(file, first[0], size)
    assert second is not None and second[1] is not None
    assert second[0] == size
    assert encode_metrics(second[1]).to_dict() == written


@pytest.mark.parametrize(
    "odd",
    [
        "meter.create_counter('odd').add(2**70)",
        "meter.create_gauge('odd').set(-2**64)",
        "meter.create_histogram('odd').record(2**70)",
        "meter.create_counter('odd', description='\\ud800').add(1)",
        "meter.create_counter('odd').add(decimal.Decimal('1.5'))",
    ],
)
def test_an_odd_metric_loses_no_others(tmp_path: Path, odd: str) -> None:
    code = f"""
        import decimal
        from opentelemetry import metrics
        otel.configure()
        meter = metrics.get_meter("user")
        {odd}
        with otel.run("r"), otel.node("n"):
            pass
        """
    with receiving(with_metrics(Receiver())) as receiver:
        assert ran(code, tmp_path, receiver) == ""
    assert {"odd", NODES} <= {metric.name for metric in receiver.metrics}


def test_an_endpoint_that_serves_no_metrics_is_no_outage(tmp_path: Path) -> None:
    """Jaeger alone is such a one: it takes spans, and answers 404 to metrics."""
    receiver = with_metrics(Receiver(metrics_status=404))
    code = """
        import time
        otel.configure()
        for _ in range(3):
            with otel.run("r"), otel.node("n"):
                pass
            time.sleep(0.5)
        """
    with receiving(receiver):
        program = started(code, tmp_path, receiver, OTEL_METRIC_EXPORT_INTERVAL="200")
        _, errors = program.communicate(timeout=30)
        assert len(receiver.taken) == 6
        assert errors.count("takes no metrics at all: none are sent there") == 1, errors
        assert len(errors.splitlines()) == 1, errors
        assert '"unsent"' not in "".join(path.read_text() for path in tmp_path.glob("*.jsonl"))
        code_, said = ship(tmp_path, to=receiver)
        assert code_ == 0, said


def test_ship_names_what_was_not_taken(tmp_path: Path) -> None:
    receiver = with_metrics(Receiver())
    with receiving(receiver):
        pass
    ran(
        """
        otel.configure()
        with otel.run("r"), otel.node("n"):
            pass
        """,
        tmp_path,
        receiver,
    )
    receiver.metrics_status = 503
    with receiving(receiver):
        code, said = ship(tmp_path, to=receiver)
    assert code == 2
    assert "does not take the metrics of" in said

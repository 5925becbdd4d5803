"""Spans that no encoding has a place for: they cost themselves at most, and no span beside them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Tracer

from otel_orchestrator import _guard
from otel_orchestrator.delivery import clean
from otel_orchestrator.delivery.closing import _close, _Found
from otel_orchestrator.delivery.runfile import RunFileProcessor
from otel_orchestrator.delivery.stored import read_batch
from otel_orchestrator.sources.runfiles import find_run, read_run

from .receiver import Receiver, receiving
from .test_delivery import ran, ship

GOOD = {f"good{i}" for i in range(20)}
RESOURCE = Resource({"service.name": "s"})


def written(folder: Path, odd: Callable[[Tracer], object]) -> tuple[Path, RunFileProcessor]:
    """Write 20 ordinary spans and an odd one, named `odd`, to one line."""
    processor = RunFileProcessor(folder, Resource({}))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")
    spans = [tracer.start_span(name) for name in sorted(GOOD)]
    odd(tracer)
    for span in spans:
        span.end()
    provider.shutdown()
    (path,) = folder.glob("*.jsonl")
    return path, processor


def read_back(path: Path) -> dict[str, ReadableSpan]:
    batch = read_batch(path, 0, path.stat().st_size)
    assert batch is not None
    assert batch.unreadable == 0
    return {span.name: span for span in batch.spans}


@pytest.mark.parametrize("end", [None, 1e9 * 1_795_944_821, 1_795_944_821.5, -5, 0, 2**80])
@pytest.mark.parametrize("start", [None, 1e9 * 1_795_944_820, 1_795_944_820.5, -5, float("inf")])
def test_a_span_whose_times_are_no_instants_is_read_back_with_the_others(
    tmp_path: Path, start: Any, end: Any
) -> None:
    path, processor = written(
        tmp_path, lambda tracer: tracer.start_span("odd", start_time=start).end(end)
    )
    spans = read_back(path)
    assert spans.keys() == {*GOOD, "odd"}
    assert (processor.written, processor.dropped) == (21, 0)
    span = spans["odd"]
    assert type(span.start_time) is int and type(span.end_time) is int
    assert 0 <= span.start_time <= span.end_time < 2**63
    if start in (1e9 * 1_795_944_820, 1_795_944_820.5):
        assert span.start_time == int(start)
    if start == 1e9 * 1_795_944_820 and end == 1e9 * 1_795_944_821:
        assert span.end_time == int(end)


def test_an_event_whose_time_is_a_float_is_read_back(tmp_path: Path) -> None:
    at: Any = time.time() * 1e9

    def odd(tracer: Tracer) -> None:
        span = tracer.start_span("odd")
        span.add_event("e", {"k": 1}, timestamp=at)
        span.end()

    (event,) = read_back(written(tmp_path, odd)[0])["odd"].events
    assert (event.timestamp, dict(event.attributes or {})) == (int(at), {"k": 1})


def test_ordinary_times_are_no_reason_for_a_new_span() -> None:
    span = ReadableSpan("n", resource=RESOURCE, start_time=5, end_time=9)
    assert clean.span(span) is span
    reversed_by_its_program = ReadableSpan("n", resource=RESOURCE, start_time=9, end_time=5)
    assert clean.span(reversed_by_its_program) is reversed_by_its_program


def test_a_span_with_more_attributes_than_the_sdk_keeps_stays_in_its_run(tmp_path: Path) -> None:
    with receiving(Receiver()) as receiver:
        ran(
            """
            from opentelemetry import trace
            otel.configure()
            with otel.run("r"):
                with trace.get_tracer("t").start_as_current_span("noted early") as early:
                    trace.get_tracer_provider().force_flush()
                    for i in range(140):
                        early.set_attribute(f"a{i}", i)
                with trace.get_tracer("t").start_as_current_span("noted late") as late:
                    for i in range(140):
                        late.set_attribute(f"a{i}", i)
                    trace.get_tracer_provider().force_flush()
            """,
            tmp_path,
            receiver,
        )
    spans = read_run(find_run(None, tmp_path)).spans
    assert [span.name for span in spans] == ["invoke_workflow r", "noted early", "noted late"]
    for span in spans[1:]:
        assert span.end_ns is not None
        assert span.attributes["orchestrator.state"] == "working"
        assert span.attributes["orchestrator.category"] == "compute"
        assert span.attributes["a139"] == 139
    sent = {span.name: span for span in receiver.taken}
    keys = {attribute.key for attribute in sent["noted early"].attributes}
    assert keys > {"orchestrator.run.id", "orchestrator.state"}
    assert sent["noted early"].dropped_attributes_count == 140 - 128


def test_a_span_that_cannot_be_encoded_loses_itself_alone(tmp_path: Path) -> None:
    kind: Any = 1
    path, processor = written(tmp_path, lambda tracer: tracer.start_span("odd", kind=kind).end())
    assert read_back(path).keys() == GOOD
    assert (processor.written, processor.dropped) == (20, 1)


FLOAT = '"endTimeUnixNano":"1.7959448218098834e+18"'


def lose_an_end(path: Path, name: str, end: str = FLOAT) -> None:
    """Make the end of a span in a file what a float looks like in there."""
    head, found, tail = path.read_text().partition(f'"name":"{name}"')
    assert found
    before, _, after = tail.partition('"endTimeUnixNano":"')
    path.write_text(head + found + before + end + after.partition('"')[2])


def test_what_cannot_be_read_back_is_counted_and_said_and_the_others_are_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = written(tmp_path, lambda tracer: None)
    lose_an_end(path, "good7")
    _guard._last_logged.clear()
    with caplog.at_level(logging.WARNING):
        batch = read_batch(path, 0, path.stat().st_size)
    assert batch is not None
    assert {span.name for span in batch.spans} == GOOD - {"good7"}
    assert (batch.end, batch.unreadable) == (path.stat().st_size, 1)
    assert "1 spans in it cannot be read back" in caplog.text
    with receiving(Receiver()) as receiver:
        code, said = ship(tmp_path, str(path), to=receiver)
        assert {span.name for span in receiver.taken} == GOOD - {"good7"}
    assert code == 1
    assert "19 spans sent" in said and "1 spans in it cannot be read back" in said
    (ledger,) = tmp_path.glob("*.sent")
    has = json.loads(ledger.read_text().splitlines()[-1])
    assert (has["bytes"], has["count"], has["refused"]) == (path.stat().st_size, 19, 1)


@pytest.mark.parametrize(
    "line",
    [
        {"resourceSpans": 7},
        {"resourceSpans": [{"resource": [], "scopeSpans": [{"spans": [{}]}]}]},
        {"resourceSpans": [{"scopeSpans": [{"scope": 5, "spans": [{"endTimeUnixNano": "5"}]}]}]},
        {"resourceSpans": [{"scopeSpans": [{"spans": ["none"]}]}]},
        [],
    ],
)
def test_a_line_of_json_that_is_no_otlp_is_not_passed_over_silently(
    tmp_path: Path, line: Any
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(line) + "\n")
    batch = read_batch(path, 0, path.stat().st_size)
    assert batch is not None
    assert (batch.end, batch.spans, batch.unreadable) == (path.stat().st_size, [], 1)


@pytest.mark.parametrize("line", [b"{}\n", b'{"resourceMetrics":[]}\n', b'{"resourceSp\n', b"\n"])
def test_a_line_without_spans_and_a_torn_one_lack_nothing(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line)
    batch = read_batch(path, 0, path.stat().st_size)
    assert batch is not None
    assert (batch.end, batch.spans, batch.unreadable) == (len(line), [], 0)


@pytest.mark.parametrize("end", [FLOAT, '"endTimeUnixNano":"1.5"'])
def test_what_ended_beside_an_odd_end_is_not_closed_once_more(tmp_path: Path, end: str) -> None:
    path, _ = written(tmp_path, lambda tracer: None)
    lose_an_end(path, "good0", end)
    found = _Found()
    for line in path.read_bytes().splitlines(keepends=True):
        found.add(line, 0)
    assert found.noted_at == {}
    assert found.last_ns > 1e18
    before = path.read_bytes()
    _close(path, time.time_ns())
    assert path.read_bytes() == before


def test_after_an_outage_a_float_costs_nothing(tmp_path: Path) -> None:
    """The whole way: written while the endpoint is down, and shipped when it is up."""
    with receiving(Receiver(answer=lambda spans: 503)) as receiver:
        ran(
            """
            import time
            from opentelemetry import trace
            otel.configure()
            tracer = trace.get_tracer("t")
            with otel.run("r"):
                for _ in range(30):
                    with otel.node("n"):
                        pass
                tracer.start_span("odd").end(end_time=time.time() * 1e9)
            otel.shutdown(3)
            """,
            tmp_path,
            receiver,
        )
        assert not receiver.taken
        receiver.answer = lambda spans: 200
        assert ship(tmp_path, to=receiver)[0] == 0
        assert len(receiver.taken) == 32

"""What one span may hold is bounded, and what no encoding takes loses nobody else's span."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_protobuf
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from otel_orchestrator import redaction
from otel_orchestrator.delivery import clean

LIMIT = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"


def recorded(attributes: dict[str, Any], events: int = 0) -> ReadableSpan:
    """Return a span of the real SDK, as our ways out send it."""
    clean.read_limits()  # as configure() does
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("x").start_as_current_span("own") as span:
        span.set_attributes(attributes)
        for number in range(events):
            span.add_event("e" * 100_000, {"number": number, "text": "x" * 100_000})
        span.set_status(Status(StatusCode.ERROR, "y" * 100_000))
    provider.shutdown()
    return clean.span(exporter.get_finished_spans()[0])


def size(span: ReadableSpan) -> int:
    return len(json.dumps(encode_spans([span]).to_dict()))


def test_texts_are_cut_by_default() -> None:
    told = recorded({"long": "x" * 10**6, "short": "y", "number": 5}).attributes or {}
    assert len(str(told["long"])) == clean.LONGEST
    assert str(told["long"]).endswith("…")
    assert (told["short"], told["number"]) == ("y", 5)


def test_the_standard_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "100")
    told = recorded({"long": "word " * 1_000}).attributes or {}
    assert len(str(told["long"])) <= 100


def test_no_half_of_a_secret_is_left_where_the_sdk_has_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "40")
    told = (
        recorded({"note": "we called it with sk-proj-0123456789abcdef0123456789"}).attributes or {}
    )
    assert told["note"] == "we called it with …"


@pytest.mark.parametrize(
    "large",
    [
        {"list": ["x" * 1_000] * 100_000},
        {"list": list(range(100_000))},
        {"map": {f"k{n}": "v" * 1_000 for n in range(10_000)}},
        {f"k{n}": "x" * 60_000 for n in range(1_000)},
        {"bytes": b"x" * 10**7},
    ],
    ids=["texts", "numbers", "map", "many", "bytes"],
)
def test_a_span_is_bounded(large: dict[str, Any]) -> None:
    assert size(recorded(large)) < 3 * 2**20


def test_events_are_bounded() -> None:
    span = recorded({}, events=1_000)
    assert len(span.events) == 128
    assert span.dropped_events == 872
    assert size(span) < 3 * 2**20


def test_what_no_encoding_takes_is_changed_so_that_it_does() -> None:
    span = recorded({"huge": 2**70, "half": "a\ud800b", "nan": float("nan"), "list": [2**70]})
    assert span.attributes is not None
    assert span.attributes["huge"] == str(2**70)
    assert span.attributes["half"] == "a?b"
    assert len(encode_protobuf([span]).SerializeToString()) > 100


def test_what_is_fine_is_the_very_same_span() -> None:
    span = recorded({"a": "b", "n": 1})
    assert clean.span(span) is span


def test_what_was_recorded_within_its_own_cap_is_whole() -> None:
    """`content_max_bytes` may allow a prompt more than other texts have, and JSON cut is none."""
    prompt = json.dumps(["word " * 40_000])
    span = recorded({"gen_ai.input.messages": redaction.Clean(prompt), "theirs": prompt})
    assert span.attributes is not None
    assert span.attributes["gen_ai.input.messages"] == prompt
    assert len(str(span.attributes["theirs"])) == clean.LONGEST


class Colour(str, enum.Enum):  # noqa: UP042 - of a StrEnum str() is the value anyway
    RED = "red"


def test_a_member_of_an_enumeration_is_its_value() -> None:
    span = recorded({"colour": Colour.RED, "colours": [Colour.RED]})
    assert span.attributes is not None
    said = json.dumps(encode_spans([span]).to_dict())
    assert said.count('"red"') == 2
    assert "Colour" not in said

"""Decode OTLP/JSON into the model: tolerant here, at the edge, so that the rest can be strict.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hexadecimal, 64-bit
integers are strings, unknown fields are ignored. Some write enumerations by their names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from sys import intern
from typing import Any, Final

from ..model import Attributes, GaugePoint, Span, Value
from ..semconv import Attr
from .printable import printable_attributes, printable_points, printable_spans

SIGNALS: Final = frozenset({"resourceSpans", "resourceMetrics", "resourceLogs", "resourceProfiles"})
"""What OTLP documents begin with. A Collector may write all of them into one file."""
LARGEST: Final = 2**63 - 1
"""Of OTLP's integers. As nanoseconds since 1970 it is in the year 2262."""
IS_ERROR: Final = (2, "STATUS_CODE_ERROR")
_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_NUMBERS: Final = {f"SPAN_KIND_{name}": number for number, name in enumerate(_KINDS)}
_DEEPEST: Final = 16
# Jaeger's Badger keeps no lists, but their JSON as a string.
_LISTS: Final = (Attr.TASK_DEPENDS_ON, Attr.FINISH_REASONS)


@dataclass(frozen=True, slots=True)
class Told:
    """What one document tells.

    Attributes:
        blocks: spans, with the resource that they are from.
        points: of gauges.
        resource: the first one.
        header: `runFile`, of a run file's first line.
        skipped: how many spans make no sense, and are left out.
        unread: why a line is left out, where it could not be read at all.
        is_torn: that was a last line without its end, which may still come.
    """

    blocks: list[tuple[Attributes, list[Span]]]
    points: list[GaugePoint]
    resource: Attributes
    header: Any = None
    skipped: int = 0
    unread: str | None = None
    is_torn: bool = False


def told_by(document: Mapping[str, Any]) -> Told:
    """Decode a document."""
    parts = [{"resourceSpans": [block]} for block in _list(document.get("resourceSpans"))]
    blocks = [(resource_of(part), printable_spans(list(spans_of(part)))) for part in parts]
    scopes = _scopes(document, "resourceSpans", "scopeSpans")
    there_are = sum(len(raw) for s in scopes if isinstance(raw := s.get("spans"), list))
    return Told(
        blocks,
        printable_points(list(points_of(document))),
        resource_of(document),
        document.get("runFile"),
        there_are - sum(len(spans) for _, spans in blocks),
    )


def told_in_any(line: bytes) -> Told | None:
    """Decode a line of JSON, whatever is in it; None if it holds no OTLP."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and not SIGNALS.isdisjoint(document):
        return told_by(document)
    return None


def spans_of(document: Mapping[str, Any]) -> Iterator[Span]:
    """Yield the spans of one `{"resourceSpans": [...]}`; what is no span is passed over."""
    for scope in _scopes(document, "resourceSpans", "scopeSpans"):
        for raw in _list(scope.get("spans")):
            span = _span(raw) if isinstance(raw, dict) else None
            if span is not None:
                yield span


def points_of(document: Mapping[str, Any]) -> Iterator[GaugePoint]:
    """Yield the gauge points of one `{"resourceMetrics": [...]}`."""
    for scope in _scopes(document, "resourceMetrics", "scopeMetrics"):
        for metric in _list(scope.get("metrics")):
            gauge = metric.get("gauge") if isinstance(metric, dict) else None
            for raw in _list(gauge.get("dataPoints") if isinstance(gauge, dict) else None):
                at_ns = _integer(raw.get("timeUnixNano")) if isinstance(raw, dict) else 0
                value = _number(raw.get("asInt", raw.get("asDouble", 0))) if at_ns > 0 else None
                if value is not None:
                    attributes = attributes_of(raw.get("attributes"))
                    yield GaugePoint(str(metric.get("name", "")), at_ns, value, attributes)


def resource_of(document: Mapping[str, Any]) -> Mapping[str, Value]:
    """Return the attributes of the first resource of a document."""
    for key in ("resourceSpans", "resourceMetrics"):
        for block in _list(document.get(key)):
            if isinstance(block, dict) and isinstance(block.get("resource"), dict):
                return printable_attributes(attributes_of(block["resource"].get("attributes")))
    return {}


def attributes_of(raw: Any) -> Mapping[str, Value]:
    """Decode a list of key-value pairs."""
    found: dict[str, Value] = {}
    for pair in _list(raw):
        if isinstance(pair, dict) and "key" in pair:
            value = pair.get("value")
            # Spans have few keys and few texts, again and again: all share one of each.
            if type(value) is dict and type(text := value.get("stringValue")) is str:
                found[_shared(pair["key"])] = intern(text)
            else:
                found[_shared(pair["key"])] = value_of(value)
    return with_lists(found)


def with_lists(attributes: dict[str, Value]) -> Attributes:
    """Put lists where a store has put their text."""
    for key in _LISTS:
        if type(text := attributes.get(key)) is str:
            attributes[key] = _list_in(text)
    return attributes


def _list_in(text: str) -> Value:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    return text


def _scopes(document: Mapping[str, Any], blocks: str, scopes: str) -> Iterator[dict[str, Any]]:
    for block in _list(document.get(blocks)):
        if isinstance(block, dict):
            for scope in _list(block.get(scopes)):
                if isinstance(scope, dict):
                    yield scope


def _span(raw: dict[str, Any]) -> Span | None:
    get = raw.get
    trace_id, span_id = get("traceId"), get("spanId")
    start_ns = _integer(get("startTimeUnixNano"))
    if not isinstance(trace_id, str) or not isinstance(span_id, str) or not span_id:
        return None
    if start_ns <= 0:
        return None
    end_ns = _integer(get("endTimeUnixNano")) or None
    status, kind = get("status"), get("kind")
    code = status.get("code") if isinstance(status, dict) else 0
    return Span(
        intern(trace_id.lower()),
        span_id.lower(),
        parent_of(get("parentSpanId")),
        _shared(get("name", "")),
        _NUMBERS[kind] if isinstance(kind, str) and kind in _NUMBERS else _integer(kind),
        start_ns,
        None if end_ns is None else max(start_ns, end_ns),
        code in IS_ERROR,
        attributes_of(get("attributes")),
        _links(get("links")),
    )


def _links(raw: Any) -> tuple[str, ...]:
    links = (link for link in _list(raw) if isinstance(link, dict))
    return tuple([str(link.get("spanId", "")).lower() for link in links]) if raw else ()


def parent_of(raw: Any) -> str | None:
    """Return the id of a span's parent; None for a root, however that is said."""
    if not isinstance(raw, str) or not raw.strip("0"):
        return None
    return raw.lower()


def _shared(text: Any) -> str:
    return intern(text if type(text) is str else str(text))


def value_of(raw: Any, depth: int = 0) -> Value:
    """Decode the value of an attribute."""
    if not isinstance(raw, dict) or depth > _DEEPEST:
        return None
    for key, decode in _SCALARS.items():
        if key in raw:
            return decode(raw[key])
    if isinstance(raw.get("arrayValue"), dict):
        return tuple([value_of(v, depth + 1) for v in _list(raw["arrayValue"].get("values"))])
    return None


def _integer(raw: Any) -> int:
    try:
        number = 0 if isinstance(raw, bool) else int(raw)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if -LARGEST <= number <= LARGEST else 0


def _double(raw: Any) -> float | None:
    try:
        return finite(float(raw))
    except (TypeError, ValueError, OverflowError):
        return 0.0


def finite(number: float) -> float | None:
    """Return a number, None for NaN and infinity: nothing can be counted or written with them."""
    return number if isfinite(number) else None


def _number(raw: Any) -> float | None:
    try:
        number = float(raw)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -LARGEST <= number <= LARGEST else None


_SCALARS: Final[Mapping[str, Callable[[Any], Value]]] = {
    "stringValue": _shared,
    "boolValue": lambda value: value is True,
    "intValue": _integer,
    "doubleValue": _double,
}


def _list(raw: Any) -> Iterable[Any]:
    return raw if isinstance(raw, list) else ()

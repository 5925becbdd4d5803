"""Read a run file back as the spans that were written, to hand them to an exporter again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.proto_json.common.v1.common import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto_json.resource.v1.resource import Resource as OtlpResource
from opentelemetry.proto_json.trace.v1 import trace as otlp
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope as Scope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from .._guard import log_once_a_minute

SPANS_AT_ONCE: Final = 512
"""As many as OpenTelemetry's own batches have at most."""
BYTES_AT_ONCE: Final = 2 * 2**20
"""A Collector takes 4 MiB over gRPC, and protobuf is smaller than JSON."""
_REMOTE: Final = 0x200  # SpanFlags, https://opentelemetry.io/docs/specs/otlp/

_NOT_AS_OTLP: Final = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of a run file, and the ended spans in it.

    Attributes:
        start, end: byte offsets; what lies between are whole lines.
        unreadable: how many more there are that cannot be read back.
        lines: what it is joined of, if it is joined; each with spans, but the first.
    """

    start: int
    end: int
    spans: Sequence[ReadableSpan]
    unreadable: int = 0
    lines: Sequence[Batch] = ()

    def beginning(self, spans: int) -> Batch:
        """Return as many whole lines from the start as have at most so many spans."""
        ends = accumulate(len(line.spans) for line in self.lines)
        lines = [line for line, end in zip(self.lines, ends, strict=True) if end <= spans]
        return joined(lines) if lines else Batch(self.start, self.start, ())


def joined(lines: Sequence[Batch]) -> Batch:
    """Return lines that follow each other as one batch."""
    spans = [span for line in lines for span in line.spans]
    unreadable = sum(line.unreadable for line in lines)
    return Batch(lines[0].start, lines[-1].end, spans, unreadable, lines)


def read_batch(run_file: Path, start: int, end: int) -> Batch | None:
    """Read the next batch from `start` on; None if no whole line is left before `end`.

    What is no JSON is passed over: a killed program may have torn a line. Of what is, a span that
    cannot be read back is counted and said, and the others are read.

    Raises:
        OSError: the file cannot be read.
    """
    lines: list[Batch] = []
    at, count = start, 0
    with run_file.open("rb") as file:
        file.seek(start)
        while at < end:
            line = file.readline(end - at)
            if not line.endswith(b"\n"):
                break
            found, odd = _spans_in(line)
            count += len(found)
            is_too_much = count > SPANS_AT_ONCE or at + len(line) - start > BYTES_AT_ONCE
            if is_too_much and count > len(found):
                break
            at += len(line)
            if found or not lines:
                lines.append(Batch(at - len(line), at, found, odd))
            else:  # of these there may be any number
                lines[-1] = replace(lines[-1], end=at, unreadable=lines[-1].unreadable + odd)
    if not lines:
        return None
    batch = joined(lines)
    if batch.unreadable:
        log_once_a_minute(
            f"what cannot be read back of {run_file}",
            "%s: %d spans in it cannot be read back, and are not sent",
            run_file.name,
            batch.unreadable,
        )
    return batch


def _spans_in(line: bytes) -> tuple[list[ReadableSpan], int]:
    """Return the ended spans in a line, and how many more of them cannot be read."""
    try:
        document = json.loads(line)
    except ValueError:
        return [], 0
    except RecursionError:
        return [], 1
    spans: list[ReadableSpan] = []
    unreadable = 0
    try:
        for span in _decoded(document):
            if span is None:
                unreadable += 1
            else:
                spans.append(span)
    except _NOT_AS_OTLP:  # not in a span, but in what holds it: at least one is not read
        unreadable += 1
    return spans, unreadable


def _decoded(document: Any) -> Iterator[ReadableSpan | None]:
    """Decode the ended spans one by one; None stands for one that cannot be."""
    for block in document.get("resourceSpans") or ():
        above = otlp.ResourceSpans.from_dict({**block, "scopeSpans": None})
        resource = resource_of(above.resource, above.schema_url)
        for group in block.get("scopeSpans") or ():
            within = otlp.ScopeSpans.from_dict({**group, "spans": None})
            scope = scope_of(within.scope, within.schema_url)
            for told in group.get("spans") or ():
                if told.get("endTimeUnixNano") not in (None, 0, "0"):
                    yield _readable(told, resource, scope)


def _readable(told: Any, resource: Resource, scope: Scope | None) -> ReadableSpan | None:
    try:
        return _span(otlp.Span.from_dict(told), resource, scope)
    except _NOT_AS_OTLP:
        return None


def _span(span: otlp.Span, resource: Resource, scope: Scope | None) -> ReadableSpan:
    status = span.status or otlp.Status()
    is_remote = bool((span.flags or 0) & _REMOTE)
    return ReadableSpan(
        name=span.name or "",
        context=_context(span.trace_id, span.span_id, span.trace_state),
        parent=_context(span.trace_id, span.parent_span_id, is_remote=is_remote)
        if span.parent_span_id
        else None,
        resource=resource,
        attributes=attributes_of(span.attributes, span.dropped_attributes_count),
        events=_list(_event, span.events, span.dropped_events_count),
        links=_list(_link, span.links, span.dropped_links_count),
        kind=SpanKind(max(0, int(span.kind or 1) - 1)),  # OTLP counts from 1
        status=Status(StatusCode(int(status.code or 0)), status.message or None),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(
    trace_id: bytes | None,
    span_id: bytes | None,
    trace_state: str | None = None,
    *,
    is_remote: bool = False,
) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id or b""),
        int.from_bytes(span_id or b""),
        is_remote,
        TraceFlags(TraceFlags.SAMPLED),
        TraceState.from_header([trace_state]) if trace_state else None,
    )


def _event(event: otlp.Span.Event) -> Event:
    attributes = attributes_of(event.attributes, event.dropped_attributes_count)
    return Event(event.name or "", attributes, event.time_unix_nano)


def _link(link: otlp.Span.Link) -> Link:
    is_remote = bool((link.flags or 0) & _REMOTE)
    context = _context(link.trace_id, link.span_id, link.trace_state, is_remote=is_remote)
    return Link(context, attributes_of(link.attributes, link.dropped_attributes_count))


def resource_of(resource: OtlpResource | None, schema_url: str | None) -> Resource:
    """Return the SDK's form of a resource."""
    return Resource(attributes_of(resource.attributes if resource else ()), schema_url or None)


def scope_of(scope: InstrumentationScope | None, schema_url: str | None) -> Scope | None:
    """Return the SDK's form of an instrumentation scope."""
    if scope is None:
        return None
    attributes = {pair.key or "": _value(pair.value) for pair in scope.attributes}
    return Scope(scope.name or "", scope.version or None, schema_url or None, attributes)


def attributes_of(pairs: Iterable[KeyValue], dropped: int | None = 0) -> BoundedAttributes:
    """Return the SDK's form of attributes."""
    attributes = BoundedAttributes(attributes={p.key or "": _value(p.value) for p in pairs})
    attributes.dropped = dropped or 0
    return attributes


def _value(value: AnyValue | None) -> Any:
    if value is None:
        return None
    if value.array_value is not None:
        return [_value(one) for one in value.array_value.values]
    if value.kvlist_value is not None:
        return {pair.key or "": _value(pair.value) for pair in value.kvlist_value.values}
    scalars = value.string_value, value.bool_value, value.int_value, value.double_value
    return next((one for one in (*scalars, value.bytes_value) if one is not None), None)


def _list(
    decode: Callable[[_T], Any], found: Sequence[_T], dropped: int | None
) -> BoundedList[Any]:
    decoded: BoundedList[Any] = BoundedList(None)
    decoded.extend([decode(one) for one in found])
    decoded.dropped = dropped or 0
    return decoded

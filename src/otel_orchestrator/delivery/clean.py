"""What leaves the process, without what is secret in it, and no larger than anybody can handle.

Spans are cleaned where they are written or sent, never in place: a processor of the program's own
sees what the program recorded. Nearly all spans come out as they went in, the very same object.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import is_
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from .. import redaction
from .._guard import guarded
from ..semconv import Attr
from .forked import start_what_waits
from .forwarding import ForwardingMetricExporter, ForwardingSpanExporter

LONGEST: Final = 65_536
"""Characters of an attribute's value, where `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` says nothing."""
_SPAN_AT_MOST: Final = 1_048_576  # of all its texts together; a Collector takes 4 MiB at once
_ITEMS_AT_MOST: Final = 1_024
_DEEPEST: Final = 16
_CUT: Final = "…"
_SPARE: Final = 4_096  # so that a secret which a cut would go through is known for one
_LARGEST: Final = 2**63 - 1  # OTLP has no larger integer; one alone would lose the whole batch
_LIMITS: Final = ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")
_LAST_WORD: Final = re.compile(r"\S{1,512}\Z")


def spans(given: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """Return spans without what is secret in them; one with which that fails is left out."""
    clean: list[ReadableSpan] = []
    for one in given:
        with guarded("taking secrets out of a span"):
            clean.append(span(one))
    return clean


def span(given: ReadableSpan) -> ReadableSpan:
    """Return a span without what is secret in it."""
    room = _Room()
    parts: dict[str, Any] = vars(given)
    start_ns, end_ns = _times(given.start_time, given.end_time)
    changed = {
        "_start_time": start_ns,
        "_end_time": end_ns,
        "_name": room.text(given.name),
        "_attributes": _attributes(parts["_attributes"], room),
        "_events": _each(_event, parts["_events"], room),
        "_links": _each(_link, parts["_links"], room),
        "_status": _status(given.status, room),
        "_resource": resource(given.resource),
        "_instrumentation_scope": _scope(given.instrumentation_scope),
    }
    if all(value is parts[name] for name, value in changed.items()):
        return given
    clean = copy.copy(given)  # a new one would lose how many attributes and events were dropped
    vars(clean).update(changed)
    return clean


def resource(given: Resource) -> Resource:
    """Return a resource without what is secret in it, such as a program's arguments.

    In a forked child it names that: the SDK keeps the resource of the parent.
    """
    # By identity: all spans of a provider have the same one, and its hash is slow.
    known = _resources.get(id(given))
    if known is not None and known[0] is given:
        return known[1]
    attributes = _attributes(given.attributes, _Room()) or {}
    if _pid_of_child is not None and Attr.PROCESS_PID in attributes:
        attributes = {**attributes, Attr.PROCESS_PID: _pid_of_child}
    clean = given if attributes is given.attributes else Resource(attributes, given.schema_url)
    if len(_resources) >= _RESOURCES_AT_MOST:
        _resources.clear()
    _resources[id(given)] = (given, clean)
    return clean


_RESOURCES_AT_MOST: Final = 64
_resources: Final[dict[int, tuple[Resource, Resource]]] = {}
_pid_of_child: int | None = None


def _start_in_child() -> None:
    global _pid_of_child  # noqa: PLW0603 - what process this is
    _pid_of_child = os.getpid()
    _resources.clear()


os.register_at_fork(after_in_child=_start_in_child)


def _scope(given: Any) -> Any:
    if given is None or not given.attributes:
        return given
    clean = _attributes(given.attributes, _Room())
    if clean is given.attributes:
        return given
    return InstrumentationScope(given.name, given.version, given.schema_url, clean)


def metrics(given: MetricsData) -> MetricsData:
    """Return metrics without what is secret in their attributes, as OTLP can tell them."""
    return replace(
        given,
        resource_metrics=[
            replace(
                block,
                resource=resource(block.resource),
                scope_metrics=[
                    replace(
                        group,
                        scope=_scope(group.scope),
                        metrics=_metrics(group.metrics),
                    )
                    for group in block.scope_metrics
                ],
            )
            for block in given.resource_metrics
        ],
    )


class CleanSpanExporter(ForwardingSpanExporter):
    """Stands before an exporter of spans that no run file has cleaned."""

    def export(self, given: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans without what is secret in them."""
        start_what_waits()
        return self._inner.export(spans(given))


class CleanMetricExporter(ForwardingMetricExporter):
    """Stands before an exporter of metrics."""

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Export metrics without what is secret in them."""
        start_what_waits()
        result: MetricExportResult = self._inner.export(
            metrics(metrics_data), timeout_millis, **kwargs
        )
        return result


class _Room:
    """How much more of a span's texts there is room for; the very same text where it fits."""

    __slots__ = ("_left", "_limit")

    def __init__(self) -> None:
        self._left = _SPAN_AT_MOST
        self._limit = _limit

    def text(self, given: str) -> str:
        """Return a text that is clean and not too long."""
        return str(self.value("", given))

    def value(self, name: str, given: Any) -> Any:
        """Return the value of an attribute that is clean and not too large."""
        kind = type(given)
        if kind is bool or kind is float or given is None:
            return given
        if kind is int:
            return given if -_LARGEST <= given <= _LARGEST else str(given)
        if kind is redaction.Clean and not redaction.is_secret(name):
            return given if given.isascii() else _encodable(given)  # ours, and within its own cap
        if kind is str and len(given) <= LONGEST:
            clean = redaction.value(name, self._without_half_a_secret(given))
            self._left -= len(clean)
            if self._left >= 0:
                return clean if clean.isascii() else _encodable(clean)
            return _CUT
        return self._fitted(redaction.value(name, self._fitted(given, _SPARE, 0)), 0, 0)

    def _without_half_a_secret(self, given: str) -> str:
        # The SDK has cut it, before anybody could see what it is the beginning of.
        return _LAST_WORD.sub(_CUT, given) if len(given) == self._limit else given

    def _fitted(self, given: Any, spare: int, depth: int) -> Any:
        """Return of a value what there is room for, and `spare` characters more of each text."""
        if isinstance(given, bool | float) or given is None:
            return given
        if isinstance(given, int):
            return self.value("", int(given))
        if self._left < 0 or depth > _DEEPEST:
            return _CUT
        if isinstance(given, str | bytes):
            return self._cut(given, spare)
        items: list[Any]
        if isinstance(given, Mapping):
            pairs = list(given.items())
            kept = pairs[:_ITEMS_AT_MOST]
            return {_encodable(str(k)): self._fitted(v, spare, depth + 1) for k, v in kept}
        items = [self._fitted(item, spare, depth + 1) for item in given[:_ITEMS_AT_MOST]]
        return items if len(items) == len(given) else [*items, _CUT]

    def _cut(self, given: str | bytes, spare: int) -> str | bytes:
        longest = min(LONGEST, max(0, self._left)) + spare
        if not spare:
            self._left -= len(given)
        if isinstance(given, bytes):
            return given[:longest]
        if len(given) > longest:
            given = given[: max(0, longest - 1)] + _CUT
        return _encodable(given)


_limit: int | None = None


def read_limits() -> None:
    """Read how long the SDK lets texts be, once for all spans."""
    global _limit  # noqa: PLW0603 - the SDK's limits are the process's, too
    said = (os.environ.get(variable, "").strip() for variable in _LIMITS)
    _limit = next((int(limit) for limit in said if limit.isdigit()), None)


def _encodable(given: str) -> str:
    # Half of a surrogate pair is in no encoding: it would lose the whole batch.
    fixed = given.encode("utf-8", "replace").decode("utf-8")
    return given if fixed == given else fixed


def _attributes(given: Mapping[str, Any] | None, room: _Room) -> Mapping[str, Any] | None:
    if not given:
        return given
    # Those of an open span may change while they are looked at.
    told = given.copy() if isinstance(given, BoundedAttributes) else given
    clean = {name: room.value(name, item) for name, item in told.items()}
    if all(clean[name] is item for name, item in told.items()):
        return given
    bounded = BoundedAttributes(attributes={_encodable(k): v for k, v in clean.items()})
    bounded.dropped = getattr(given, "dropped", 0)
    return bounded


def _each(clean: Callable[[Any, _Room], Any], given: Sequence[Any], room: _Room) -> Sequence[Any]:
    if not given:
        return given
    told = list(given)
    done = [clean(one, room) for one in told]
    if all(map(is_, done, told)):
        return given
    bounded: BoundedList[Any] = BoundedList(None)
    bounded.extend(done)
    bounded.dropped = getattr(given, "dropped", 0)
    return bounded


def _event(given: Event, room: _Room) -> Event:
    name, attributes = room.text(given.name), _attributes(given.attributes, room)
    at_ns = _instant(given.timestamp)
    if name is given.name and attributes is given.attributes and at_ns is given.timestamp:
        return given
    return Event(name, attributes, at_ns)


def _times(start_ns: int | None, end_ns: int | None) -> tuple[int | None, int | None]:
    """Return when a span began and ended as OTLP can tell it."""
    start, end = _instant(start_ns), _instant(end_ns)
    if end is None or (end and start is start_ns and end is end_ns):
        return start, end
    return start, max(start or 1, end)  # rounding must not put it before the start; 0 is open


def _instant(given: Any) -> int | None:
    # `time.time() * 1e9` is a float, which the SDK takes, and which one alone would lose the line.
    if given is None or (type(given) is int and 0 <= given <= _LARGEST):
        return given
    try:
        return min(max(0, int(given)), _LARGEST)
    except (TypeError, ValueError, OverflowError):  # as of NaN
        return 0


def _link(given: Link, room: _Room) -> Link:
    attributes = _attributes(given.attributes, room)
    return given if attributes is given.attributes else Link(given.context, attributes)


def _status(given: Status, room: _Room) -> Status:
    if not given.description:
        return given
    clean = room.text(given.description)
    return given if clean is given.description else Status(given.status_code, clean)


def _metrics(given: Sequence[Any]) -> list[Any]:
    clean = []
    for one in given:
        with guarded("making a metric fit to be sent"):
            clean.append(_metric(one))
    return clean


def _metric(given: Any) -> Any:
    points = [_point(point) for point in given.data.data_points]
    description = _encodable(given.description or "")
    return replace(given, description=description, data=replace(given.data, data_points=points))


def _point(given: Any) -> Any:
    room = _Room()
    exemplars = [
        replace(
            one,
            value=_number(one.value),
            filtered_attributes=_attributes(one.filtered_attributes, room),
        )
        for one in given.exemplars
    ]
    numbers = {name: _number(getattr(given, name)) for name in _NUMBERS if hasattr(given, name)}
    attributes = _attributes(given.attributes, room)
    return replace(given, attributes=attributes, exemplars=exemplars, **numbers)


_NUMBERS: Final = ("value", "sum", "min", "max")  # of one kind of point or another


def _number(given: Any) -> Any:
    if given is None or type(given) is float or (type(given) is int and abs(given) <= _LARGEST):
        return given
    return float(given)

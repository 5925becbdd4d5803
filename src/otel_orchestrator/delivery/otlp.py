"""OTLP exporters from the standard variables, and one clear line when their endpoint is dead."""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, _Gauge
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from .. import redaction, semconv
from .._guard import guarded, logger
from ..errors import OrchestratorError
from ..metrics import SCOPE
from ..semconv import Attr
from ..urls import is_http_url
from . import answers, forked
from .environment import PREFIX, first_of, grpc_compression, tidied
from .forwarding import ForwardingMetricExporter, ForwardingSpanExporter

_METRIC_INTERVAL_MS: Final = 10_000
_TEMPORALITY_VARIABLE: Final = f"{PREFIX}_METRICS_TEMPORALITY_PREFERENCE"
_DELTA: Final[dict[type, AggregationTemporality]] = {
    Counter: AggregationTemporality.DELTA,
    ObservableCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
    # A gauge has no temporality, but only so the SDK forgets a value that it has exported.
    _Gauge: AggregationTemporality.DELTA,
}
_SPLIT_VARIABLE: Final = "OTEL_ORCHESTRATOR_SPLIT_SERVICES"

SplitServices = Literal["state", "category"]
"""What spans are sorted into services by: Jaeger gives each service a colour."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Where one signal is sent to, and how.

    Attributes:
        name: `traces` or `metrics`.
        endpoint: as given; the exporters read the variables themselves.
        protocol: `grpc` or `http/protobuf`.
    """

    name: Literal["traces", "metrics"]
    endpoint: str
    protocol: str

    @property
    def shown(self) -> str:
        """The endpoint without credentials: for messages and ledgers."""
        parts = urlsplit(self.endpoint)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        return redaction.text(bare.geturl())

    @classmethod
    def from_environment(cls, name: Literal["traces", "metrics"]) -> Signal | None:
        """Read the variables of a signal; None where no endpoint is set.

        Raises:
            OrchestratorError: the endpoint is no URL, or the protocol is unknown.
        """
        by = os.environ.get(f"OTEL_{name.upper()}_EXPORTER", "").strip()
        if by == "none":
            return None
        variable, endpoint = first_of(f"{PREFIX}_{name.upper()}_ENDPOINT", f"{PREFIX}_ENDPOINT")
        if not endpoint:
            return None
        if not is_http_url(endpoint):
            raise OrchestratorError(
                f"{variable}={redaction.text(endpoint.rpartition('@')[2])} is no URL. Type:"
                f" {variable}=http://localhost:4317"
            )
        variable, protocol = first_of(f"{PREFIX}_{name.upper()}_PROTOCOL", f"{PREFIX}_PROTOCOL")
        if protocol and protocol not in ("grpc", "http/protobuf"):
            raise OrchestratorError(
                f"{variable}={protocol} is not supported. Type grpc or http/protobuf"
            )
        if by not in ("", "otlp"):
            logger.warning(
                "OTEL_%s_EXPORTER=%s is not supported: %s are sent by OTLP to where an endpoint is"
                " set. Type otlp or none",
                name.upper(),
                by,
                name,
            )
        return cls(name, endpoint, protocol or "grpc")


def split_services_from(argument: SplitServices | None) -> SplitServices | None:
    """Return how to sort spans into services: as the argument says, else the environment.

    Raises:
        OrchestratorError: there is no such way.
    """
    if argument is not None:
        said: str = argument
        where, none = f"configure(split_services={said!r})", "None"
    else:
        said = os.environ.get(_SPLIT_VARIABLE, "").strip() or "none"
        where, none = f"{_SPLIT_VARIABLE}={said}", "none"
        if said == "none":
            return None
    for known in get_args(SplitServices):
        if said == known:
            return known  # type: ignore[no-any-return]  # get_args() is untyped
    raise OrchestratorError(
        f"{where} makes no sense. Type state or category, or {none} for neither"
    )


@tidied()
def span_exporter(
    signal: Signal,
    split_services: SplitServices | None = None,
    *,
    is_told: bool = True,
    is_probed: bool = True,
) -> SpanExporter:
    """Return what sends spans, sorted into services if that is asked for.

    A program is told of an endpoint that takes nothing; a command tells it in words of its own.
    Where it is probed, by an empty batch after a failure, only that tells that it is down.
    """
    inner: SpanExporter
    if signal.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        inner = answers.hearing_grpc(OTLPSpanExporter)(**grpc_compression(signal.name))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter as HttpSpanExporter,
        )
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceResponse,
        )

        inner = HttpSpanExporter()
        answers.hear_http(inner, ExportTraceServiceResponse)
    watch = _watch(signal.shown) if is_told else None
    inner = _WatchedSpanExporter(inner, watch, is_probed)
    if split_services is not None:
        inner = _SplittingSpanExporter(inner, split_services)
    return inner


@tidied()
def metric_exporter(
    signal: Signal, *, is_told: bool = True, is_probed: bool = True
) -> MetricExporter:
    """Return what sends metrics.

    Counters and histograms go as deltas unless `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`
    says otherwise: of a run that sends its sums once, at its end, nobody could tell a rate. The
    shipped Collector adds the deltas up over all runs. Up-down counters and gauges stay the same.
    `is_probed` is as for spans.
    """
    temporality = None if os.environ.get(_TEMPORALITY_VARIABLE, "").strip() else _DELTA
    inner: Any
    if signal.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        inner = answers.hearing_grpc(OTLPMetricExporter)(
            preferred_temporality=temporality, **grpc_compression(signal.name)
        )
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter as HttpMetricExporter,
        )
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
            ExportMetricsServiceResponse,
        )

        inner = HttpMetricExporter(preferred_temporality=temporality)
        answers.hear_http(inner, ExportMetricsServiceResponse)
    watch = _watch(signal.shown) if is_told else None
    return _WatchedMetricExporter(inner, watch, is_probed)


def metric_reader(exporter: MetricExporter) -> PeriodicExportingMetricReader:
    """Return a reader that exports every 10 s, unless `OTEL_METRIC_EXPORT_INTERVAL` says."""
    said = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    return _Reader(exporter, export_interval_millis=None if said else _METRIC_INTERVAL_MS)


class _Reader(PeriodicExportingMetricReader):
    _is_counting = True
    _start_lock = threading.Lock()

    def collect(self, timeout_millis: float = 10_000) -> None:  # type: ignore[misc]  # not so final
        """Collect, except in a forked child that has nothing of its own: it would wait for that."""
        with guarded("looking for metrics of a forked child's own"):
            if forked.has_nothing() and not (self._has_recorded() or self._observed()):
                return
        self._start_counting()
        super().collect(timeout_millis)

    def _ticker(self) -> None:
        self._start_counting()
        super()._ticker()

    def _at_fork_reinit(self) -> None:
        # The parent's thread may hold it, with a dead endpoint nearly always; the child has none.
        self._export_lock = threading.Lock()
        with guarded("setting up the metrics of a forked child"):
            self._leave_to_parent()
            self._start_lock, self._is_counting = threading.Lock(), False
        super()._at_fork_reinit()  # type: ignore[no-untyped-call]

    def _leave_to_parent(self) -> None:
        # What it has counted, the parent sends. And the locks of these may be held by a thread of
        # the parent's, for ever: the child would wait for it where it records its first value.
        consumer = self._consumer()
        anew = type(consumer)(consumer._sdk_config, list(consumer._reader_storages))
        consumer._lock = anew._lock
        consumer._reader_storages = anew._reader_storages

    def _start_counting(self) -> None:
        # What an observable counter has inherited, the parent sends: the child counts from there.
        # In the reader's thread, for the program's callbacks may wait for a lock of the parent's.
        with guarded("looking where a forked child's counters begin"), self._start_lock:
            if self._is_counting:
                return
            self._is_counting = True
            storage = self._consumer()._reader_storages[self]
            for counter in self._observed():
                if isinstance(counter, ObservableCounter):
                    for measurement in counter.callback(CallbackOptions()):
                        storage.consume_measurement(measurement)
                    for match in storage._get_or_init_view_instrument_match(counter):
                        match.collect(AggregationTemporality.DELTA, time.time_ns())

    def _observed(self) -> list[Any]:
        """Return the observable instruments that are the program's own."""
        instruments = self._consumer()._async_instruments
        return [it for it in instruments if it.instrumentation_scope.name != SCOPE]

    def _has_recorded(self) -> bool:
        return bool(self._consumer()._reader_storages[self]._instrument_view_instrument_matches)

    def _consumer(self) -> Any:
        return getattr(self._collect, "__self__")  # noqa: B009 - what it is a method of


class _Watch:
    """Says once that an endpoint does not answer, and once that it does again, for all signals."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._down: set[str] = set()
        self._lock = threading.Lock()

    def note(self, signal: str, ok: bool) -> None:
        with self._lock:
            was_down = bool(self._down)
            (self._down.discard if ok else self._down.add)(signal)
            is_down = bool(self._down)
        if is_down == was_down:
            return
        if not is_down:
            logger.warning("%s takes telemetry again", self.endpoint)
        else:
            logger.warning(
                "%s does not take telemetry. The program goes on, and its run files keep what is"
                " to be sent; check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL"
                " (grpc is usually port 4317, http/protobuf 4318)",
                self.endpoint,
            )


_watches: dict[str, _Watch] = {}
_quiet: Final = threading.local()


def _watch(endpoint: str) -> _Watch:
    return _watches.setdefault(endpoint, _Watch(endpoint))


class _QuietFilter(logging.Filter):
    """Drops what an exporter logs while it sends for us: every retry, again and again."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_quiet, "sending", False)


def _silence(exporter: object) -> None:
    for kind in type(exporter).__mro__:
        noisy = logging.getLogger(kind.__module__)
        if not any(isinstance(f, _QuietFilter) for f in noisy.filters):
            noisy.addFilter(_QuietFilter())


def _is_verdict(is_taken: bool, is_empty: bool, is_probed: bool) -> bool:
    """Whether an answer tells that an endpoint is up, or down: not one that refuses a batch."""
    return is_taken or is_empty or not is_probed or answers.wants_it_later()


class _WatchedSpanExporter(ForwardingSpanExporter):
    def __init__(self, inner: SpanExporter, watch: _Watch | None, is_probed: bool) -> None:
        super().__init__(inner)
        self._watch, self._is_probed = watch, is_probed
        _silence(inner)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        _quiet.sending = True
        try:
            result = self._inner.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        finally:
            _quiet.sending = False
        is_taken = result is SpanExportResult.SUCCESS
        if self._watch is not None and _is_verdict(is_taken, not spans, self._is_probed):
            self._watch.note("traces", is_taken)
        return result


class _SplittingSpanExporter(ForwardingSpanExporter):
    """Sends what works and what waits under services of their own; structure keeps the true one.

    Only what is sent: the spans themselves, run files and metrics know nothing of it. The shipped
    Collector does the same (collector/otel-collector.yaml), and leaves alone what comes sorted.
    """

    def __init__(self, inner: SpanExporter, by: SplitServices) -> None:
        super().__init__(inner)
        self._by = by
        self._true: Resource | None = None
        self._shown: dict[str | None, Resource] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        sent = spans
        with guarded("sorting spans into services"):
            sent = [self._moved(span) for span in spans]
        return self._inner.export(sent)

    def _moved(self, span: ReadableSpan) -> ReadableSpan:
        attributes = span.attributes or {}
        state = attributes.get(Attr.STATE)
        if state is None:
            return span
        suffix = str(state) if state in (semconv.WORKING, semconv.WAITING) else None
        if self._by == "category" and state == semconv.WORKING:
            suffix = str(attributes.get(Attr.CATEGORY) or state)
        moved = copy.copy(span)
        # A new ReadableSpan would lose how many attributes, events and links were dropped.
        moved._resource = self._resource(span.resource, suffix)
        return moved

    def _resource(self, true: Resource, suffix: str | None) -> Resource:
        if true is not self._true:  # one provider has one; merging and hashing are slow
            self._true, self._shown = true, {}
        if suffix not in self._shown:
            name = str(true.attributes[Attr.SERVICE_NAME])
            shown = name if suffix is None else f"{name}-{suffix}"
            self._shown[suffix] = true.merge(
                Resource({Attr.SERVICE: name, Attr.SERVICE_NAME: shown})
            )
        return self._shown[suffix]


class _WatchedMetricExporter(ForwardingMetricExporter):
    def __init__(self, inner: Any, watch: _Watch | None, is_probed: bool) -> None:
        super().__init__(inner)
        self._watch, self._is_probed = watch, is_probed
        _silence(inner)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        _quiet.sending = True
        try:
            result: MetricExportResult = self._inner.export(metrics_data, timeout_millis, **kwargs)
        except Exception:
            result = MetricExportResult.FAILURE
        finally:
            _quiet.sending = False
        is_taken = result is MetricExportResult.SUCCESS
        is_verdict = _is_verdict(is_taken, not metrics_data.resource_metrics, self._is_probed)
        if self._watch is not None and answers.is_served() and is_verdict:
            self._watch.note("metrics", is_taken)
        return result

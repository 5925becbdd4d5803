"""Is the stack in order, from the program's side to the stores'? What `stack check` finds out.

A span and a count are really sent, and looked for where they have to arrive. Each finding that is
not good says what to do about it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import format_trace_id

from . import semconv
from .delivery.otlp import Signal, metric_exporter, span_exporter
from .metrics import SCOPE
from .semconv import Attr, Metric

SERVICE: Final = "otel-orchestrator-check"
_SPAN_WITHIN_S: Final = 20.0
_COUNT_WITHIN_S: Final = 45.0  # a flush of the Collector, and a scrape
_ANSWER_WITHIN_S: Final = 5.0

Standing = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was seen.

    Attributes:
        part: the part of the stack.
        standing: `warning` where it works, but not as it could.
        told: what was seen, in words.
        fix: what to do about it; None where there is nothing to do.
    """

    part: str
    standing: Standing
    told: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts answer; None: there is none, do not look."""

    jaeger: str | None
    prometheus: str | None
    grafana: str | None


def check_stack(addresses: Addresses) -> Iterator[Check]:
    """Look at every part, one after the other; yield what was seen as it is seen.

    Raises:
        OrchestratorError: an `OTEL_*` variable makes no sense.
    """
    traces, metrics = Signal.from_environment("traces"), Signal.from_environment("metrics")
    if traces is None:
        yield Check(
            "OTLP",
            "failed",
            "no endpoint is set: programs send nothing",
            "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317, or type --endpoint",
        )
    trace_id = None
    if traces is not None:
        sent, trace_id = _send_span(traces)
        yield sent
    if addresses.jaeger is not None:
        yield from _check_jaeger(addresses.jaeger, trace_id)
    if addresses.prometheus is not None:
        yield from _check_prometheus(addresses.prometheus, metrics)
        if addresses.grafana is None:
            yield _check_alerts(addresses.prometheus)
    if addresses.grafana is not None:
        yield from _check_grafana(addresses.grafana)


# --- OTLP ---


def _send_span(signal: Signal) -> tuple[Check, str | None]:
    unreachable = _connect(signal.endpoint)
    if unreachable is not None:
        return Check(
            "OTLP",
            "failed",
            f"{signal.shown} does not answer: {unreachable}",
            "Start the Collector (docker compose up -d), or correct OTEL_EXPORTER_OTLP_ENDPOINT",
        ), None
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    attributes = {Attr.STATE: semconv.WORKING, Attr.CATEGORY: semconv.COMPUTE}
    span = provider.get_tracer(SCOPE).start_span("stack check", attributes=attributes)
    span.end()
    assert isinstance(span, ReadableSpan)
    exporter = span_exporter(signal, is_told=False)
    taken = exporter.export([span]) is SpanExportResult.SUCCESS
    exporter.shutdown()
    if not taken:
        return Check(
            "OTLP",
            "failed",
            f"{signal.shown} answers, but takes no span over {signal.protocol}",
            "grpc is usually port 4317, http/protobuf 4318 (OTEL_EXPORTER_OTLP_PROTOCOL). If they"
            " match: credentials (OTEL_EXPORTER_OTLP_HEADERS), certificates"
            " (OTEL_EXPORTER_OTLP_CERTIFICATE; https:// if it wants TLS), or see its log",
        ), None
    told = f"{signal.shown} takes spans over {signal.protocol}"
    return Check("OTLP", "ok", told), format_trace_id(span.get_span_context().trace_id)


def _send_count(signal: Signal) -> bool:
    exporter = metric_exporter(signal, is_told=False)
    reader = InMemoryMetricReader(preferred_temporality=exporter._preferred_temporality)
    provider = MeterProvider([reader], resource=_resource(), shutdown_on_exit=False)
    counter = provider.get_meter(SCOPE).create_counter(Metric.STACK_CHECK, "{check}")
    counter.add(1)
    data = reader.get_metrics_data()
    taken = data is not None and exporter.export(data) is MetricExportResult.SUCCESS
    exporter.shutdown()
    return taken


def _resource() -> Resource:
    found = Resource.create({Attr.SERVICE_NAME: SERVICE, Attr.HOST_NAME: socket.gethostname()})
    kept = {k: v for k, v in found.attributes.items() if k != "service.instance.id"}
    return Resource(kept)


def _connect(endpoint: str) -> str | None:
    parts = urlsplit(endpoint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), _ANSWER_WITHIN_S).close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


# --- Jaeger ---


def _check_jaeger(url: str, trace_id: str | None) -> Iterator[Check]:
    services = _get(f"{url}/api/v3/services")
    if isinstance(services, _Problem):
        yield Check(
            "Jaeger",
            "failed",
            f"{url} does not answer: {services.told}",
            "Start it (docker compose up -d jaeger), name it (--jaeger URL), or leave it out"
            " (--jaeger none)",
        )
        return
    if trace_id is None:
        yield Check("Jaeger", "warning", f"{url} answers; no span could be sent to look for")
        return
    began = time.monotonic()
    found = _until(
        lambda: _get(f"{url}/api/v3/traces/{trace_id}"),
        lambda seen: not isinstance(seen, _Problem),
        _SPAN_WITHIN_S,
    )
    if isinstance(found, _Problem):
        yield Check(
            "Jaeger",
            "failed",
            f"the span that was sent is not there after {_SPAN_WITHIN_S:.0f} s",
            "Does the Collector reach Jaeger (docker compose logs otel-collector)? Is this the"
            " Jaeger that it sends to? Does tail sampling drop short traces?",
        )
        return
    took = time.monotonic() - began
    yield Check("Jaeger", "ok", f"{url} has the span after {took:.1f} s")
    names = {str(a.get(Attr.SERVICE_NAME)) for a in _resources_of(found)}
    if names in ({f"{SERVICE}-{semconv.WORKING}"}, {f"{SERVICE}-{semconv.COMPUTE}"}):
        yield Check("colours", "ok", "work and waiting are services of their own in Jaeger")
    else:
        yield Check(
            "colours",
            "warning",
            "work and waiting have one colour in Jaeger",
            f"Use collector/otel-collector.yaml, or its processors {', '.join(SPLITTING)};"
            " without a Collector configure(split_services='state')",
        )


# The Collector's processors, in collector/otel-collector.yaml, that make services of states.
SPLITTING: Final = ("transform/split", "groupbyattrs/split", "transform/shown")


def _resources_of(found: Any) -> Iterator[Mapping[str, str]]:
    for block in found.get("result", {}).get("resourceSpans", ()):
        pairs = block.get("resource", {}).get("attributes", ())
        yield {pair["key"]: pair["value"].get("stringValue", "") for pair in pairs}


# --- Prometheus ---


def _check_prometheus(url: str, signal: Signal | None) -> Iterator[Check]:
    flags = _get(f"{url}/api/v1/status/flags")
    if isinstance(flags, _Problem):
        yield Check(
            "Prometheus",
            "failed",
            f"{url} does not answer: {flags.told}",
            "Start it (docker compose up -d prometheus), name it (--prometheus URL), or leave it"
            " out (--prometheus none)",
        )
        return
    yield from _check_flags(url, flags.get("data", {}))
    yield from _check_rules(url)
    if signal is None:
        yield Check("metrics", "warning", "no endpoint for metrics is set: programs send none")
        return
    yield _check_count(url, signal)


def _check_count(url: str, signal: Signal) -> Check:
    name = Metric.STACK_CHECK.replace(".", "_") + "_total"
    query = f'sum({name}{{service_name="{SERVICE}"}})'
    before = _value(url, query)
    if not _send_count(signal):
        return Check(
            "metrics",
            "failed",
            f"{signal.shown} takes no metrics over {signal.protocol}",
            "Has its OTLP receiver a metrics pipeline? See its log",
        )
    began = time.monotonic()
    seen = _until(lambda: _value(url, query), lambda value: value > before, _COUNT_WITHIN_S)
    if seen <= before:
        return Check(
            "metrics",
            "failed",
            f"the count that was sent is not in Prometheus after {_COUNT_WITHIN_S:.0f} s",
            "Does Prometheus scrape the Collector (Status, Targets)? Does the Collector add deltas"
            " up (delta_to_cumulative)? If there is none between, set"
            " OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative",
        )
    return Check("metrics", "ok", f"{url} has the count after {time.monotonic() - began:.1f} s")


def _check_flags(url: str, flags: Mapping[str, str]) -> Iterator[Check]:
    features = flags.get("enable-feature", "")
    wanted = {
        "exemplar-storage": "no dot in a graph leads to its trace",
        "created-timestamp-zero-ingestion": "the first run of everything counts for nothing",
    }
    for feature, without in wanted.items():
        if features and feature not in features:
            yield Check(
                "Prometheus",
                "warning",
                f"{feature} is off: {without}",
                f"Start Prometheus with --enable-feature={','.join(wanted)}",
            )
    if flags.get("web.enable-otlp-receiver") == "false":
        yield Check(
            "Prometheus",
            "warning",
            "it takes no OTLP: gauges and span metrics of the shipped Collector do not arrive",
            "Start Prometheus with --web.enable-otlp-receiver",
        )
    yield Check("Prometheus", "ok", f"{url} answers")


def _check_rules(url: str) -> Iterator[Check]:
    if RECORDED_RULE in _rule_names(_get(f"{url}/api/v1/rules")):
        yield Check("rules", "ok", "the recording rules are loaded")
    else:
        yield Check(
            "rules",
            "failed",
            f"the recording rules are not loaded: there is no {RECORDED_RULE}",
            "Add collector/rules/recording.yml to rule_files",
        )


def _check_alerts(url: str) -> Check:
    if ALERT_RULE in _rule_names(_get(f"{url}/api/v1/rules")):
        return Check("alerts", "ok", "Prometheus has the alert rules")
    return Check(
        "alerts",
        "warning",
        f"no Grafana, and Prometheus has no {ALERT_RULE}: nothing alerts",
        "Add collector/rules/alerts.yml to rule_files, with an Alertmanager; or use Grafana",
    )


RECORDED_RULE: Final = "service_model:llm_latency_seconds:p95_5m"
ALERT_RULE: Final = "LlmLatencyHigh"


def _rule_names(rules: Any) -> set[str]:
    groups = () if isinstance(rules, _Problem) else rules.get("data", {}).get("groups", ())
    return {str(rule.get("name")) for group in groups for rule in group.get("rules", ())}


def _value(url: str, query: str) -> float:
    found = _get(f"{url}/api/v1/query?{urlencode({'query': query})}")
    if isinstance(found, _Problem):
        return 0.0
    samples = found.get("data", {}).get("result", ())
    return float(next((s["value"][1] for s in samples), 0.0))


# --- Grafana ---


def _check_grafana(url: str) -> Iterator[Check]:
    health = _get(f"{url}/api/health")
    if isinstance(health, _Problem):
        yield Check(
            "Grafana",
            "failed",
            f"{url} does not answer: {health.told}",
            "Start it (docker compose up -d grafana), name it (--grafana URL), or leave it out"
            " (--grafana none)",
        )
        return
    yield Check("Grafana", "ok", f"{url} answers")
    rules = _get(f"{url}/api/prometheus/grafana/api/v1/rules")
    if isinstance(rules, _Problem):
        yield Check("alerts", "warning", f"whether alerts are loaded cannot be seen: {rules.told}")
    elif ALERT_RULE in _rule_names(rules):
        yield Check("alerts", "ok", "the alert rules are loaded")
    else:
        yield Check(
            "alerts",
            "failed",
            f"the alert rules are not loaded: there is no {ALERT_RULE}",
            "Mount collector/grafana/provisioning at /etc/grafana/provisioning",
        )
    if not _is_set("ALERT_WEBHOOK_URL"):
        yield Check(
            "alerts",
            "warning",
            "ALERT_WEBHOOK_URL is not set: alerts fire, and reach nobody",
            "Put ALERT_WEBHOOK_URL=https://... into .env beside docker-compose.yml, and start"
            " Grafana again",
        )


def _is_set(variable: str) -> bool:
    if os.environ.get(variable):
        return True
    try:
        lines = Path(".env").read_text().splitlines()
    except OSError:
        return False
    pairs = (line.partition("=") for line in lines)
    return any(name.strip() == variable and value.strip("\"' ") for name, _, value in pairs)


# --- HTTP ---


@dataclass(frozen=True, slots=True)
class _Problem:
    told: str


def _get(url: str) -> Any:
    try:
        with urlopen(url, timeout=_ANSWER_WITHIN_S) as answer:
            found = json.load(answer)
    except HTTPError as error:
        return _Problem(f"HTTP {error.code}")
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return _Problem(str(getattr(reason, "strerror", None) or reason))
    except (HTTPException, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else _Problem("what answers there is something else")


def _until(look: Callable[[], Any], is_right: Callable[[Any], bool], within_s: float) -> Any:
    until = time.monotonic() + within_s
    while not is_right(seen := look()) and time.monotonic() < until:
        time.sleep(0.5)
    return seen

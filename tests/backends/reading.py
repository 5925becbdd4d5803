"""Read traces back from Jaeger: its stable API, /api/v3, and what its UI reads."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_orchestrator.model import Attributes, Span, changed
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.otlp import attributes_of, spans_of

from .processes import Jaeger


@dataclass(frozen=True, slots=True)
class Shown:
    """A span as Jaeger has it, with its resource."""

    span: Span
    resource: Attributes

    @property
    def service(self) -> str:
        """The service that Jaeger shows it under, and colours it by."""
        return str(self.resource[Attr.SERVICE_NAME])


def trace_of(jaeger: Jaeger, trace_id: str, *, spans: int, within_s: float = 30) -> list[Shown]:
    """Return a trace once it has at least `spans` spans; fail if it never has."""
    deadline = time.monotonic() + within_s
    found: list[Shown] = []
    while time.monotonic() < deadline:
        found = spans_in(jaeger, trace_id)
        if len(found) >= spans:
            return found
        time.sleep(0.1)
    raise AssertionError(f"Jaeger has {len(found)} of {spans} spans of {trace_id}")


def spans_in(jaeger: Jaeger, trace_id: str) -> list[Shown]:
    """Return what Jaeger has of a trace right now."""
    return [
        Shown(span, attributes_of(block["resource"].get("attributes")))
        for document in _documents(jaeger, trace_id)
        for block in document["resourceSpans"]
        for span in spans_of({"resourceSpans": [block]})
    ]


def in_the_ui(span: Span) -> Span:
    """Return a span as the UI counts: start and duration are cut to microseconds, each by itself.

    So an end may be 1 µs before where one would cut it.
    """
    start_ns = span.start_ns // 1000 * 1000
    duration_ns = ((span.end_ns or span.start_ns) - span.start_ns) // 1000 * 1000
    return changed(span, start_ns=start_ns, end_ns=start_ns + duration_ns)


def true_resource(resource: Attributes) -> dict[str, Any]:
    """Return a resource as the program had it, before spans were sorted into services."""
    true = dict(resource)
    if Attr.SERVICE in true:
        true[Attr.SERVICE_NAME] = true.pop(Attr.SERVICE)
    return true


def services(jaeger: Jaeger, prefix: str) -> set[str]:
    """Return the services that Jaeger knows, of those with this prefix."""
    with urllib.request.urlopen(f"{jaeger.query_url}/api/v3/services", timeout=5) as answer:
        return {name for name in json.load(answer)["services"] if name.startswith(prefix)}


def trace_in_the_ui(jaeger: Jaeger, trace_id: str) -> Mapping[str, Any]:
    """Return a trace as the UI gets it: checked and adjusted, with warnings on its spans."""
    with urllib.request.urlopen(f"{jaeger.query_url}/api/traces/{trace_id}", timeout=5) as answer:
        (trace,) = json.load(answer)["data"]
        found: Mapping[str, Any] = trace
        return found


def ids_found(jaeger: Jaeger, query: str) -> set[str]:
    """Return the ids of the traces that a search of the UI finds."""
    with urllib.request.urlopen(f"{jaeger.query_url}/api/traces?{query}", timeout=5) as answer:
        return {trace["traceID"] for trace in json.load(answer)["data"]}


def _documents(jaeger: Jaeger, trace_id: str) -> list[dict[str, Any]]:
    url = f"{jaeger.query_url}/api/v3/traces/{trace_id}?rawTraces=true"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    # A large trace comes as several JSON documents, one after the other.
    decoder, at, documents = json.JSONDecoder(), 0, []
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        documents.append(document.get("result", document))
        while at < len(text) and text[at].isspace():
            at += 1
    return documents

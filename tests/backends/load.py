"""A run that was recorded, sent again as other traces: real spans, as many as one likes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from otel_orchestrator.semconv import Attr


@dataclass(frozen=True, slots=True)
class Recording:
    """The requests that a run was sent in, as JSON, and what tells it from others."""

    requests: tuple[str, ...]
    trace_id: str
    run_id: str
    span_ids: tuple[str, ...]


def recording_of(run_file: Path) -> Recording:
    """Read a run file: of each batch that it holds, the spans that have ended."""
    requests: list[str] = []
    spans: dict[str, Any] = {}
    for line in run_file.read_text().splitlines():
        document = json.loads(line)
        for one in _scopes(document):
            one["spans"] = [
                s
                for s in one["spans"]
                if int(s.get("endTimeUnixNano", 0)) and s["spanId"] not in spans
            ]
            spans |= {span["spanId"]: span for span in one["spans"]}
        if any(one["spans"] for one in _scopes(document)):
            requests.append(json.dumps(document))
    (trace_id,) = {span["traceId"] for span in spans.values()}
    (run_id,) = {
        pair["value"]["stringValue"]
        for span in spans.values()
        for pair in span["attributes"]
        if pair["key"] == Attr.RUN_ID
    }
    return Recording(tuple(requests), trace_id, run_id, tuple(spans))


def again(recording: Recording) -> tuple[str, list[str]]:
    """Return a new trace id, and the requests of the recorded run under it."""
    trace_id, run_id = os.urandom(16).hex(), os.urandom(8).hex()
    return trace_id, [
        request.replace(recording.trace_id, trace_id).replace(recording.run_id, run_id)
        for request in recording.requests
    ]


def together(requests: Iterable[str]) -> str:
    """Return one request that holds several, of several traces."""
    blocks = [block for request in requests for block in json.loads(request)["resourceSpans"]]
    return json.dumps({"resourceSpans": blocks})


def post(http_endpoint: str, request: str) -> None:
    """Send a request; fail if it is not taken."""
    headers = {"Content-Type": "application/json"}
    asked = Request(f"{http_endpoint}/v1/traces", request.encode(), headers)
    with urlopen(asked, timeout=30) as answer:
        assert answer.status == 200


def _scopes(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for block in document.get("resourceSpans", ()):
        yield from block["scopeSpans"]

"""In which of a Jaeger's services a run is looked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from otel_orchestrator.sources.jaeger import runs_in_jaeger, wanted_in


def trace_of(run_id: str, service: str) -> dict[str, Any]:
    attributes = {"orchestrator.run.id": run_id, "gen_ai.operation.name": "invoke_workflow"}
    span = {
        "traceId": f"{int(run_id):032x}",
        "spanId": f"{int(run_id):016x}",
        "name": "invoke_workflow w",
        "startTimeUnixNano": "1000",
        "endTimeUnixNano": "2000",
        "attributes": pairs(attributes),
    }
    resource = {"attributes": pairs({"service.name": service, "orchestrator.run.label": "v1"})}
    return {"resource": resource, "scopeSpans": [{"spans": [span]}]}


def pairs(attributes: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]


TRACES = {"agents": ["1"], "agents-llm": ["2"], "agents-working": ["1"]}
"""Runs by service: a service of its own is called as one that is sorted out of another."""


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        answer: dict[str, Any]
        if asked.path == "/api/v3/services":
            answer = {"services": list(TRACES)}
        else:
            service = parse_qs(asked.query)["query.serviceName"][0]
            blocks = [trace_of(run_id, service) for run_id in TRACES[service]]
            answer = {"result": {"resourceSpans": blocks}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_that_is_called_as_a_sorted_one_is_searched_too(url: str) -> None:
    runs = runs_in_jaeger(wanted_in("jaeger:label=v1", url))
    assert [(run.id, len(run.spans), run.warnings) for run in runs] == [("1", 1, ()), ("2", 1, ())]

"""A Jaeger that is none, or answers strangely: one line that says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from otel_orchestrator.errors import RunFileError
from otel_orchestrator.sources.jaeger import runs_in_jaeger, wanted_in

WHOLE = b'{"result": {"resourceSpans": []}}'


class Answering(BaseHTTPRequestHandler):
    """Answers whatever is asked with what the server says."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Strange)
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.body) + server.missing))
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, *_: object) -> None: ...


class Strange(ThreadingHTTPServer):
    """A server that is no Jaeger."""

    status = 200
    body = WHOLE
    missing = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Strange]:
    with Strange(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def said_of(url: str) -> str:
    with pytest.raises(RunFileError) as raised:
        runs_in_jaeger(wanted_in("jaeger:some-run", url))
    line = str(raised.value)
    assert "\n" not in line and "secret" not in line
    return line


@pytest.mark.parametrize(
    "url",
    [
        "jaeger.example",
        "jaeger.example:16686",
        "user:secret@jaeger.example:16686",
        "http://user:secret@jaeger.example",
        "file:///etc/hostname",
        "http://",
        "http://[::1",
        "http://jaeger.example:port",
        "",
    ],
)
def test_what_is_no_address_is_said(url: str) -> None:
    shown = url.rpartition("@")[2]
    assert said_of(url) == (
        f"{shown} is no address of a Jaeger. Type --jaeger-url http://HOST:16686"
    )


def test_an_answer_that_ends_before_its_end(server: Strange) -> None:
    server.missing = 100
    assert said_of(server.url) == (
        f"{server.url} does not answer as Jaeger does: IncompleteRead({len(WHOLE)} bytes read,"
        " 100 more expected)"
    )


def test_an_answer_that_is_no_text(server: Strange) -> None:
    server.body = b"\xff\xfe\x00"
    assert said_of(server.url) == f"{server.url} does not answer as Jaeger does: no UTF-8"


def test_an_address_that_cannot_be_asked(server: Strange) -> None:
    assert said_of(f"{server.url}/ü").startswith(
        f"{server.url} does not answer as Jaeger does: Uni"
    )


def test_an_error_of_several_lines(server: Strange) -> None:
    server.status, server.body = 500, b"what\nwent wrong\x1b[31m\n"
    assert said_of(server.url) == (
        f"{server.url} does not answer as Jaeger does: HTTP 500 what\u240awent wrong\u241b[31m"
    )


def test_an_error_that_ends_before_its_end(server: Strange) -> None:
    server.status, server.missing = 500, 100
    assert said_of(server.url).startswith(f"{server.url} does not answer as Jaeger does: HTTP 500")


def test_a_run_that_is_an_agent_is_found_by_its_id_and_one_inside_of_it_is_no_run(
    server: Strange,
) -> None:
    def span(span_id: str, parent_id: str, **said: str) -> dict[str, object]:
        return {
            "traceId": "1" * 32,
            "spanId": span_id * 16,
            "parentSpanId": parent_id * 16,
            "name": f"invoke_agent {span_id}",
            "startTimeUnixNano": "1000",
            "endTimeUnixNano": "2000",
            "attributes": [
                {"key": f"orchestrator.run.{k}", "value": {"stringValue": v}}
                for k, v in said.items()
            ],
        }

    spans = [span("a", "b", id="some-run"), span("c", "a", id="some-run", label="inner")]
    blocks = [{"scopeSpans": [{"spans": spans}]}]
    document = {"result": {"resourceSpans": blocks}}
    server.body = json.dumps(document).encode()
    (run,) = runs_in_jaeger(wanted_in("jaeger:service=svc,run=some-run", server.url))
    assert (run.id, len(run.spans)) == ("some-run", 2)
    with pytest.raises(RunFileError, match="has no run"):
        runs_in_jaeger(wanted_in("jaeger:service=svc,label=inner", server.url))


def test_a_jaeger_without_the_run(server: Strange) -> None:
    assert said_of(server.url) == f"{server.url} has no run jaeger:some-run"

"""What the backends take and how much room it needs: the numbers of docs/scale.md.

python -m tests.backends.sizing            `make soak-sizing`: about 6 minutes, prints a table

A recorded demo run is sent again and again, as protobuf, as fast as it is taken.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from otel_orchestrator.sources.runfiles import find_run

from . import processes, scaled
from .jvms import cassandra_program, kafka_program
from .processes import Program
from .stack import until
from .traffic import INSERTED, SENT, counted, demo_trace, start_demo

_SENDERS: Final = 4
# What docs/jaeger.md searches for.
_FEW: Final = (
    "orchestrator.run.id,orchestrator.category,orchestrator.outcome,orchestrator.wait.on,"
    "orchestrator.task.id,error"
)
_PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A demo run, in the very requests that it was sent in, and its run file."""

    requests: tuple[bytes, ...]
    trace_id: bytes
    spans: int
    run_file: Path

    def again(self) -> tuple[str, list[bytes]]:
        """Return a new trace id, and the requests under it."""
        trace_id = os.urandom(16)
        return trace_id.hex(), [one.replace(self.trace_id, trace_id) for one in self.requests]


def _record(runs: Path) -> Sent:
    """Run a demo, and listen to what it sends."""
    requests: list[bytes] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        if start_demo(endpoint, runs, protocol="http/protobuf").wait(600) != 0:
            raise SystemExit("sizing: the demo failed")
        server.shutdown()
    trace_id, span_ids = demo_trace(runs)
    path = find_run(None, runs).path
    return Sent(tuple(requests), bytes.fromhex(trace_id), len(span_ids), path)


def flood(run: Sent, endpoint: str, runs: int) -> tuple[list[str], float]:
    """Send that many runs as fast as they are taken; return their trace ids, and the seconds."""
    sent = [run.again() for _ in range(runs)]

    def send(requests: list[bytes]) -> None:
        for body in requests:
            with urlopen(Request(f"{endpoint}/v1/traces", body, _PROTOBUF), timeout=60):
                pass

    began = time.monotonic()
    with ThreadPoolExecutor(_SENDERS) as pool:
        list(pool.map(send, (requests for _, requests in sent)))
    return [trace_id for trace_id, _ in sent], time.monotonic() - began


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=150, help="that are sent again")
    parser.add_argument("--runs-to-cassandra", type=int, default=40)
    options = parser.parse_args()
    missing = [name for name in ("otelcol", "jaeger") if processes.find_backend(name) is None]
    if missing:
        print(f"sizing: {', '.join(missing)} is missing. Type: make backends", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-sizing-") as temporary:
        folder = Path(temporary)
        run = _record(folder / "runs")
        today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        print(f"\n{today}, {os.cpu_count()} cores\n\n| what | measured |\n|---|--:|")
        _measure_the_run(run)
        _measure_the_queue(folder, run, options.runs)
        _measure_badger(folder, run, options.runs)
        _measure_the_chain(folder, run, options.runs_to_cassandra)
    return 0


def _measure_the_run(run: Sent) -> None:
    sent = sum(len(request) for request in run.requests)
    squeezed = sum(len(gzip.compress(request)) for request in run.requests)
    _row("spans of a demo run", f"{run.spans}")
    _row("run file", _each(run.run_file.stat().st_size, run.spans))
    _row("OTLP, as it is sent", _each(sent, run.spans))
    _row("OTLP with gzip", _each(squeezed, run.spans))


def _measure_the_queue(folder: Path, run: Sent, runs: int) -> None:
    """Send to a Collector whose Jaeger is away: what it takes goes to its queue on disk."""
    one = scaled.node(binary("otelcol"), folder, "queueing")
    with one.program:
        _, took_s = flood(run, one.collector.http_endpoint, runs)
        spans = runs * run.spans
        _row("the Collector takes, into its queue on disk", f"{spans / took_s:.0f} spans/s")
        _row("queue on disk", _each(_size(folder / "queueing" / "queues"), spans))
        _row("the Collector's memory, at most", _peak(one.program))


def _measure_badger(folder: Path, run: Sent, runs: int) -> None:
    own = folder / "badger"
    own.mkdir()
    jaeger, up = processes.jaeger_program(binary("jaeger"), own)
    with jaeger:
        one = scaled.node(binary("otelcol"), folder, "single", jaeger_endpoint=up.otlp_endpoint)
        with one.program:
            began = time.monotonic()
            flood(run, one.collector.http_endpoint, runs)
            spans = runs * run.spans
            _reaches(one.metrics_url, SENT, spans)
            took_s = time.monotonic() - began
        _row("the Collector and Jaeger with Badger, all the way", f"{spans / took_s:.0f} spans/s")
        _row("Jaeger's memory, at most", _peak(jaeger))
        _end(jaeger)
    _row("Badger", _each(_size(own / "badger"), spans))


def _measure_the_chain(folder: Path, run: Sent, runs: int) -> None:
    """Fill Kafka first, then let the ingester empty it: all attributes indexed, then a few."""
    own = folder / "chain"
    own.mkdir()
    spans = runs * run.spans
    kafka, broker = kafka_program(own)
    cassandra, contact = cassandra_program(own)
    environment = {"KAFKA_BROKERS": f"[{broker}]"}
    port = int(contact.rpartition(":")[2])
    gateway = scaled.gateway(
        binary("otelcol"), own, "gateway-1", overlays=[scaled.KAFKA], environment=environment
    )
    with kafka:
        with scaled.tier(binary("otelcol"), own, [gateway]) as up:
            began = time.monotonic()
            flood(run, up.agents[0].collector.http_endpoint, runs)
            _reaches(gateway.metrics_url, SENT, spans)
            took_s = time.monotonic() - began
            _row("agent, gateway, Kafka, all the way", f"{spans / took_s:.0f} spans/s")
        _row("Kafka", _each(sum(map(_size, (own / "kafka").glob("otlp_spans-*"))), spans))
        with cassandra:
            for keyspace, indexed in (("all", ""), ("few", _FEW)):
                chosen = {**environment, "CASSANDRA_INDEXED": indexed}
                took_s = _ingest(own, keyspace, chosen, port, spans)
                what = "all attributes" if not indexed else f"{indexed.count(',') + 1} attributes"
                _row(f"one ingester, {what} indexed", f"{spans / took_s:.0f} spans/s")
            _row("Cassandra's memory, at most", _peak(cassandra))
            _end(cassandra)
        _row("Kafka's memory, at most", _peak(kafka))
    for keyspace in ("all", "few"):
        _row(
            f"Cassandra, {keyspace} indexed", _each(_size(own / "cassandra/data" / keyspace), spans)
        )


def _ingest(
    folder: Path, keyspace: str, environment: Mapping[str, str], cassandra_port: int, spans: int
) -> float:
    """Return the seconds that an ingester takes for the whole of the topic."""
    program, url = scaled.ingester_program(
        binary("jaeger"),
        folder / keyspace,
        {**environment, "CASSANDRA_KEYSPACE": keyspace, "KAFKA_GROUP": keyspace},
        cassandra_port,
    )
    with program:
        _reaches(url, INSERTED, 1)
        before, began = counted(url, INSERTED), time.monotonic()
        _reaches(url, INSERTED, spans)
        return (time.monotonic() - began) * spans / (spans - before)


def _reaches(metrics_url: str, name: str, goal: int) -> None:
    until(lambda: counted(metrics_url, name), lambda seen: seen >= goal, within_s=400)


def _end(program: Program) -> None:
    """Let a store end in its own time, so that all it has is on disk."""
    assert program.process is not None
    program.process.terminate()
    program.process.wait(120)


def _size(folder: Path) -> int:
    done = subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 1024


def _peak(program: Program) -> str:
    assert program.process is not None
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return f"{int(kilobytes) / 1024:.0f} MiB"


def _each(size: int, spans: int) -> str:
    return f"{size / spans:.0f} bytes a span"


def _row(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def binary(name: str) -> Path:
    """Return a program that `make backends` found or built."""
    found = processes.find_backend(name)
    assert found is not None
    return found


if __name__ == "__main__":
    sys.exit(main())

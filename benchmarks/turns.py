"""Ways of running a program, each in a process of its own, that take turns.

What a process sets up for itself, such as providers, environment and other instrumentations, stays
in it. Each turn of every way is a few hundredths of a second after the other ways' turns, so that
what else the machine does meets all of them alike; their differences are told as median and
quartiles over the turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server
from statistics import median, quantiles
from typing import Any, Final

HERE: Final = Path(__file__).parent
BASE: Final = "untraced"
_WARM_UP: Final = 3


@dataclass(frozen=True, slots=True)
class Way:
    """How one process runs.

    Attributes:
        setup: what it sets up, by its name in `worker.py`.
        environment: its variables besides those of this process.
    """

    setup: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:+.0f} ({self.low:+.0f} … {self.high:+.0f})"


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles of values."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high)


def measure(
    ways: Mapping[str, Way], work: Sequence[str], turns: int, python: str = sys.executable
) -> dict[str, list[dict[str, float]]]:
    """Have each way do the same work in turns; return what each turn took.

    Args:
        ways: by name.
        work: what each turn does, as arguments of `worker.py`.
        turns: how many; three before them warm up.
        python: the interpreter of the processes.
    """
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(way, work, python))
                   for name, way in ways.items()}  # fmt: skip
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for turn in range(turns + _WARM_UP):
            for name, worker in workers.items():
                assert worker.stdin and worker.stdout
                worker.stdin.write("go\n")
                worker.stdin.flush()
                answer = worker.stdout.readline()
                if not answer:
                    sys.exit(f"{name}: the process ended")
                if turn >= _WARM_UP:
                    taken[name].append(json.loads(answer))
    return taken


@contextmanager
def _worker(way: Way, work: Sequence[str], python: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [python, str(HERE / "worker.py"), way.setup, *work],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**plain_environment(), **way.environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def plain_environment() -> dict[str, str]:
    """Return this process's environment without what would set up tracing."""
    prefixes = ("OTEL_", "LANGSMITH_", "LANGCHAIN_", "TRACELOOP_", "OPENINFERENCE_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    # Fixed, so that the order in sets and so the work is the same each time.
    return {**kept, "PYTHONHASHSEED": "0"}


def added(
    taken: Mapping[str, Sequence[Mapping[str, float]]], way: str, what: str, base: str = BASE
) -> list[float]:
    """Return by how much each turn of a way took longer than the base's turn just before it."""
    return [a[what] - b[what] for a, b in zip(taken[way], taken[base], strict=True)]


_LANGSMITH: Final = {
    "version": "0.12",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
    "instance_flags": {"zstd_compression_enabled": True},
}


class _Takes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take everything and say so."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._answer(self.headers.get("content-type") or "text/plain", b"")

    def do_GET(self) -> None:
        """Say what LangSmith's client asks first: that it may send its usual way."""
        self._answer("application/json", json.dumps(_LANGSMITH).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoints() -> Iterator[dict[str, str]]:
    """Yield addresses by what is there: `alive`, `refuses` and `silent`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Takes)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        with create_server(("127.0.0.1", 0)) as gone:
            refused = gone.getsockname()[1]
        ports = {"alive": server.server_port, "refuses": refused, "silent": silent.getsockname()[1]}
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    server.shutdown()


def otlp(address: str) -> dict[str, str]:
    """Return the variables that send to an address."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """Print a table as Markdown, a row as soon as it is known."""
    print("\n| " + " | ".join(head) + " |\n|---" + "|--:" * (len(head) - 1) + "|", flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)

"""Runs that are sent all the time, and how far their spans have come."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from otel_orchestrator.sources.runfiles import find_run, read_run

from .load import Recording, again, post
from .scaled import Chain, Node

ACCEPTED = "otelcol_receiver_accepted_spans_total"
SENT = "otelcol_exporter_sent_spans_total"
INSERTED = (
    'jaeger_storage_inserts_total{kind="cassandra",name="traces",role="tracestore",table="traces"}'
)


def counted(metrics_url: str, name: str) -> int:
    """Return the sum of a metric's series, or of the one that is written out; 0 if it is away."""
    try:
        with urlopen(metrics_url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    series = (line.rpartition(" ") for line in lines)
    return sum(int(float(v)) for key, _, v in series if name in (key, key.partition("{")[0]))


@dataclass(slots=True)
class Progress:
    """How many spans each part has taken and passed on."""

    chain: Chain
    at_rest: dict[str, int] = field(default_factory=dict)

    def _read(self) -> dict[str, int]:
        tier = self.chain.tier
        now = {f"accepted {n.name}": counted(n.metrics_url, ACCEPTED) for n in tier.agents}
        for n in tier.gateways:
            now[f"accepted {n.name}"] = counted(n.metrics_url, ACCEPTED)
            now[f"sent {n.name}"] = counted(n.metrics_url, SENT)
        now["stored"] = counted(self.chain.ingester_metrics_url, INSERTED)
        return now

    def reset(self) -> None:
        """Count from here on: everything that was sent has come through."""
        self.at_rest = self._read()

    def held(self) -> Held:
        """Return where the spans are that have not come through yet, if nobody was restarted."""
        now = {key: value - self.at_rest[key] for key, value in self._read().items()}

        def total(what: str, who: Sequence[Node]) -> int:
            return sum(now[f"{what} {node.name}"] for node in who)

        tier = self.chain.tier
        in_front = total("accepted", tier.agents)
        taken, passed_on = total("accepted", tier.gateways), total("sent", tier.gateways)
        # Read one after the other, so a part may seem to have passed on what it has not taken.
        held = (in_front - taken, taken - passed_on, passed_on - now["stored"])
        return Held(*(max(0, spans) for spans in held))


@dataclass(frozen=True, slots=True)
class Held:
    """Spans by the part that has them and has not passed them on."""

    agents: int
    gateways: int
    kafka: int

    def __str__(self) -> str:
        return f"{self.agents}, {self.gateways}, {self.kafka}"


class Load:
    """Sends a recorded run again and again, to one agent after the other, at an even pace."""

    def __init__(self, recording: Recording, agents: Sequence[str], runs_per_s: float) -> None:
        self.sent: dict[str, tuple[str, ...]] = {}
        self._recording = recording
        self._agents = itertools.cycle(agents)
        self._every_s = 1 / runs_per_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the run that is under way."""
        self._stop.set()
        self._thread.join()

    def _go_on(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._send(next(self._agents))
            due = max(due + self._every_s, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _send(self, endpoint: str) -> None:
        trace_id, requests = again(self._recording)
        for request in requests:
            while True:  # what is refused is sent again, as the library does from its run file
                try:
                    post(endpoint, request)
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.5)
        self.sent[trace_id] = self._recording.span_ids


def start_demo(
    endpoint: str, folder: Path, *arguments: str, protocol: str = "grpc"
) -> subprocess.Popen[bytes]:
    """Start the reference orchestrator, sending to `endpoint`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment = {
        **clean,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_ORCHESTRATOR_RUN_DIR": str(folder),
    }
    command = [sys.executable, "-m", "otel_orchestrator.demo", "--speed", "0.02", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def demo_trace(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the trace id and the span ids of the run that a demo recorded."""
    run = read_run(find_run(None, folder))
    return run.spans[0].trace_id, tuple(span.span_id for span in run.spans)

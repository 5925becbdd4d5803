"""Demo runs with fixed seeds through the real stack, and the panels of every dashboard."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_orchestrator.analysis.advice.pieces import Look
from otel_orchestrator.analysis.comparing.digest import Digest, digest_of
from otel_orchestrator.analysis.summary import Summary, summarize
from otel_orchestrator.model import Run, Span
from otel_orchestrator.sources.runfiles import list_runs, read_run

from .processes import ROOT
from .stack import Binaries, Stack, query, stack, until, values

BOARDS: Final = sorted((ROOT / "collector" / "grafana" / "dashboards").glob("*.json"))
WINDOW_S: Final = 900
# A rate is extended to the edge of its window: of a series that was read twice, by half of it.
_AGE_S: Final = 30
_CALLS: Final = "gen_ai_client_operation_duration_seconds_count"
_SPAN_CALLS: Final = "traces_span_metrics_calls_total"


@dataclass(frozen=True, slots=True)
class Seed:
    """One run: its label, and how it is started."""

    label: str
    words: tuple[str, ...]


def _demo(label: str, *words: str) -> Seed:
    return Seed(label, ("-m", "otel_orchestrator.demo", "--speed", "0.1", "--label", label, *words))


# Reads the answers of the demo's LLM as they come.
_STREAMS: Final = """
import asyncio, subprocess, sys
import otel_orchestrator as otel
from otel_orchestrator.demo.agent import make_model

otel.configure("demo-orchestrator", label="streams")
otel.instrument()
words = [sys.executable, "-m", "otel_orchestrator.demo.llm_server", "--speed", "0.3"]
server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

async def main() -> None:
    model = make_model(server.stdout.readline().strip(), "local-llm", "none")
    with otel.run("streams"):
        for i in range(9):
            async for _ in model.astream([("human", f"What does a newcomer have to know? {i}")]):
                pass

asyncio.run(main())
server.kill()
"""

# Two of one label and one of another, which is asked to be slower; one without supersteps.
SEEDS: Final = {
    "first": _demo("base", "--seed", "7"),
    "second": _demo("base", "--seed", "11", "--workers", "2"),
    "third": _demo("candidate", "--seed", "7", "--slow", "llm=1"),
    "fourth": _demo("continuous", "--seed", "7", "--dispatch", "continuous"),
    "streams": Seed("streams", ("-c", _STREAMS)),
}
DEMOS: Final = ("first", "second", "third", "fourth")


@dataclass(frozen=True, slots=True)
class Seeded:
    """The stack with the runs in it. Each run is a namespace, so that a panel can show it alone."""

    up: Stack
    runs: Mapping[str, Run]
    outside: Mapping[str, Run]
    """What each process did outside of its run: git, to make the repository."""

    def look(self, namespace: str) -> Look:
        """Return a run as a report looks at it."""
        return Look(self.runs[namespace])

    def spans(self, namespace: str) -> list[Span]:
        """Return all spans of a process."""
        return [*self.runs[namespace].spans, *self.outside[namespace].spans]

    def summary(self, namespace: str) -> Summary:
        """Return the numbers that a report has of a run."""
        return summarize(self.runs[namespace])

    def of_label(self, label: str) -> list[str]:
        """Return which runs have a label."""
        return [name for name, seed in SEEDS.items() if seed.label == label]

    def digests(self, label: str) -> list[Digest]:
        """Return what a comparison has of the runs of a label."""
        return [digest_of(self.runs[name]) for name in self.of_label(label)]


@contextmanager
def seeded(binaries: Binaries, folder: Path) -> Iterator[Seeded]:
    """Run the demos at once, and wait until everything has been scraped."""
    with stack(binaries, folder, rules=["alerts.yml"]) as up:
        started = {
            name: _started(name, seed, up.collector.grpc_endpoint, folder / name)
            for name, seed in SEEDS.items()
        }
        for process in started.values():
            said, complaints = process.communicate(timeout=240)
            assert process.returncode == 0, said + complaints
        found = Seeded(up, *_read(folder))
        for name in SEEDS:
            of_run = f'service_namespace="{name}"'
            calls = found.summary(name).llm_calls
            until(_total(up, f"sum({_CALLS}{{{of_run}}})"), lambda v, n=calls: v == [n])  # type: ignore[misc]
            spans = len(found.spans(name))
            until(_total(up, f"sum({_SPAN_CALLS}{{{of_run}}})"), lambda v, n=spans: v == [n])  # type: ignore[misc]
            label = f"orchestrator_run_tasks{{{of_run}}}"
            until(_total(up, f"count(last_over_time({label}[1h]))"), lambda v: v == [1])
        # Whatever takes a rate of a counter of the Collector's own needs two scrapes.
        own = "count(rate(otelcol_receiver_accepted_spans_total[5m]))"
        until(_total(up, own), bool)
        time.sleep(_AGE_S)
        yield found


def _read(folder: Path) -> tuple[dict[str, Run], dict[str, Run]]:
    runs, outside = {}, {}
    for name in SEEDS:
        files = list_runs(folder / name)
        (runs[name],) = (read_run(file) for file in files if file.is_of_a_run)
        rest = [read_run(file) for file in files if not file.is_of_a_run]
        outside[name] = rest[0] if rest else Run("nothing", ())
    return runs, outside


def _total(up: Stack, expr: str) -> Any:
    return lambda: values(up.prometheus, expr)


def _started(name: str, seed: Seed, endpoint: str, folder: Path) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment = {
        **clean,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_ORCHESTRATOR_RUN_DIR": str(folder),
        "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={name},deployment.environment.name=test",
    }
    return subprocess.Popen(
        [sys.executable, *seed.words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    board: str
    question: str
    ref: str
    expr: str

    @property
    def name(self) -> str:
        """What a failing test calls it."""
        return f"{self.board.removeprefix('orchestrator-')}: {self.question} {self.ref}"

    def as_written(self, namespace: str = ".*", window: str = f"{WINDOW_S}s") -> str:
        """Return the query as Grafana would send it."""
        chosen = {
            "$__rate_interval": window,
            "$__range": "1h",
            "$service": "demo-orchestrator",
            "$namespace": namespace,
            "$environment": ".*",
            "$base": "base",
            "$candidate": "candidate",
        }
        expr = self.expr
        for variable, value in chosen.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr
        return expr

    def of_totals(self, namespace: str) -> str:
        """Return the query of the counters themselves, which began at zero, not of their rates."""
        expr = re.sub(
            r"(?:rate|increase)\((\w+(?:\{[^}]*\})?)\[\$__rate_interval\]\)", r"\1", self.expr
        )
        return Target(self.board, self.question, self.ref, expr).as_written(namespace)


def targets() -> Iterator[Target]:
    """Yield every query of every panel."""
    for path in BOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield Target(board["uid"], panel["title"], target["refId"], target["expr"])


Labels = frozenset[str]
"""The values of the labels that tell the lines of a panel apart; the empty ones do not count."""


def answers(up: Stack, expr: str) -> dict[Labels, float]:
    """Return what a query answers, by the values of its labels."""
    return {
        frozenset(v for k, v in series["metric"].items() if v and k != "__name__"): float(
            series["value"][1]
        )
        for series in query(up.prometheus, expr)
    }

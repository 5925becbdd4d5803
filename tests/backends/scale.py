"""The trial of the scale profile: kill each part of it under load, and count the spans.

python -m tests.backends.scale             `make soak-scale`: about 9 minutes, prints a table

Agents, gateways, Kafka, Jaeger's ingester, Cassandra and Jaeger, all real, with the shipped files.
While recorded runs are sent at an even pace and a demo runs, one part after the other is killed by
SIGKILL with a batch sent and not answered, and started again. At the end every span that was sent
has to be in Jaeger's /api/v3, once, each trace by one gateway.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_orchestrator.sources.runfiles import find_run

from .checking import Outcome, check
from .load import recording_of
from .processes import Jaeger, Program, find_backend
from .reading import spans_in
from .scaled import Chain, chain
from .stack import Binaries
from .traffic import Held, Load, Progress, demo_trace, start_demo
from .wire import Wire

_STALLED_S: Final = 120
_WARM_S: Final = 5


@dataclass(frozen=True, slots=True)
class Kill:
    """Parts to kill together, and the wire on which a batch has to be on its way then."""

    what: str
    programs: Sequence[Program]
    wire: str


@dataclass(frozen=True, slots=True)
class Row:
    """What was seen of one kill."""

    what: str
    held: Held
    down_s: float
    spans: int
    caught_up_s: float


def main() -> int:
    """Run the trial; 1 if a span is lost, doubled or strange, or a trace torn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-per-s", type=float, default=0.2, help="that are sent again")
    parser.add_argument("--down-s", type=float, default=15, help="how long a part is down")
    parser.add_argument("--folder", type=Path, help="for all data and logs; kept")
    options = parser.parse_args()
    missing = [name for name in ("otelcol", "jaeger", "prometheus") if find_backend(name) is None]
    if missing:
        print(f"scale: {', '.join(missing)} is missing. Type: make backends", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-scale-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with chain(_binaries(), folder) as up:
            _say(began, "all parts are up")
            sent, rows = trial(
                up,
                folder,
                kills(up),
                runs_per_s=options.runs_per_s,
                down_s=options.down_s,
                say=lambda text: _say(began, text),
            )
            outcome = check(sent, {one: spans_in(up.jaeger, one) for one in sent})
    _print_table(rows, outcome, time.monotonic() - began, options)
    return 0 if outcome.is_right else 1


def kills(up: Chain) -> tuple[Kill, ...]:
    """Return what the trial kills, in its order."""
    gateway, agent = up.tier.gateways[0].program, up.tier.agents[0].program
    return (
        Kill("a gateway", [gateway], "gateway"),
        Kill("Kafka", [up.kafka], "kafka"),
        Kill("Cassandra", [up.cassandra], "cassandra"),
        Kill("the ingester", [up.ingester], "cassandra"),
        Kill("an agent", [agent], "agent"),
        # The ingester as well: it may put partitions aside then (jaeger-ingester.yaml).
        Kill(
            "Cassandra, Kafka and the ingester", [up.cassandra, up.kafka, up.ingester], "cassandra"
        ),
    )


def trial(
    up: Chain,
    folder: Path,
    what: Sequence[Kill],
    *,
    runs_per_s: float,
    down_s: float,
    say: Callable[[str], None] = lambda _text: None,
) -> tuple[dict[str, tuple[str, ...]], list[Row]]:
    """Send, and kill one part after the other; return what was sent and what was seen."""
    agents = up.tier.agents
    _finish(start_demo(agents[0].collector.grpc_endpoint, folder / "demo"))
    recording = recording_of(find_run(None, folder / "demo").path)
    sent = dict([demo_trace(folder / "demo")])
    _wait_until_whole(up.jaeger, sent)
    say(f"a demo of {len(recording.span_ids)} spans has come through")
    rows = []
    for number, kill in enumerate(what):
        progress = Progress(up)
        progress.reset()
        # Not by the agent that may be killed: what a demo could not send, it keeps for the next.
        runs = folder / f"demo-{number}"
        demo = start_demo(agents[1].collector.grpc_endpoint, runs, "--seed", f"{number}")
        endpoints = [
            f"http://127.0.0.1:{up.wires['agent'].port}",
            agents[1].collector.http_endpoint,
        ]
        load = Load(recording, endpoints, runs_per_s)
        held, down_for_s = _kill(kill, up.wires[kill.wire], progress, down_s)
        back = time.monotonic()
        _finish(demo)
        load.stop()
        new = {**load.sent, **dict([demo_trace(runs)])}
        _wait_until_whole(up.jaeger, new)
        caught_up_s = time.monotonic() - back
        sent |= new
        rows.append(Row(kill.what, held, down_for_s, sum(map(len, new.values())), caught_up_s))
        say(f"killed {kill.what}, which held {held}; whole after {caught_up_s:.0f} s more")
    return sent, rows


def _kill(kill: Kill, wire: Wire, progress: Progress, down_s: float) -> tuple[Held, float]:
    """Kill with a batch sent and not answered; start again after a while."""
    time.sleep(_WARM_S)
    held: list[Held] = []

    def now() -> None:
        held.append(progress.held())
        for program in kill.programs:
            program.kill()

    wire.kill_with_a_batch_in_flight(now, within_s=_STALLED_S)
    killed = time.monotonic()
    time.sleep(down_s)
    for program in kill.programs:
        program.start()
    return held[0], time.monotonic() - killed


def _wait_until_whole(jaeger: Jaeger, sent: Mapping[str, Sequence[str]]) -> None:
    """Wait until every trace is there, or nothing more has come for a while."""
    waited_for, changed = set(sent), time.monotonic()
    while waited_for and time.monotonic() < changed + _STALLED_S:
        there = {one for one in waited_for if _count(jaeger, one) >= len(sent[one])}
        if there:
            waited_for, changed = waited_for - there, time.monotonic()
        time.sleep(0.5)


def _count(jaeger: Jaeger, trace_id: str) -> int:
    try:
        return len(spans_in(jaeger, trace_id))
    except OSError:  # Cassandra is not back yet
        return 0


def _print_table(
    rows: Sequence[Row], outcome: Outcome, took_s: float, options: argparse.Namespace
) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    gateways = ", ".join(f"{name} {n}" for name, n in sorted(outcome.by_gateway.items()))
    print(f"\n{today}, {os.cpu_count()} cores, {took_s:.0f} s; {options.runs_per_s} runs/s\n")
    print("| killed | on their way then: in agents, gateways, Kafka | down | sent | whole after |")
    print("|---|--:|--:|--:|--:|")
    for row in rows:
        print(
            f"| {row.what} | {row.held} | {row.down_s:.0f} s | {row.spans} |"
            f" {row.caught_up_s:.0f} s |"
        )
    print("\n| traces | spans | lost | doubled | strange | torn | traces by gateway |")
    print("|--:|--:|--:|--:|--:|--:|---|")
    print(
        f"| {outcome.traces} | {outcome.spans} | {outcome.lost} | {outcome.doubled} |"
        f" {outcome.strange} | {outcome.torn} | {gateways} |"
    )


def _binaries() -> Binaries:
    found = [find_backend(name) for name in ("otelcol", "jaeger", "prometheus")]
    return Binaries(*(path for path in found if path is not None))


def _finish(demo: subprocess.Popen[bytes]) -> None:
    if demo.wait(600) != 0:
        raise SystemExit(f"scale: a demo ended with {demo.returncode}")


def _say(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

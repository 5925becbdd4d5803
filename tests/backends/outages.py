"""Kill each part for a while under load, with a batch in flight, and count what is there after.

python -m tests.backends.outages --seconds 60       what `make soak` runs
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from otel_orchestrator.model import Run
from otel_orchestrator.sources.runfiles import list_runs, read_run

from .processes import Program, find_backend
from .reading import spans_in
from .stack import Binaries, Stack, query, stack, start_app, until
from .wire import wire_to

SERVICE = "outages.test"
NODES = "orchestrator_node_duration_seconds_count"
_FLUSH_S = 7.0  # a scrape, and a flush of the Collector in this stack
_BEFORE_S = 4.0
_HOLE_S = 16.0  # three scrapes, on a machine that is busy

_MAY_SAY = ("takes telemetry again", "usually port 4317, http/protobuf 4318)")

# A program that goes on until it is told to end: four runs a second, 23 spans each.
LOAD = """
import sys, threading, time
import otel_orchestrator as otel
otel.configure(sys.argv[1], keep_runs=100_000)
ending = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ending.set()), daemon=True).start()
while not ending.is_set():
    with otel.run("load"), otel.loop():
        otel.observe_tasks([{"id": "a", "status": "active"}])
        for _ in range(10):
            with otel.task("worker", "a"), otel.node("worker"):
                pass
    time.sleep(0.25)
otel.shutdown(60)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial.

    Attributes:
        part: what was killed.
        was_in_flight: whether a batch was on its way to it.
        down_s: for how long it was down.
        runs, spans: what the program wrote to its run files.
        lost: spans that Jaeger does not have.
        raw_duplicates: rows of Jaeger beyond one for a span id; at-least-once delivery allows them.
        strange: spans that Jaeger has and the program has not.
        nodes: nodes that the program ran.
        counted: nodes that Prometheus has counted, resets included.
        may_miss: nodes that ended so shortly before the Collector was killed that their count need
            not have been read.
        hole_s: the longest time without a sample in Prometheus, the outage itself taken out.
    """

    part: str
    was_in_flight: bool
    down_s: float
    runs: int
    spans: int
    lost: int
    raw_duplicates: int
    strange: int
    nodes: int
    counted: float
    may_miss: int
    hole_s: float

    @property
    def is_right(self) -> bool:
        """Whether nothing is missing that should be there."""
        spans_are = (self.lost, self.strange) == (0, 0)
        has_no_hole = self.hole_s <= _HOLE_S
        return self.was_in_flight and spans_are and self.is_counted_right and has_no_hole

    @property
    def is_counted_right(self) -> bool:
        """Whether Prometheus counted every node once, give or take what a kill may cost."""
        return self.nodes - self.may_miss <= self.counted <= self.nodes


def trial(binaries: Binaries, folder: Path, part: str, down_s: float) -> Outcome:
    """Kill `part` (jaeger, collector or prometheus) for a while under load."""
    with ExitStack() as until_the_end:
        wires = {}

        def through_a_wire(name: str) -> Callable[[str], str]:
            def lay(endpoint: str) -> str:
                wires[name] = until_the_end.enter_context(wire_to(endpoint))
                return endpoint.replace(f":{wires[name].to_port}", f":{wires[name].port}")

            return lay

        up = until_the_end.enter_context(
            stack(
                binaries,
                folder,
                to_jaeger=through_a_wire("jaeger"),
                to_prometheus=through_a_wire("prometheus"),
            )
        )
        endpoint = through_a_wire("collector")(up.collector.grpc_endpoint)
        app = start_app(
            LOAD,
            SERVICE,
            endpoint=endpoint,
            folder=folder / "runs",
            OTEL_METRIC_EXPORT_INTERVAL="1000",
        )
        time.sleep(_BEFORE_S)
        program = _program(up, part)
        wires[part].kill_with_a_batch_in_flight(program.kill)
        killed_ns = time.time_ns()
        time.sleep(down_s)
        program.start()
        outage = range(killed_ns, time.time_ns())
        time.sleep(_BEFORE_S)
        assert app.stdin is not None
        app.stdin.write("\n")
        app.stdin.flush()
        _, said = app.communicate(timeout=90)
        assert app.returncode == 0, said
        assert all(line.endswith(_MAY_SAY) for line in said.splitlines()), said
        runs = [read_run(file) for file in list_runs(folder / "runs") if file.is_of_a_run]
        return _counted(up, part, wires[part].killed_in_flight == 1, down_s, outage, runs)


def _program(up: Stack, part: str) -> Program:
    return {
        "jaeger": up.jaeger_program,
        "collector": up.collector_program,
        "prometheus": up.prometheus_program,
    }[part]


def _counted(
    up: Stack, part: str, was_in_flight: bool, down_s: float, outage: range, runs: Sequence[Run]
) -> Outcome:
    nodes = [s.end_ns or 0 for run in runs for s in run.spans if s.operation == "node"]
    missable = range(outage.start - int(_FLUSH_S * 1e9), outage.start + 1)
    may_miss = sum(1 for end in nodes if end in missable) if part == "collector" else 0
    until(lambda: _increase(up), lambda seen: seen >= len(nodes) - may_miss, within_s=60)
    time.sleep(_FLUSH_S)  # for what may yet come, and what must not
    lost = strange = duplicates = 0
    for run in runs:
        wanted = {span.span_id for span in run.spans}

        def ids(trace_id: str = run.spans[0].trace_id) -> list[str]:
            return [shown.span.span_id for shown in spans_in(up.jaeger, trace_id)]

        try:
            found = until(ids, lambda seen, w=wanted: w <= set(seen), within_s=60)  # type: ignore[misc]
        except AssertionError:
            found = ids()
        one = held_against(wanted, found)
        lost, duplicates, strange = lost + one[0], duplicates + one[1], strange + one[2]
    return Outcome(
        part=part,
        was_in_flight=was_in_flight,
        down_s=down_s,
        runs=len(runs),
        spans=sum(len(run.spans) for run in runs),
        lost=lost,
        raw_duplicates=duplicates,
        strange=strange,
        nodes=len(nodes),
        counted=_increase(up),
        may_miss=may_miss,
        hole_s=longest_hole_s(_samples_at(up), outage),
    )


def longest_hole_s(samples_ns: Sequence[int], outage: range) -> float:
    """Return the longest time between two samples, without what of it is in the outage."""
    holes = (
        after - before - max(0, min(after, outage.stop) - max(before, outage.start))
        for before, after in pairwise(sorted(samples_ns))
    )
    return max(holes, default=0) / 1e9


def _samples_at(up: Stack) -> list[int]:
    found = query(up.prometheus, f'{NODES}{{service_name="{SERVICE}"}}[1h]')
    return [int(float(at) * 1e9) for series in found for at, _ in series["values"]]


def held_against(wanted: Set[str], found: Sequence[str]) -> tuple[int, int, int]:
    """Return how many ids are missing, how many are there again, and how many nobody sent."""
    there = set(found)
    return len(wanted - there), len(found) - len(there), len(there - wanted)


def _increase(up: Stack) -> float:
    """What a counter went up by from its first sample on, from zero, whatever resets there were."""
    total = 0.0
    for series in query(up.prometheus, f'{NODES}{{service_name="{SERVICE}"}}[1h]'):
        before = 0.0
        for _, value in series["values"]:
            now = float(value)
            total += now - before if now >= before else now
            before = now
    return total


def main() -> None:
    """Try each part; print a line for each; exit code 1 if something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60, help="how long each part is down")
    options = parser.parse_args()
    found = [find_backend(name) for name in ("otelcol", "jaeger", "prometheus")]
    if None in found:
        sys.exit("the real Collector, Jaeger and Prometheus are missing. Type: make backends")
    binaries = Binaries(*(path for path in found if path is not None))
    print(f"{datetime.now(UTC):%Y-%m-%d}: each part killed for {options.seconds:.0f} s, under load")
    print()
    print(
        "| killed | in flight | runs | spans | lost | rows twice | nodes | counted | may miss"
        " | longest hole |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    is_right = True
    for part in ("jaeger", "collector", "prometheus"):
        with tempfile.TemporaryDirectory(prefix="otel-orchestrator-outage-") as folder:
            o = trial(binaries, Path(folder), part, options.seconds)
        is_right &= o.is_right
        in_flight = "yes" if o.was_in_flight else "no"
        print(
            f"| {o.part} | {in_flight} | {o.runs} | {o.spans} | {o.lost} | {o.raw_duplicates}"
            f" | {o.nodes} | {o.counted:.0f} | {o.may_miss} | {o.hole_s:.1f} s |",
            flush=True,
        )
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()

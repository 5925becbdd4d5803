"""What tracing costs a whole process: nodes by what is sent, spans per second, and the exit.

    python benchmarks/cost.py [--turns N] [--only nodes rates exits]

*nodes*: a graph of 50 nodes that do nothing, each way in a process of its own, which take turns.
Microseconds of CPU for each node: of the program's thread, and of the whole process with the
threads that write and send. *rates*: the share of one core, and memory, at so many spans a second.
*exits*: from the end of the program's main to the end of its process.

By hand means the SDK's spans, with the same names and attributes, in the same number, sent by the
SDK's own batch processor and OTLP exporter. Medians, with quartiles in brackets.
Added time by state size, and for tokens, HTTP requests and git: `overhead.py`, `llm.py` and
`git_overhead.py`, which `make bench-cost` runs before this.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from overhead import NODES
from turns import (
    BASE,
    HERE,
    Way,
    added,
    endpoints,
    measure,
    otlp,
    plain_environment,
    spread,
    table,
)

_KINDS: Final = (("chain", "sync"), ("fan-out", "async"))
_RATES: Final = (1, 100, 10_000)


def _ways(at: Mapping[str, str]) -> dict[str, Way]:
    return {
        BASE: Way("untraced"),
        "by hand, sent": Way("by hand", otlp(at["alive"])),
        "ours, run file only": Way("ours"),
        "ours, sent": Way("ours", otlp(at["alive"])),
        "ours, endpoint refuses": Way("ours", otlp(at["refuses"])),
        "ours, endpoint never answers": Way("ours", otlp(at["silent"])),
        "by hand, always_off": Way("by hand", _sampler("always_off")),
        "ours, always_off": Way("ours", _sampler("always_off")),
        "ours, parentbased_always_off": Way("ours", _sampler("parentbased_always_off")),
        "ours, OTEL_SDK_DISABLED": Way("ours", {"OTEL_SDK_DISABLED": "true"}),
    }


def _sampler(name: str) -> dict[str, str]:
    return {"OTEL_TRACES_SAMPLER": name}


def nodes(at: Mapping[str, str], turns: int) -> None:
    """Print what each node costs."""
    print(f"\nMicroseconds added to each of {NODES} nodes, median of {turns} turns.")
    for shape, mode in _KINDS:
        taken = measure(_ways(at), ["graph", shape, mode, "1"], turns)

        def rows(
            taken: Mapping[str, Sequence[Mapping[str, float]]] = taken,
        ) -> Iterator[Sequence[str]]:
            by_hand = median(added(taken, "by hand, sent", "process"))
            for name in taken:
                whole = added(taken, name, "process")
                if name == BASE:
                    base = [median(t[what] for t in taken[BASE]) for what in ("thread", "process")]
                    yield name, *(f"{value / NODES:.0f}" for value in base), "", ""
                    continue
                cells = [spread([v / NODES for v in added(taken, name, w)])
                         for w in ("thread", "process", "wall")]  # fmt: skip
                yield name, *map(str, cells), f"{median(whole) / by_hand:.2f}"

        table((f"{shape} {mode}", "thread", "process", "wall", "process ÷ by hand, sent"), rows())


def rates(at: Mapping[str, str], turns: int) -> None:
    """Print what a number of spans per second costs."""
    ways = {name: way for name, way in _ways(at).items() if "off" not in name}
    ways = {name: way for name, way in ways.items() if "DISABLED" not in name}
    seconds, repeats = 5, max(2, turns // 8)

    def rows() -> Iterator[Sequence[str]]:
        for rate in _RATES:
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
            for _ in range(repeats):
                for name, way in ways.items():
                    work = ["rate", str(rate), str(seconds)]
                    taken[name].append(json.loads(_run(way, work).splitlines()[-1]))
            for name, all_of in taken.items():
                cpu = sorted(100 * t["cpu"] for t in all_of)
                yield (
                    f"{rate} a second: {name}",
                    f"{median(cpu):.2f} % ({cpu[0]:.2f} … {cpu[-1]:.2f})",
                    f"{median(t['grown_mb'] for t in all_of):.1f}",
                    f"{median(t['peak_mb'] for t in all_of):.0f}",
                    f"{median(t['spans'] for t in all_of):.0f}",
                )

    print(f"\nShare of one core, and MB, over {seconds} s; median of {repeats}.")
    table(("", "CPU", "grown by, MB", "peak, MB", "spans/s made"), rows())


def exits(at: Mapping[str, str], turns: int) -> None:
    """Print how long processes take to end."""
    ways = {**_ways(at), "by hand, endpoint refuses": Way("by hand", otlp(at["refuses"]))}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    repeats = max(3, turns // 5)
    for _ in range(repeats):
        for name, way in ways.items():
            said = json.loads(_run(way, ["exit"]).splitlines()[-1])
            taken[name].append(1e3 * (time.monotonic() - said["ended"]))
    print(f"\nMilliseconds from main's end to the process's, after 500 nodes; of {repeats}.")
    rows = ((n, f"{median(t):.0f} ({min(t):.0f} … {max(t):.0f})") for n, t in taken.items())
    table(("", "exit, ms (least … most)"), rows)


def _run(way: Way, work: Sequence[str]) -> str:
    environment = {**plain_environment(), **way.environment}
    program = [sys.executable, str(HERE / "worker.py"), way.setup, *work]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


PARTS: Final[dict[str, Callable[[Mapping[str, str], int], None]]] = {
    "nodes": nodes,
    "rates": rates,
    "exits": exits,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    with endpoints() as at:
        for name in options.only:
            PARTS[name](at, options.turns)


if __name__ == "__main__":
    main()

"""Kill a program at random moments, again and again, and count what is left of it.

    python -m tests.kills.trials --kills 200

Each trial: a real LangGraph program writes run files and sends them to an endpoint that behaves as
`ENDPOINTS` says; it is killed by SIGKILL at a random instant, or at the very moment when something
was written, came in, or was answered. Then the endpoint takes everything, and `ship`, or the next
program, sends what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from otel_orchestrator.delivery.ledger import owed_to

from ..delivery.receiver import GARBAGE, HANG_UP, Receiver, receiving
from .checking import complaints, decoded, stored_in, truth_in

MOMENTS: Final = ("random", "written", "received", "answered")
_TAKES: Final = 200
_LOSES: Final = 202


class Endpoint:
    """An endpoint whose behaviour can be changed, and that tells what it does."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.behave: Callable[[list[Sent]], int] = takes
        self.received = threading.Event()
        self.answered = threading.Event()
        self.in_flight = 0
        self.lost: list[Sent] = []
        self._lock = threading.Lock()
        receiver.answer = self._answer
        receiver.answered = self._was_answered

    def _answer(self, spans: list[Sent]) -> int:
        with self._lock:
            self.in_flight += 1
        self.received.set()
        status = self.behave(spans)
        if status in (HANG_UP, GARBAGE) and random.random() < 0.5:
            self.receiver.taken.extend(spans)  # it has them; only its answer is lost
        if status == _LOSES:
            self.lost.extend(spans)
        return status

    def _was_answered(self, spans: list[Sent]) -> None:
        with self._lock:
            self.in_flight -= 1
        self.answered.set()


def takes(spans: list[Sent]) -> int:
    return _TAKES


def slow(spans: list[Sent]) -> int:
    time.sleep(random.uniform(0.05, 0.8))
    return _TAKES


def refuses(spans: list[Sent]) -> int:
    return random.choice((503, 429))


def silent(spans: list[Sent]) -> int:
    """Half-open: the connection stands, and no answer comes while anybody waits for one."""
    time.sleep(3)
    return HANG_UP


def hangs_up(spans: list[Sent]) -> int:
    return HANG_UP


def garbage(spans: list[Sent]) -> int:
    return GARBAGE


def loses(spans: list[Sent]) -> int:
    """It says that it has taken them, and has not."""
    return _LOSES


def all_of_these(spans: list[Sent]) -> int:
    return random.choice((takes, takes, takes, slow, refuses, hangs_up, garbage))(spans)


ENDPOINTS: Final = {
    "takes": takes,
    "slow": slow,
    "refuses": refuses,
    "half-open": silent,
    "hangs up": hangs_up,
    "garbage": garbage,
    "loses": loses,
    "all of these": all_of_these,
}


@dataclass
class Programs:
    """Starts programs that are to be killed."""

    _parent: subprocess.Popen[str]

    def start(self, folder: Path, truth: Path, to: Receiver, runs: int | None = None) -> int:
        """Start one; its pid."""
        order = {
            "folder": str(folder),
            "truth": str(truth),
            "environment": to.environment,
            "runs": runs,
        }
        return self._ask(order)

    def wait_for(self, pid: int) -> int:
        """Wait until one is gone; its status."""
        return self._ask({"wait_for": pid})

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())


@contextmanager
def programs() -> Iterator[Programs]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    command = [sys.executable, "-m", "tests.kills.program"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean,
        cwd=Path(__file__).resolve().parents[2],
    ) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
        yield Programs(parent)
        parent.terminate()


@dataclass
class Counts:
    """What became of the spans of some trials."""

    kills: int = 0
    in_flight: int = 0
    started: int = 0
    stored: int = 0
    interrupted: int = 0
    sent_twice: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """How a program is to be killed.

    Attributes:
        endpoint: how the endpoint behaves until then.
        moment: what has to happen just before.
        after_s: the soonest that it may be killed.
        by_next: the next program sends what is left, else `ship`.
    """

    endpoint: str
    moment: str
    after_s: float
    by_next: bool


def chosen(count: int, seed: int) -> Iterator[Trial]:
    """Every endpoint with every moment in turn, at random instants."""
    dice = random.Random(seed)
    cases = [(endpoint, moment) for endpoint in ENDPOINTS for moment in MOMENTS]
    dice.shuffle(cases)
    for i in range(count):
        endpoint, moment = cases[i % len(cases)]
        yield Trial(endpoint, moment, dice.uniform(0.2, 1.8), dice.random() < 0.25)


def tried(
    trial: Trial, running: Programs, folder: Path, ship: Callable[[Path, Receiver], None]
) -> Counts:
    """Carry out one trial in an empty folder."""
    runs, truth = folder / "runs", folder / "truth"
    counts = Counts(kills=1)
    with receiving(Receiver()) as receiver:
        endpoint = Endpoint(receiver)
        endpoint.behave = ENDPOINTS[trial.endpoint]
        pid = running.start(runs, truth, receiver)
        _wait_for_the_moment(trial, endpoint, runs, truth)
        counts.in_flight = int(endpoint.in_flight > 0)
        killed_ns = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        running.wait_for(pid)
        endpoint.behave = takes
        if trial.by_next and running.wait_for(running.start(runs, truth, receiver, runs=1)) != 0:
            counts.broken.append("the next program failed")
        if _size(runs):  # else it was killed before it wrote anything
            ship(runs, receiver)
            counts.broken += [f"{p.name} is left" for p in runs.glob("*.alive")]
        known = truth_in(truth)
        stored = stored_in(runs)
        # Who is lied to believes it: those are in the run file, and come with `ship --again`.
        received = decoded([*receiver.taken, *endpoint.lost])
        counts.broken += complaints(known, [killed_ns], stored, received)
        counts.broken += [f"{p.name} is owed" for p in runs.glob("*.jsonl") if owed_to(p)]
    counts.started = len(known.started)
    counts.stored = len(stored)
    counts.interrupted = sum(s.never_ended for s in stored)
    counts.sent_twice = sum(n - 1 for n in Counter(s.span_id for s in receiver.taken).values())
    return counts


def _wait_for_the_moment(trial: Trial, endpoint: Endpoint, runs: Path, truth: Path) -> None:
    until = time.monotonic() + 20
    while not (truth.exists() and truth.stat().st_size):  # it has begun
        assert time.monotonic() < until, "the program did not start"
        time.sleep(0.005)
    time.sleep(trial.after_s)
    endpoint.received.clear()
    endpoint.answered.clear()
    size = _size(runs)
    if trial.moment == "written":
        deadline = time.monotonic() + 2
        while _size(runs) == size and time.monotonic() < deadline:
            time.sleep(0.0005)
    elif trial.moment in ("received", "answered"):
        getattr(endpoint, trial.moment).wait(2)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


def ship_by_command(folder: Path, to: Receiver) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "ship", "--dir", str(folder)],
        env={**os.environ, **to.environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def table(by_case: dict[str, Counts]) -> str:
    """The counts of all cases, and their sums, as a table."""
    columns = ("kills", "in_flight", "started", "stored", "interrupted", "sent_twice")
    rows = [("endpoint", *(c.replace("_", " ") for c in columns), "broken")]
    for name, counts in by_case.items():
        rows.append((name, *(str(getattr(counts, c)) for c in columns), str(len(counts.broken))))
    sums = (str(sum(getattr(c, column) for c in by_case.values())) for column in columns)
    rows.append(("all", *sums, str(sum(len(c.broken) for c in by_case.values()))))
    return "\n".join(row[0].ljust(14) + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows)


def try_all(
    count: int, seed: int, ship: Callable[[Path, Receiver], None], folder: Path
) -> dict[str, Counts]:
    """Carry out so many trials; the counts by how the endpoint behaved."""
    by_case: dict[str, Counts] = {}
    with programs() as running:
        for i, trial in enumerate(chosen(count, seed)):
            own = folder / str(i)
            own.mkdir()
            try:
                counts = tried(trial, running, own, ship)
            except Exception as error:  # a trial that fails must not hide the others' counts
                counts = Counts(kills=1, broken=[f"{type(error).__name__}: {error}"])
            sums = by_case.setdefault(trial.endpoint, Counts())
            for name in ("kills", "in_flight", "started", "stored", "interrupted", "sent_twice"):
                setattr(sums, name, getattr(sums, name) + getattr(counts, name))
            sums.broken += [f"{trial}: {broken}" for broken in counts.broken]
    return by_case


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    asked = parser.parse_args()
    print(f"{asked.kills} kills, seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        by_case = try_all(asked.kills, asked.seed, ship_by_command, Path(folder))
    print(table(by_case))
    broken = [broken for counts in by_case.values() for broken in counts.broken]
    print("\n".join(broken[:50]))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

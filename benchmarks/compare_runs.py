"""Runs for `compare.py`: simulated ones with noise of several kinds, and very large ones."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from copies import write_copies

from otel_orchestrator.analysis.comparing.digest import Digest, digest_of
from otel_orchestrator.model import Run, Span
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run

NOISES: Final = ("steady", "shocks", "bimodal", "counts")
"""`steady`: mean calls differ by 6 % from run to run. `shocks`: now and then a whole run is twice
as slow. `bimodal`: calls are quick or slow, and how many are slow depends on the run. `counts`: the
number of calls, too, changes from run to run."""

_MS: Final = 1_000_000
_WANTED_SPANS: Final = 10_000
_RUNS: Final = 100


def simulated(random: Random, noise: str, llm: float = 1.0) -> Digest:
    """Simulate a run of two workers side by side, whose LLM calls take that many times as long."""
    # With what 12 calls that differ by 10 % add to it, the mean call differs by 6 %.
    pace = random.lognormvariate(0, 0.0526)
    slow_share = 0.0
    calls = 6
    if noise == "shocks":
        pace *= 2 if random.random() < 0.2 else random.lognormvariate(0, 0.1)
    if noise == "bimodal":
        slow_share = random.betavariate(1, 3)
    if noise == "counts":
        calls = random.choice((3, 4, 6, 9, 14))
    spans: list[Span] = []

    def add(name: str, start: int, end: int, parent: Span | None, **said: Any) -> Span:
        attributes = {f"orchestrator.{key}": value for key, value in said.items()}
        span = Span("t", f"{len(spans):x}", parent.span_id if parent else None, name, 1, start, end,
                    attributes=attributes)  # fmt: skip
        spans.append(span)
        return span

    def call_ns() -> int:
        mode = 5 if random.random() < slow_share else 1
        return round(100 * _MS * pace * llm * mode * random.lognormvariate(0, 0.1))

    workers = [[call_ns() for _ in range(calls)] for _ in range(2)]
    git = round(20 * _MS * random.lognormvariate(0, 0.2))
    ends = [sum(lengths) + git for lengths in workers]
    barrier = max(ends)
    root = add("invoke_workflow w", 0, barrier, None, state="container")
    step = add("superstep", 0, barrier, root, state="container")
    for lengths, end in zip(workers, ends, strict=True):
        task = add("task worker", 0, barrier, step, state="container")
        node = add("node worker", 0, end, task, state="working", category="compute")
        at = git
        add("git commit", 0, git, node, state="working", category="git")
        for length in lengths:
            add("chat m", at, at + length, node, state="working", category="llm")
            at += length
        if end < barrier:
            add("wait barrier", end, barrier, task, state="waiting", category="barrier")
    return digest_of(Run("run", tuple(spans), resource={Attr.SERVICE_NAME: "simulated"}))


@dataclass(frozen=True, slots=True)
class Taken:
    """What a comparison took; `processor` is seconds, of all processes together."""

    seconds: float
    processor: float
    gigabytes: float


class BigRuns:
    """Runs of 10 000 spans, each made of many copies of a real one, one after the other."""

    def __init__(self, folder: Path, demo: Path) -> None:
        self._folder = folder
        for group in ("base", "candidate"):
            (folder / group).mkdir()
        written = folder / "written"
        self.spans = write_copies(find_run(None, demo).path, _WANTED_SPANS, written)
        content = written.read_bytes()
        trace_id = content.partition(b'"traceId":"')[2][:32]
        for number in range(_RUNS):
            group = "base" if number % 2 else "candidate"
            # Else they would be one run, which counts once.
            its_own = content.replace(trace_id, b"%032x" % (number + 1))
            (folder / group / f"{number}.jsonl").write_bytes(its_own)

    def compare(self) -> Taken:
        """Compare half of them with the other half by the command."""
        began, used = time.monotonic(), _processor_s()
        words = ["compare", str(self._folder / "base"), "--with", str(self._folder / "candidate")]
        program = [sys.executable, "-m", "otel_orchestrator.cli", *words]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode != 0:
            sys.exit(f"exit code {done.returncode}\n{done.stderr}")
        # The largest process that ended, for each of the command's own and its helpers.
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        processor = _processor_s() - used
        return Taken(seconds, processor, largest * 1024 * (1 + (os.cpu_count() or 1)) / 1e9)


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""24 hours of a busy orchestrator, in some minutes: is memory flat?

    python benchmarks/memory.py [--runs N] [--bound N]

Runs of a graph with thread ids that are always new, one after the other: most end well; others
raise, are cancelled, are interrupted for a person who never comes, or are abandoned by their
reader; two graphs share a run. Spans and metrics go to run files and to an endpoint that is dead.
After two fifths of them, when all that is bounded has come to its bound, Python's own objects, what
tracemalloc counts and the process's memory are noted, and at the end again. Exits with 1 if they
have grown. `--bound` makes the bounds smaller, for a short trial.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
import tempfile
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

DEAD: Final = "http://127.0.0.1:9"
GROWTH_AT_MOST_BYTES: Final = 6 * 2**20
"""Bounded caches of texts fill up, two of 4 096 in `redaction`: over 20 000 runs 300 B for each."""

_SETTLED_WITHIN_S: Final = 60.0
_POINTS_AT_MOST: Final = 100


class State(TypedDict, total=False):
    """A state with tasks of the application, and what the worker is to do."""

    tasks: list[dict[str, Any]]
    way: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the process is.

    Attributes:
        objects: Python objects that the garbage collector knows, by kind.
        traced: bytes that Python has allocated.
        resident: bytes that the system has given to the process.
    """

    objects: Counter[str]
    traced: int
    resident: int


def sizes() -> Sizes:
    """Measure the process, after everything that can be freed is."""
    for _ in range(3):
        gc.collect()
    kinds = Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sizes(kinds, tracemalloc.get_traced_memory()[0], pages * os.sysconf("SC_PAGE_SIZE"))


def graph(*, is_async: bool, name: str) -> Any:
    """Director → two Workers (Send), which end in the way that the state says."""

    def act(state: State) -> dict[str, Any]:
        if state["way"] == "raises":
            raise ValueError
        if state["way"] == "is interrupted":
            interrupt("?")
        return {}

    async def act_async(state: State) -> dict[str, Any]:
        await asyncio.sleep(60 if state["way"] == "is cancelled" else 0)
        return act(state)

    def route(state: State) -> list[Send]:
        return [Send("worker", {"task": t, "way": state["way"]}) for t in state["tasks"]]

    builder = StateGraph(State)
    builder.add_node("director", lambda state: {})
    builder.add_node("worker", act_async if is_async else act)
    builder.add_edge(START, "director")
    builder.add_conditional_edges("director", route, ["worker"])
    builder.add_edge("worker", END)
    return builder.compile(name=name, checkpointer=InMemorySaver())


class Orchestrator:
    """Runs graphs, each time on another thread and in another way."""

    WAYS: Final = (
        "returns",
        "raises",
        "is interrupted",
        "is abandoned",
        "is cancelled",
        "shares a run",
    )

    def __init__(self) -> None:
        self._sync = graph(is_async=False, name="sync")
        self._async = graph(is_async=True, name="async")

    async def run(self, number: int) -> None:
        """Run once."""
        import otel_orchestrator as otel

        way = self.WAYS[number % len(self.WAYS)]
        todo = [{"id": f"{number}-{i}", "status": "planned", "depends_on": []} for i in "ab"]
        given = {"tasks": todo, "way": way}
        config: Any = {"configurable": {"thread_id": f"thread-{number}"}}
        with suppress(ValueError):
            if way == "is cancelled":
                task = asyncio.create_task(self._async.ainvoke(given, config))
                await asyncio.sleep(0.005)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            elif way == "is abandoned":
                reader = self._sync.stream(given, config)
                next(reader)
                reader.close()
            elif way == "shares a run":
                with otel.run("both"):
                    self._sync.invoke(given, config)
                    await self._async.ainvoke(given, config)
            else:
                self._sync.invoke(given, config)
        for checkpointer in (self._sync.checkpointer, self._async.checkpointer):
            checkpointer.delete_thread(f"thread-{number}")


async def measured(runs: int, say: Callable[[str], None]) -> tuple[Sizes, Sizes]:
    """Run so many times; return the sizes after two fifths, and at the end."""
    orchestrator = Orchestrator()
    warm: Sizes | None = None
    began = time.monotonic()
    for number in range(runs):
        if number == runs * 2 // 5:
            warm = await settled(lambda size: points_in(size) <= _POINTS_AT_MOST)
        if number % max(1, runs // 20) == 0:
            say(f"{number:7} runs, {time.monotonic() - began:5.0f} s")
        await orchestrator.run(number)
    assert warm is not None
    before = warm
    # What is on its way comes and goes; what leaks is there every time.
    end = await settled(lambda size: not grown(before, size, at_least=leak_of(runs)))
    return before, end


async def settled(is_right: Callable[[Sizes], bool]) -> Sizes:
    """Measure once all is written, and again until that is right, but not for ever."""
    from otel_orchestrator import sdk

    until = time.monotonic() + _SETTLED_WITHIN_S
    while True:
        await asyncio.sleep(0.15)
        for processor in sdk._configured.local if sdk._configured else ():
            processor.force_flush(1_000)
        size = sizes()
        if is_right(size) or time.monotonic() > until:
            return size


def points_in(size: Sizes) -> int:
    """Return how many points of metrics are on their way."""
    return sum(n for kind, n in size.objects.items() if kind.endswith(".NumberDataPoint"))


def leak_of(runs: int) -> int:
    """Return from how many more objects of a kind on it is a leak."""
    return max(50, runs // 100)


def set_up(folder: Path, bound: int | None) -> None:
    """Switch everything on."""
    import otel_orchestrator as otel
    from otel_orchestrator import interruptions
    from otel_orchestrator.delivery import sender
    from otel_orchestrator.queue import gauges, tasks

    if bound is not None:
        for module, name in (
            (interruptions, "_KEPT_AT_MOST"),
            (gauges, "_TOLD_APART_AT_MOST"),
            (sender, "_HELD_AT_MOST"),
        ):
            setattr(module, name, bound)
        tasks._closed = deque(maxlen=bound)

    os.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": DEAD,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    logging.disable(logging.WARNING)
    otel.configure("memory", label="soak", run_dir=folder, keep_runs=50)
    otel.instrument()


def grown(before: Sizes, after: Sizes, at_least: int) -> dict[str, int]:
    """Return the kinds of objects of which there are so many more."""
    more = after.objects - before.objects
    return {kind: count for kind, count in more.most_common() if count >= at_least}


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--bound", type=int, help="of what is kept of runs that are over")
    arguments = parser.parse_args()
    import otel_orchestrator as otel

    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        set_up(Path(folder), arguments.bound)
        tracemalloc.start()
        warm, end = asyncio.run(measured(arguments.runs, lambda line: print(line, flush=True)))
        otel.shutdown()
    print(f"{'':24}{'warm':>12}{'end':>12}")
    for what, before, after in (
        ("Python objects", warm.objects.total(), end.objects.total()),
        ("allocated, KiB", warm.traced // 1024, end.traced // 1024),
        ("resident, KiB", warm.resident // 1024, end.resident // 1024),
    ):
        print(f"{what:24}{before:12}{after:12}")
    leaking = grown(warm, end, at_least=leak_of(arguments.runs))
    for kind, count in leaking.items():
        print(f"  {count} more of {kind}")
    is_flat = not leaking and end.traced - warm.traced < GROWTH_AT_MOST_BYTES
    print("flat" if is_flat else "NOT FLAT")
    return 0 if is_flat else 1


if __name__ == "__main__":
    sys.exit(main())

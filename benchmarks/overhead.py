"""What tracing a graph costs: added time per node, against no tracing and hand-placed SDK spans.

    python benchmarks/overhead.py [--repeats N] [--sizes 1 100 1000]

The same graph runs in several ways in turn, in one process, and of many repeats the one with the
least processor time counts: other programs on the machine disturb that least. Two ways are by hand,
as a careful user would write them with the SDK and without this package, in the node functions and
around the run:

    node         one span for each node, and no more
    same spans   the spans that we make, with the same attributes: loop, superstep, task, node, wait

The second is what to compare us with, although nobody could write it: supersteps, tasks and waits
cannot be seen from a node, so their values are made up. Everything is sampled and goes to a batch
processor that exports to nowhere, except in `sampled out`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import Tracer
from opentelemetry.util.types import AttributeValue

from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.semconv import Attr

NODES: Final = 50
Values = dict[str, AttributeValue]
Placed = Callable[[], AbstractContextManager[None]]


class State(TypedDict, total=False):
    """A state with a payload of a given size."""

    payload: str


class Nowhere(SpanExporter):
    """Takes everything and does nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans."""
        return SpanExportResult.SUCCESS


# --- by hand ---

RUN: Final[Values] = {Attr.STATE: "container", Attr.RUN_ID: "20261124-000000-abcdef"}
TASK: Final[Values] = {
    **RUN,
    Attr.GRAPH_TASK_ID: "0123456789abcdef0123456789abcdef",
    Attr.TASK_ID: "7",
    Attr.TASK_NAME: "n",
}
NODE: Final[Values] = {
    **RUN,
    Attr.STATE: "working",
    Attr.CATEGORY: "compute",
    Attr.NODE_NAME: "n",
    Attr.GRAPH_TASK_ID: "0123456789abcdef0123456789abcdef",
}
WAIT: Final[Values] = {**RUN, Attr.STATE: "waiting", Attr.CATEGORY: "barrier", Attr.WAIT_ON: "n 7"}
ENDED: Final[Values] = {
    Attr.OUTCOME: "ok",
    f"{Attr.SHORT_WAIT}queue": 0.0001,
    f"{Attr.SHORT_WAIT}consumer": 0.0001,
}


@contextmanager
def just_node(tracer: Tracer) -> Iterator[None]:
    """One span for a node."""
    with tracer.start_as_current_span("node n", attributes=NODE) as node:
        yield
        node.set_attribute(Attr.OUTCOME, "ok")


@contextmanager
def superstep_and_node(tracer: Tracer) -> Iterator[None]:
    """What we make for a node that is alone in its superstep."""
    values: Values = {**RUN, Attr.SUPERSTEP_INDEX: 1}
    with tracer.start_as_current_span("superstep", attributes=values) as step:
        with tracer.start_as_current_span("node n", attributes=NODE) as node:
            yield
            node.set_attribute(Attr.OUTCOME, "ok")
        step.set_attributes(ENDED)


@contextmanager
def task_and_node(tracer: Tracer) -> Iterator[None]:
    """What we make for a `Send`, which waits for a slot, and then for the others at the barrier."""
    with tracer.start_as_current_span("task n", attributes=TASK) as task:
        by_hand_wait(tracer, "wait queue")
        with tracer.start_as_current_span("node n", attributes=NODE) as node:
            yield
            node.set_attribute(Attr.OUTCOME, "ok")
        by_hand_wait(tracer, "wait barrier")
        task.set_attributes(ENDED)


def by_hand_wait(tracer: Tracer, name: str) -> None:
    """Make one span that nothing happens in."""
    wait = tracer.start_span(name, attributes=WAIT)
    wait.set_attribute(Attr.OUTCOME, "ok")
    wait.end()


@contextmanager
def run_and_loop(tracer: Tracer) -> Iterator[None]:
    """What we make around a chain."""
    with tracer.start_as_current_span("invoke_workflow bench", attributes=RUN) as run:
        with tracer.start_as_current_span("loop", attributes={**RUN, Attr.LOOP_INDEX: 0}) as loop:
            yield
            loop.set_attribute(Attr.OUTCOME, "ok")
        run.set_attributes(ENDED)


@contextmanager
def run_loop_and_superstep(tracer: Tracer) -> Iterator[None]:
    """What we make around a fan-out."""
    values: Values = {**RUN, Attr.SUPERSTEP_INDEX: 1}
    opened = tracer.start_as_current_span("superstep", attributes=values)
    with run_and_loop(tracer), opened as step:
        yield
        step.set_attributes(ENDED)


# --- the graphs ---


def graph_of(shape: str, *, is_async: bool, around: Placed) -> Any:
    """Build a chain of nodes, or one that fans out to as many; `around` goes into each node."""

    def work(state: State) -> State:
        with around():
            return {}

    async def awork(state: State) -> State:
        with around():
            return {}

    function: Any = awork if is_async else work
    graph = StateGraph(State)
    if shape == "chain":
        before = START
        for i in range(NODES):
            graph.add_node(f"n{i}", function)
            graph.add_edge(before, f"n{i}")
            before = f"n{i}"
    else:
        graph.add_node("n", function)
        graph.add_conditional_edges(
            START, lambda state: [Send("n", {"id": str(i)}) for i in range(NODES)], ["n"]
        )
    return graph.compile(name="bench")


# --- measuring ---


@dataclass(frozen=True)
class Way:
    """A way of running a graph.

    Attributes:
        around_node: spans by hand in each node.
        around_run: spans by hand around the run.
        instrumented: whether it is traced by this package.
        sampler: which spans are recorded.
    """

    around_node: Callable[[Tracer], AbstractContextManager[None]] | None = None
    around_run: Callable[[Tracer], AbstractContextManager[None]] | None = None
    instrumented: bool = False
    sampler: Sampler = ALWAYS_ON


def ways_of(shape: str) -> dict[str, Way]:
    """Return what is compared."""
    same = (
        Way(superstep_and_node, run_and_loop)
        if shape == "chain"
        else Way(task_and_node, run_loop_and_superstep)
    )
    return {
        "untraced": Way(),
        "node": Way(just_node),
        "same": same,
        "ours": Way(instrumented=True),
        "off": Way(instrumented=True, sampler=ALWAYS_OFF),
    }


class Runner:
    """Runs one graph in one way, again and again, and times it."""

    def __init__(self, way: Way, shape: str, *, is_async: bool, processor: SpanProcessor) -> None:
        self._way = way
        self._loop = asyncio.Runner()
        self._provider = TracerProvider(sampler=way.sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("by hand")
        self._is_async = is_async
        self._graph = graph_of(shape, is_async=is_async, around=self._placed(way.around_node))
        self._around = self._placed(way.around_run)

    def time(self, state: State) -> float:
        """Run, return the processor seconds of a run after the first; nor is switching counted.

        What is found out once for each graph is no cost of a node, nor is that Python forgets what
        it knew of a class in which a function is replaced.
        """
        if self._way.instrumented:
            LangGraphInstrumentor().instrument(tracer_provider=self._provider)
        self._run(state)
        gc.collect()
        gc.disable()
        try:
            began = time.process_time()
            self._run(state)
            return time.process_time() - began
        finally:
            gc.enable()
            if self._way.instrumented:
                LangGraphInstrumentor().uninstrument()
                spans.use_provider(None)

    def close(self) -> None:
        """Stop its threads."""
        self._loop.close()
        self._provider.shutdown()

    def _run(self, state: State) -> None:
        config = {"recursion_limit": 1000}
        with self._around():
            if self._is_async:
                self._loop.run(self._graph.ainvoke(state, config))
            else:
                self._graph.invoke(state, config)

    def _placed(self, around: Callable[[Tracer], AbstractContextManager[None]] | None) -> Placed:
        if around is None:
            return nullcontext
        tracer = self._tracer
        return lambda: around(tracer)


def spans_per_node(shape: str, *, is_async: bool) -> dict[str, float]:
    """Count what each way makes, so that the table says whether like is compared with like."""
    counts = {}
    for name, way in ways_of(shape).items():
        exported = InMemorySpanExporter()
        processor = SimpleSpanProcessor(exported)
        runner = Runner(way, shape, is_async=is_async, processor=processor)
        runner.time({"payload": ""})
        runner.close()
        counts[name] = len(exported.get_finished_spans()) / NODES / 2  # it has run twice
    return counts


def best_of(shape: str, *, is_async: bool, size: int, repeats: int) -> dict[str, float]:
    """Return the fastest run of each way, in microseconds for each node."""
    state: State = {"payload": "x" * size}
    runners = {
        name: Runner(
            way,
            shape,
            is_async=is_async,
            processor=BatchSpanProcessor(Nowhere(), max_queue_size=100_000),
        )
        for name, way in ways_of(shape).items()
    }
    best = dict.fromkeys(runners, float("inf"))
    for repeat in range(repeats + 3):
        for name, runner in runners.items():
            seconds = runner.time(state)
            if repeat >= 3:  # the first ones warm up
                best[name] = min(best[name], seconds)
    for runner in runners.values():
        runner.close()
    return {name: seconds / NODES * 1e6 for name, seconds in best.items()}


def main() -> None:
    """Print a table: microseconds added to each node, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100, 1000], metavar="KB")
    options = parser.parse_args()
    print(
        "| graph | state | untraced | by hand: node | by hand: same spans | ours | ours ÷ same"
        " | sampled out | spans by hand, ours |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    for shape in ("chain", "fan-out"):
        for is_async in (False, True):
            made = spans_per_node(shape, is_async=is_async)
            for size in options.sizes:
                best = best_of(shape, is_async=is_async, size=size * 1000, repeats=options.repeats)
                base = best["untraced"]
                node, same, ours, off = (best[n] - base for n in ("node", "same", "ours", "off"))
                print(
                    f"| {shape} {'async' if is_async else 'sync'} | {size} kB | {base:.0f}"
                    f" | +{node:.0f} | +{same:.0f} | +{ours:.0f} | {ours / same:.2f} | +{off:.0f}"
                    f" | {made['same']:.1f}, {made['ours']:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

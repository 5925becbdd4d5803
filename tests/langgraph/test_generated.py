"""Generated graphs: fan-out, fan-in, cycles, Sends, subgraphs, failures, sync and async.

Whatever the graph, its results are the same traced and untraced, its tree is the same in every way
of running it, and every span has the right parent, an end, and its place in time.
"""

from __future__ import annotations

import asyncio
import itertools
import operator
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy, Send
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.lifecycle import spans as our_spans
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .driving import ainvoke, astream, invoke, stream

EXAMPLES = int(os.environ.get("OTEL_ORCHESTRATOR_EXAMPLES", "50"))


class Drawn:
    """Hypothesis prints it by `repr`; its own way takes minutes where graphs hold graphs."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True)
class Node(Drawn):
    """A node: it works, retries, fails, or is a graph of its own."""

    failures: int = 0
    retried: bool = False
    sub: Graph | None = None


@dataclass(frozen=True)
class Graph(Drawn):
    """Layers of parallel nodes, each joined to all of the next; perhaps Sends; perhaps a cycle."""

    layers: tuple[tuple[Node, ...], ...]
    sends: int
    turns: int
    mapped: bool
    deferred: bool


def graphs(depth: int) -> st.SearchStrategy[Graph]:
    plain = st.builds(Node, failures=st.sampled_from([0] * 9 + [1]), retried=st.booleans())
    node = plain
    if depth:
        node = st.one_of(plain, plain, plain, st.builds(Node, sub=graphs(depth - 1)))
    layer = st.lists(node, min_size=1, max_size=3).map(tuple)
    return st.builds(
        Graph,
        layers=st.lists(layer, min_size=1, max_size=3).map(tuple),
        sends=st.sampled_from([0, 0, 2, 3]),
        turns=st.sampled_from([1, 1, 2, 3]),
        mapped=st.booleans(),
        deferred=st.booleans(),
    )


def larger(one: int, other: int) -> int:
    return max(one, other)


class State(TypedDict, total=False):
    turn: Annotated[int, larger]
    out: Annotated[list[str], operator.add]


class World:
    """Builds a graph and counts what its nodes really do."""

    def __init__(self, spec: Graph, *, is_async: bool) -> None:
        self.ran: Counter[str] = Counter()
        self._is_async = is_async
        self._names = itertools.count()
        self._failed: Counter[str] = Counter()
        self.graph = self._build(spec, "top")

    def _build(self, spec: Graph, name: str) -> Any:
        graph = StateGraph(State)
        before: list[str] = [START]
        first: list[str] = []
        for index, layer in enumerate(spec.layers):
            names = [self._add(graph, node, spec, index) for node in layer]
            for target in names:
                if len(before) > 1:
                    graph.add_edge(before, target)
                else:
                    graph.add_edge(before[0], target)
            before = names
            first = first or names
        last = self._add_plain(graph, f"last{next(self._names)}", Node(), defer=spec.deferred)
        graph.add_edge(before, last)
        if spec.sends:
            worker = self._add_plain(graph, f"worker{next(self._names)}", Node())
            count = spec.sends
            graph.add_conditional_edges(
                first[0],
                lambda state: [Send(worker, {"turn": 0, "id": str(i)}) for i in range(count)],
                [worker] if spec.mapped else None,
            )
        if spec.turns > 1:
            head = first[0]
            turns = spec.turns
            graph.add_conditional_edges(
                last,
                lambda state: head if state.get("turn", 0) < turns else END,
                [head, END] if spec.mapped else None,
            )
        return graph.compile(name=name)

    def _add(self, graph: Any, node: Node, spec: Graph, layer: int) -> str:
        name = f"n{next(self._names)}"
        if node.sub is None:
            return self._add_plain(graph, name, node)
        graph.add_node(name, self._build(node.sub, f"sub_{name}"))
        return name

    def _add_plain(self, graph: Any, name: str, node: Node, *, defer: bool = False) -> str:
        policy = RetryPolicy(initial_interval=0.0001, jitter=False, max_attempts=2)
        options = {"retry_policy": policy} if node.retried else {}
        graph.add_node(name, self._function(name, node), defer=defer, **options)
        return name

    def _function(self, name: str, node: Node) -> Callable[..., Any]:
        def work(state: State) -> State:
            tracer = our_spans._our_tracer()
            with tracer.start_as_current_span(f"user {name}"):
                self.ran[name] += 1
                if self._failed[name] < node.failures:
                    self._failed[name] += 1
                    raise ConnectionError(name)
            grows = name.startswith("last")
            return {"turn": state.get("turn", 0) + 1 if grows else 0, "out": [name]}

        async def awork(state: State) -> State:
            await asyncio.sleep(0)
            return work(state)

        return awork if self._is_async else work


def result_of(drive: Any, spec: Graph, *, is_async: bool) -> tuple[Any, Counter[str]]:
    world = World(spec, is_async=is_async)
    try:
        state = drive(world.graph, {"out": [], "turn": 0}, {"recursion_limit": 60})
        result: Any = (sorted(state["out"]), state["turn"])
    except Exception as error:
        result = (type(error).__name__, str(error))
    return result, world.ran


@pytest.mark.timeout(600)
@settings(
    max_examples=EXAMPLES,
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(spec=graphs(2))
def test_generated_graphs(spec: Graph) -> None:
    untraced = result_of(invoke, spec, is_async=False)
    trees: dict[str, str] = {}
    for drive, is_async in ((invoke, False), (stream, False), (ainvoke, True), (astream, True)):
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        LangGraphInstrumentor().instrument(tracer_provider=provider)
        try:
            result, ran = result_of(drive, spec, is_async=is_async)
        finally:
            LangGraphInstrumentor().uninstrument()
            our_spans.use_provider(None)
        fails = untraced[0][0] == "ConnectionError"
        assert result[0] == untraced[0][0]
        if not fails:  # which of several siblings fails first is chance
            assert (result, ran) == untraced
        finished = exporter.get_finished_spans()
        check(finished, ran)
        trees[f"{drive.__name__}"] = tree(finished)
    if not fails:
        assert len(set(trees.values())) == 1, "\n\n".join(trees.values())


def check(finished: tuple[ReadableSpan, ...], ran: Counter[str]) -> None:
    by_id = {s.context.span_id: s for s in finished}
    assert len([s for s in finished if s.parent is None]) == 1
    assert all(s.parent is None or s.parent.span_id in by_id for s in finished)
    below: dict[int, list[ReadableSpan]] = {}
    for span in finished:
        if span.parent is not None:
            below.setdefault(span.parent.span_id, []).append(span)
            outer = by_id[span.parent.span_id]
            assert outer.start_time <= span.start_time, (outer.name, span.name)  # type: ignore[operator]
            # An async LangGraph does not wait until what it cancelled has cleaned up.
            if span.name[:4] != "user" and not in_cancelled(span, by_id):
                assert span.end_time <= outer.end_time, (outer.name, span.name)  # type: ignore[operator]
    nodes = [s for s in finished if s.name.removeprefix("node ") in ran]
    cancelled = [s for s in nodes if attributes_of(s).get(Attr.OUTCOME) == "cancelled"]
    # What was cancelled may not have come as far as the node's own function.
    assert names(nodes) - names(cancelled) <= ran <= names(nodes), (
        "a node span for each time a node really ran"
    )
    for span in finished:
        if span.name.startswith("user "):
            assert span.parent is not None
            assert by_id[span.parent.span_id].name == f"node {span.name.removeprefix('user ')}"
        if span.name == "superstep":
            check_superstep(below.get(span.context.span_id, []))
    for kind in ("superstep", "loop"):
        for children in below.values():
            siblings = [s for s in children if s.name == kind]
            for one, two in itertools.pairwise(sorted(siblings, key=lambda s: s.start_time or 0)):
                gap = (two.start_time or 0) - (one.end_time or 0)
                assert gap >= 1000, f"two {kind}s touch"


def in_cancelled(span: ReadableSpan, by_id: dict[int, ReadableSpan]) -> bool:
    """Say whether the span or one above it was cancelled."""
    above: ReadableSpan | None = span
    while above is not None:
        if attributes_of(above).get(Attr.OUTCOME) == "cancelled":
            return True
        above = by_id[above.parent.span_id] if above.parent else None
    return False


def names(nodes: list[ReadableSpan]) -> Counter[str]:
    return Counter(s.name.removeprefix("node ") for s in nodes)


def check_superstep(children: list[ReadableSpan]) -> None:
    """The straggler ends last, and in a microsecond of its own: Jaeger's critical path asks it."""
    tasks = [s for s in children if s.name.startswith("task ")]
    assert len(tasks) != 1 or attributes_of(tasks[0]).get(Attr.TASK_ID) is not None
    if len(tasks) < 2:
        return
    ends = sorted((s.end_time or 0) // 1000 for s in tasks)
    assert ends[-2] < ends[-1]

"""What a run came to: gauges written once, at the end of a run that has a label."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

import otel_orchestrator as otel
from otel_orchestrator import interruptions, metrics, runs, semconv
from otel_orchestrator.delivery.otlp import _DELTA
from otel_orchestrator.interruptions import Interruption
from otel_orchestrator.lifecycle import spans, waits
from otel_orchestrator.lifecycle.spans import start, start_run
from otel_orchestrator.sdk.marking import MarkingProcessor
from otel_orchestrator.sdk.run_totals import RunTotals
from otel_orchestrator.semconv import Attr, Metric

RUN_GAUGES = {v for k, v in vars(Metric).items() if k.startswith("RUN_") and v != Metric.RUN_ACTIVE}
S = 1_000_000_000


class Gauges:
    """A real provider of each kind, set up as `configure()` does it; what it would send."""

    def __init__(self, label: str | None) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=_DELTA)
        self._meters = MeterProvider(metric_readers=[self.reader])
        self._tracers = TracerProvider()
        totals = RunTotals(label)
        self._tracers.add_span_processor(totals)
        metrics.use_provider(self._meters)
        spans.use_provider(self._tracers)
        totals.register()

    def tracer(self, name: str) -> Tracer:
        """Return a tracer of another instrumentation."""
        return self._tracers.get_tracer(name)

    def points(self) -> dict[str, list[NumberDataPoint]]:
        """Collect, as an export does: every point by metric."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: [p for p in metric.data.data_points if isinstance(p, NumberDataPoint)]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def run_gauges(self) -> dict[tuple[str, str], float]:
        """Collect: the run's gauges by name and by what they are divided by."""
        return {
            (name, str(a.get(Attr.CATEGORY) or a.get(Attr.TOKEN_TYPE) or "")): point.value
            for name, points in self.points().items()
            if name in RUN_GAUGES
            for point in points
            if (a := point.attributes or {}) is not None
        }


@pytest.fixture
def gauges(request: pytest.FixtureRequest) -> Iterator[Gauges]:
    yield Gauges(getattr(request, "param", "base"))
    spans.use_provider(None)
    metrics.use_provider(None)


def _run(run_s: float = 10, outcome: semconv.Outcome = semconv.OK) -> str:
    """Record a run with instants that are made up: 3 s LLM, 1 s git, and waits."""
    run = start_run(
        "invoke_workflow shop",
        state=semconv.CONTAINER,
        attributes={Attr.WORKFLOW_NAME: "shop"},
        start_ns=S,
    )
    for task_id, waited in (("a", 0.5), ("b", 0.0)):
        task = start(
            "task worker",
            state=semconv.CONTAINER,
            parent=run.context,
            start_ns=2 * S,
            attributes={
                Attr.TASK_ID: task_id,
                Attr.TASK_WAITED_DEPENDENCY: waited,
                Attr.TASK_WAITED_HELD: 0.0,
                Attr.TASK_WAITED_CYCLE: 2 * waited,
            },
        )
        waits.record(semconv.QUEUE, 2 * S, 2 * S + 500_000, parent=task)  # short: no span
        start(
            "POST",
            state=semconv.WORKING,
            category=semconv.LLM,  # an attempt: its call counts
            parent=task.context,
            start_ns=3 * S,
            attributes={"http.request.method": "POST"},
        ).end(end_ns=4 * S)
        work = (("chat m", semconv.LLM, 1.5), ("git commit", semconv.GIT, 0.5))
        for name, category, seconds in work:
            start(
                name,
                state=semconv.WORKING,
                category=category,
                parent=task.context,
                start_ns=3 * S,
                attributes={Attr.INPUT_TOKENS: 100, Attr.OUTPUT_TOKENS: 7},
            ).end(end_ns=int((3 + seconds) * S))
        start(
            "chat m",
            state=semconv.WORKING,
            category=semconv.LLM,
            parent=task.context,
            start_ns=5 * S,
            attributes={Attr.LLM_CACHED: True},  # no call was made
        ).end(end_ns=5 * S)
        waits.record(semconv.BARRIER, 5 * S, 6 * S, parent=task)
        task.end(end_ns=6 * S)
    waits.record(semconv.HUMAN, S, 2 * S, parent=run)
    waits.record(semconv.HELD, S, 2 * S, parent=run, attributes={Attr.TASK_ID: "a"})
    run.end(outcome, end_ns=int((1 + run_s) * S))
    return runs.run_id_of(run.context) or ""


def test_a_run_tells_at_its_end_what_it_came_to(gauges: Gauges) -> None:
    _run()
    told = gauges.run_gauges()
    nothing = {what: value for what, value in told.items() if not value}
    assert {category for name, category in nothing if name == Metric.RUN_WAIT} == {
        *("held", "checkpoint", "consumer", "pool", "rate_limit", "retry_backoff")
    }
    assert {what: value for what, value in told.items() if value} == {
        (Metric.RUN_DURATION, ""): 10,
        (Metric.RUN_TASKS, ""): 2,
        (Metric.RUN_LLM_CALLS, ""): 2,
        (Metric.RUN_WORK, "llm"): 3,
        (Metric.RUN_WORK, "git"): 1,
        (Metric.RUN_WAIT, "barrier"): 2,
        (Metric.RUN_WAIT, "queue"): 0.001,
        (Metric.RUN_WAIT, "dependency"): 0.5,
        (Metric.RUN_WAIT, "cycle"): 1,
        (Metric.RUN_TOKENS, "input"): 200,
        (Metric.RUN_TOKENS, "output"): 14,
    }


def test_it_is_told_once_and_then_forgotten(gauges: Gauges) -> None:
    _run()
    assert set(gauges.points()) >= RUN_GAUGES
    assert not set(gauges.points()) & RUN_GAUGES


def test_a_point_says_which_run_it_is_of_and_how_that_ended(gauges: Gauges) -> None:
    ids = [_run(), _run(outcome=semconv.ERROR)]
    points = gauges.points()[Metric.RUN_DURATION]
    assert [dict(point.attributes or {}) for point in points] == [
        {
            Attr.RUN_LABEL: "base",
            Attr.RUN_ID: run_id,
            Attr.WORKFLOW_NAME: "shop",
            Attr.OUTCOME: outcome,
        }
        for run_id, outcome in zip(ids, ("ok", "error"), strict=True)
    ]


def test_a_label_and_an_id_are_on_no_histogram(gauges: Gauges) -> None:
    _run()
    with otel.run("r"), otel.loop(), otel.node("n"), otel.llm_call("m"):
        pass
    data = gauges.reader.get_metrics_data()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    seen = {m.name: p.attributes or {} for m in scope.metrics for p in m.data.data_points}
    marked = {name for name, keys in seen.items() if {Attr.RUN_LABEL, Attr.RUN_ID} & set(keys)}
    assert marked == RUN_GAUGES
    assert Metric.LLM_DURATION in seen


@pytest.mark.parametrize("gauges", [None], indirect=True)
def test_runs_without_a_label_tell_nothing_but_that_they_are_open(gauges: Gauges) -> None:
    with otel.run("r"):
        (active,) = gauges.points()[Metric.RUN_ACTIVE]
        assert active.value == 1
    found = gauges.points()
    assert not set(found) & RUN_GAUGES
    assert [point.value for point in found[Metric.RUN_ACTIVE]] == [0]


def test_runs_at_once_are_added_up_apart(gauges: Gauges) -> None:
    def one(context: Context) -> None:
        start(
            "chat m",
            state=semconv.WORKING,
            category=semconv.LLM,
            parent=context,
            attributes={Attr.INPUT_TOKENS: 1},
        ).end()

    def run(calls: int) -> None:
        with otel.run("r") as operation, ThreadPoolExecutor(4) as pool:
            list(pool.map(one, [operation.context] * calls))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, (100, 200, 300)))
    found = gauges.points()
    for name in (Metric.RUN_LLM_CALLS, Metric.RUN_TOKENS):
        values = [
            p.value for p in found[name] if (p.attributes or {}).get(Attr.TOKEN_TYPE) != "output"
        ]
        assert sorted(values) == [100, 200, 300]


def test_a_workflow_inside_of_a_run_is_a_part_of_it(gauges: Gauges) -> None:
    async def inner() -> None:
        with otel.run("inner"), otel.llm_call("m"):
            await asyncio.sleep(0)

    with otel.run("outer"):
        asyncio.run(inner())
    (point,) = gauges.points()[Metric.RUN_LLM_CALLS]
    assert (point.value, (point.attributes or {})[Attr.WORKFLOW_NAME]) == (1, "outer")


def test_work_for_a_run_of_another_process_is_no_run_of_this_one(gauges: Gauges) -> None:
    with otel.run("nightly"):
        carrier = otel.inject()
    gauges.points()
    with otel.task("worker", "a", carrier=carrier):
        assert [point.value for point in gauges.points()[Metric.RUN_ACTIVE]] == [0]
    assert gauges.run_gauges() == {}


def test_the_wait_of_an_interrupted_run_is_no_run(gauges: Gauges) -> None:
    with otel.run("nightly") as run:
        context = run.span.get_span_context()
        run_id = runs.run_id_of(run.context) or ""
    gauges.points()
    since_ns = spans.now_ns() - S
    interruptions.waited(
        Interruption(context.trace_id, context.span_id, True, run_id, since_ns), spans.now_ns()
    )
    assert gauges.run_gauges() == {}


def test_a_forked_child_has_no_run_open() -> None:
    gauges = Gauges(None)
    with otel.run("r"):
        assert [p.value for p in gauges.points()[Metric.RUN_ACTIVE]] == [1]
        out, into = os.pipe()
        if (child := os.fork()) == 0:
            try:
                (point,) = gauges.points()[Metric.RUN_ACTIVE]
                os.write(into, f"{point.value}".encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(out, 10) == b"0"


def test_a_span_of_another_instrumentation_opens_no_run_that_came_with_the_context() -> None:
    """As below `TRACEPARENT` and `BAGGAGE`: whoever opened it adds it up."""
    gauges = Gauges(None)
    told = baggage.set_baggage(Attr.RUN_ID, "elsewhere-1", Context())
    token = otel_context.attach(told)
    try:
        tracer = gauges.tracer("theirs")
        with tracer.start_as_current_span("theirs", attributes={Attr.RUN_ID: "elsewhere-1"}):
            assert [p.value for p in gauges.points()[Metric.RUN_ACTIVE]] == [0]
    finally:
        otel_context.detach(token)


def test_a_span_in_a_trace_of_its_own_is_in_no_run() -> None:
    provider = TracerProvider()
    provider.add_span_processor(MarkingProcessor())
    spans.use_provider(provider)
    with otel.run("r"):
        below = provider.get_tracer("theirs").start_span("below")
        apart = provider.get_tracer("theirs").start_span("apart", context=Context())
    assert Attr.RUN_ID in (below.attributes or {})  # type: ignore[attr-defined]
    assert Attr.RUN_ID not in (apart.attributes or {})  # type: ignore[attr-defined]

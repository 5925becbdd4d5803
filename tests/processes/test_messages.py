"""What a message carries, and what is made of one that is strange."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import otel_orchestrator as otel
from otel_orchestrator import messages, runs
from otel_orchestrator.queue import tasks
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.semconv import Attr

from ..trees import tree

HOUR_NS = 3_600_000_000_000


@pytest.fixture(autouse=True)
def own_host() -> Iterator[None]:
    messages.say_of_this_process("here", {})
    yield
    messages.say_of_this_process("here", {})


def by_name(exported: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exported.get_finished_spans()}


def sent(at_ns: int, host: str = "here") -> dict[str, str]:
    return {**otel.inject(), "orchestrator-sent": f"{at_ns};{host}"}


def test_a_carrier_is_a_few_short_texts_that_opentelemetry_reads(
    exported: InMemorySpanExporter,
) -> None:
    with otel.run("nightly") as run:
        carrier = otel.inject()
    assert set(carrier) == {"traceparent", "baggage", "orchestrator-sent"}
    assert all(isinstance(text, str) and len(text) < 100 for text in carrier.values())
    context = propagate.extract(carrier, Context())
    assert trace.get_current_span(context).get_span_context().span_id == (
        run.span.get_span_context().span_id
    )
    assert runs.run_id_of(context) == runs.run_id_of(run.context)


def test_outside_of_every_run_a_carrier_still_says_when(exported: InMemorySpanExporter) -> None:
    carrier = otel.inject()
    assert set(carrier) == {"orchestrator-sent"}
    time.sleep(0.01)
    with otel.task("worker", "a", carrier=carrier):
        pass
    assert tree(exported.get_finished_spans(), waits=True) == "task worker\n  wait queue"


def test_a_queue_between_threads(exported: InMemorySpanExporter) -> None:
    changes: list[QueueChange] = []
    stop = tasks.subscribe(changes.append)
    jobs: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        task_id, carrier = jobs.get()
        with otel.task("worker", task_id, carrier=carrier):
            pass

    with otel.run("nightly"), otel.node("director"):
        otel.observe_tasks([{"id": "a", "status": "planned"}])
        jobs.put(("a", otel.inject()))
        time.sleep(0.01)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    stop()
    assert tree(exported.get_finished_spans(), waits=True) == (
        "invoke_workflow nightly\n  node director\n    task worker\n      wait queue"
    )
    counts = [(c.ready, c.active, c.waiting) for c in changes]
    assert counts == [(1, 0, 0), (0, 1, 0), (0, 0, 0)], "the queue knows who works for its tasks"


def test_a_task_of_another_process_is_in_no_queue_of_this_one(
    exported: InMemorySpanExporter,
) -> None:
    with otel.run("nightly") as run:
        carrier = otel.inject()
        run_id = runs.run_id_of(run.context)
    with otel.task("worker", "a", carrier=carrier):
        assert tasks.find_board(run_id) is None
        otel.observe_tasks([{"id": "a", "status": "planned"}])
        assert tasks.find_board(run_id) is None, "nobody would ever close it"
    assert by_name(exported)["task worker"].kind is SpanKind.CONSUMER


def test_a_run_inside_of_such_a_task_has_a_queue_until_it_is_over(
    exported: InMemorySpanExporter,
) -> None:
    with otel.run("nightly") as run:
        carrier = otel.inject()
        run_id = runs.run_id_of(run.context)
    with otel.task("worker", "a", carrier=carrier):
        with otel.run("part"):
            otel.observe_tasks([{"id": "a1", "status": "planned"}])
            assert tasks.find_board(run_id) is not None
        assert tasks.find_board(run_id) is None


@pytest.mark.parametrize(
    "carrier",
    [
        {},
        {"traceparent": "nonsense", "baggage": ";;=,", "orchestrator-sent": "yesterday;here"},
        {"orchestrator-sent": "9" * 40 + ";here"},
        {"orchestrator-sent": "-5;here"},
        {"traceparent": 5, "orchestrator-sent": 7},
        {"orchestrator-sent": "1;" + "x" * 10_000},
    ],
)
def test_a_strange_carrier_changes_nothing_for_the_program(
    exported: InMemorySpanExporter, carrier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_orchestrator._guard.strict", False)
    with otel.run("nightly"):
        with otel.task("worker", "a", carrier=carrier):
            done = True
        otel.received(carrier)
    assert done
    assert {"invoke_workflow nightly", "task worker"} <= by_name(exported).keys()
    longest = max(
        len(str(v)) for s in exported.get_finished_spans() for v in (s.attributes or {}).values()
    )
    assert longest <= 255


def test_a_clock_that_is_ahead_makes_no_wait_less_than_nothing(
    exported: InMemorySpanExporter,
) -> None:
    with otel.run("nightly"):
        with otel.task("worker", "a", carrier=sent(time.time_ns() + HOUR_NS)):
            pass
        with otel.task("far", "b", carrier=sent(time.time_ns() + HOUR_NS, "there")):
            pass
    spans = by_name(exported)
    for span in spans.values():
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time <= time.time_ns()
    wait = spans["wait queue"].attributes or {}
    assert wait[Attr.SENT_HOST] == "there"
    assert wait[Attr.SENT_AGO] == pytest.approx(-3600, abs=1)


def test_what_came_back_is_linked_to_who_sent_it(exported: InMemorySpanExporter) -> None:
    with otel.run("nightly"):
        with otel.task("worker", "a", carrier=otel.inject()) as task:
            answer = otel.inject()
        otel.received(answer)
    spans = by_name(exported)
    (link,) = spans["receive"].links
    assert link.context.span_id == task.span.get_span_context().span_id
    assert spans["receive"].start_time == spans["receive"].end_time


def test_the_environment_of_a_child(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", "what this process was given")
    monkeypatch.setenv("TRACESTATE", "a=b")
    messages.say_of_this_process("here", {"OTEL_ORCHESTRATOR_RUN_DIR": "/runs"})
    assert "TRACEPARENT" not in otel.environment()
    with otel.run("nightly") as run:
        made = otel.environment({"MINE": "1", "TRACEPARENT": "old"})
    span_id = f"{run.span.get_span_context().span_id:016x}"
    assert made["TRACEPARENT"].split("-")[2] == span_id
    assert made["BAGGAGE"] == f"orchestrator.run.id={runs.run_id_of(run.context)}"
    assert made.keys() == {"MINE", "TRACEPARENT", "BAGGAGE", "OTEL_ORCHESTRATOR_RUN_DIR"}
    assert "TRACESTATE" not in made


def test_written_timing_counts_from_the_start_of_the_work(exported: InMemorySpanExporter) -> None:
    item: dict[str, Any] = {"id": "a"}
    with otel.task("worker", item, carrier=sent(time.time_ns() - HOUR_NS), write_timing=True):
        pass
    assert item["duration_seconds"] < 60

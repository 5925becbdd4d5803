"""Where the user says that tasks are: what matches nothing there is said once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor


@pytest.fixture(autouse=True)
def uninstrumented(exported: InMemorySpanExporter) -> Iterator[None]:
    yield
    LangGraphInstrumentor().uninstrument()


class State(TypedDict):
    plan: list[Any]
    done: list[str]


def said_of(caplog: pytest.LogCaptureFixture, *plans: list[Any]) -> list[str]:
    caplog.set_level(logging.WARNING, "otel_orchestrator")
    graph: Any = StateGraph(State)
    graph.add_node("work", lambda _: {})
    graph.add_edge(START, "work")
    for plan in plans:
        graph.compile(name="app").invoke({"plan": plan, "done": []})
    return [record.getMessage() for record in caplog.records]


def test_a_key_that_no_state_has_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    LangGraphInstrumentor().instrument(tasks_key="plna")
    assert said_of(caplog, [{"id": "a"}], [{"id": "b"}]) == [
        "graph app shows no tasks: its state has no key 'plna'; it has done, plan. Say where they"
        " are: instrument(tasks_key=..., task_fields=...)"
    ]


def test_an_id_that_no_task_has_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    LangGraphInstrumentor().instrument(tasks_key="plan", task_fields=otel.TaskFields(id="key"))
    (said,) = said_of(caplog, [], [{"id": "a"}], [{"id": "b"}])
    assert "nothing under its key 'plan' has an id as 'key'" in said


@pytest.mark.parametrize(
    "options",
    [{"tasks_key": "plan"}, {}, {"tasks_key": None}, {"tasks_key": "plna", "agents": ["app"]}],
)
def test_nothing_is_said_of_tasks_that_are_seen_or_were_not_asked_for(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    LangGraphInstrumentor().instrument(**options)
    assert said_of(caplog, [], [{"id": "a"}]) == []

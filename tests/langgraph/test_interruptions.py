"""Runs that wait for a person: interrupted here, resumed here or elsewhere, or never."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from otel_orchestrator import interruptions
from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of
from .driving import ainvoke, invoke
from .injected import INJECTED_S, is_about, waits
from .plans import BOTH, State, fan_out, run

# As in `test_waits`: tried again where another program held the machine for too long.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])


@BOTH
@pytest.mark.parametrize("other_process", [False, True])
def test_an_interrupted_run_waits_for_a_human(
    traced: InMemorySpanExporter, is_async: bool, other_process: bool, tmp_path: Any
) -> None:
    graph = asking()
    compiled = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config = {"configurable": {"thread_id": "any/thread id"}}
    drive = ainvoke if is_async else invoke
    interruptions.keep_in(interruptions.FileStore(tmp_path / "interrupted"))
    try:
        drive(compiled, {"out": []}, config)
        since = time.time_ns()
        if other_process:
            interruptions._kept.clear()
        time.sleep(INJECTED_S)
        until = time.time_ns()
        assert drive(compiled, Command(resume="yes"), config)["out"] == ["yes"]
    finally:
        interruptions.keep_in(None)
    assert list((tmp_path / "interrupted").iterdir()) == []
    spans = traced.get_finished_spans()
    first, second = sorted(
        (s for s in spans if s.name == "invoke_workflow asks"), key=lambda s: s.start_time or 0
    )
    (human,) = waits(spans, "human")
    is_about(human, (since, until))
    assert human.parent and first.context and human.parent.span_id == first.context.span_id
    assert attributes_of(human)[Attr.RUN_ID] == attributes_of(first)[Attr.RUN_ID]
    assert (human.start_time or 0) >= (first.end_time or 0)
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    assert attributes_of(second)[Attr.RESUMED] is True


def asking() -> StateGraph[State]:
    """A graph of one node, which asks a person."""

    def ask(state: State) -> dict[str, Any]:
        return {"out": [interrupt("?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    return graph


@BOTH
def test_a_run_resumed_on_another_machine_knows_it_from_the_checkpoint(
    exported: InMemorySpanExporter, is_async: bool
) -> None:
    graph = asking()
    saver = InMemorySaver()
    compiled = graph.compile(checkpointer=saver, name="asks")
    config: Any = {"configurable": {"thread_id": "t"}, "metadata": {"mine": 1}}
    drive = ainvoke if is_async else invoke
    LangGraphInstrumentor().instrument(runs_in_checkpoints=True)
    try:
        drive(compiled, {"out": []}, config)
        since = time.time_ns()
        interruptions._kept.clear()
        time.sleep(INJECTED_S)
        until = time.time_ns()
        drive(compiled, Command(resume="yes"), config)
    finally:
        LangGraphInstrumentor().uninstrument()
    spans = exported.get_finished_spans()
    first, second = sorted(
        (s for s in spans if s.name == "invoke_workflow asks"), key=lambda s: s.start_time or 0
    )
    (human,) = waits(spans, "human")
    # Since the checkpoint, a moment before the interrupted run returned.
    is_about(human, (human.start_time or 0, until))
    assert (first.start_time or 0) < (human.start_time or 0) < since
    assert human.parent and first.context and human.parent.span_id == first.context.span_id
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    kept = {key for saved in saver.list(config) for key in saved.metadata}
    assert {"mine", "otel_orchestrator_run"} <= kept
    assert "otel_orchestrator_run" not in config["metadata"], "the program's own dict is left alone"


@BOTH
@pytest.mark.parametrize("resumed", ["after", "inside of the loop"])
def test_a_reader_that_leaves_at_the_news_of_an_interrupt_abandons_nothing(
    traced: InMemorySpanExporter, is_async: bool, resumed: str
) -> None:
    graph = asking()
    compiled = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config: Any = {"configurable": {"thread_id": f"{resumed}, {is_async}"}}

    async def aread() -> None:
        async for item in compiled.astream({"out": []}, config):
            if "__interrupt__" in item:
                break

    if resumed == "after":
        if is_async:
            asyncio.run(aread())
        else:
            for item in compiled.stream({"out": []}, config):
                if "__interrupt__" in item:
                    break
        (ainvoke if is_async else invoke)(compiled, Command(resume="yes"), config)
    else:
        for item in compiled.stream({"out": []}, config):
            if "__interrupt__" in item:
                invoke(compiled, Command(resume="yes"), config)
    invoke(compiled, {"out": []}, config)  # a new question on the same thread resumes nothing
    spans = traced.get_finished_spans()
    runs = sorted((s for s in spans if s.parent is None), key=lambda s: s.start_time or 0)
    told = [(attributes_of(s)[Attr.OUTCOME], len(s.links)) for s in runs]
    if resumed == "after":
        assert told == [("interrupted", 0), ("ok", 1), ("interrupted", 0)]
    else:  # the first one may still be under way, and then there is nothing to link to
        # LangGraph 1.0 tells of the interrupt once that run has ended, later ones before.
        assert told in (
            [("interrupted", 0), ("ok", 0), ("interrupted", 0)],
            [("interrupted", 0), ("ok", 1), ("interrupted", 0)],
        )


def test_another_graph_on_the_same_thread_resumes_nothing(traced: InMemorySpanExporter) -> None:
    graph = asking()
    asks = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config: Any = {"configurable": {"thread_id": "1"}}
    invoke(asks, {"out": []}, config)
    run(fan_out(lambda _: None, "a", is_async=False), is_async=False, config=config)
    other = max(
        (s for s in traced.get_finished_spans() if s.name == "invoke_workflow fan"),
        key=lambda s: s.start_time or 0,
    )
    assert (other.links, attributes_of(other).get(Attr.RESUMED)) == ((), None)
    assert [s.name for s in traced.get_finished_spans() if s.name == "wait human"] == []
    invoke(asks, Command(resume="yes"), config)
    assert [s.name for s in traced.get_finished_spans() if s.name == "wait human"] == ["wait human"]


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_new_input_gives_up_the_run_that_was_interrupted(
    traced: InMemorySpanExporter, is_stored: bool, tmp_path: Any
) -> None:
    def ask(state: State) -> dict[str, Any]:
        if state["out"] == ["boom"]:
            raise ValueError
        return {"out": [interrupt("?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    asks = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config: Any = {"configurable": {"thread_id": "1"}}
    interruptions.keep_in(interruptions.FileStore(tmp_path) if is_stored else None)
    try:
        invoke(asks, {"out": []}, config)
        if is_stored:
            interruptions._kept.clear()
        with pytest.raises(ValueError):
            invoke(asks, {"out": ["boom"]}, config)
        with pytest.raises(ValueError):
            invoke(asks, None, config)
    finally:
        interruptions.keep_in(None)
    spans = traced.get_finished_spans()
    assert waits(spans, "human") == []
    assert [s.links for s in spans if s.name == "invoke_workflow asks"] == [(), (), ()]


def test_a_state_with_a_resume_is_a_new_input(traced: InMemorySpanExporter) -> None:
    class Applicant(BaseModel):
        resume: str
        answer: str = ""

    graph = StateGraph(Applicant)
    graph.add_node("ask", lambda state: {"answer": interrupt("?")})
    graph.add_edge(START, "ask")
    asks = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config: Any = {"configurable": {"thread_id": "1"}}
    for text in ("ten years of COBOL", "two years of Rust"):
        invoke(asks, Applicant(resume=text), config)
    spans = traced.get_finished_spans()
    runs = [s for s in spans if s.name == "invoke_workflow asks"]
    assert [(s.links, attributes_of(s).get(Attr.RESUMED)) for s in runs] == [((), None)] * 2
    assert [s for s in spans if s.name == "wait human"] == []


@pytest.mark.parametrize("are_named", [True, False])
def test_graphs_that_are_known_apart_may_share_the_names_of_threads(
    traced: InMemorySpanExporter, are_named: bool
) -> None:
    def compiled(name: str) -> Any:
        graph = asking()
        if not are_named:  # they have other nodes
            graph.add_node(name, lambda state: {})
            graph.add_edge("ask", name)
        return graph.compile(checkpointer=InMemorySaver(), name=name if are_named else None)

    one, two = map(compiled, ("one", "two"))
    config: Any = {"configurable": {"thread_id": "1"}}
    for asks in (one, two):
        invoke(asks, {"out": []}, config)
    for asks in (one, two):
        invoke(asks, Command(resume="yes"), config)
    runs = [s for s in traced.get_finished_spans() if s.parent is None]
    first_one, first_two, one_again, two_again = sorted(runs, key=lambda s: s.start_time or 0)
    for first, again in ((first_one, one_again), (first_two, two_again)):
        assert [link.context.span_id for link in again.links] == [first.context.span_id]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trace_id": "x"}'])
def test_a_broken_file_of_an_interruption_is_said_and_passed_over(
    tmp_path: Any, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = interruptions.FileStore(tmp_path)
    store.forget("\ud800 is no text")
    store.save("t", interruptions.Interruption(1, 2, True, "r", 3))
    assert store.take("t") == interruptions.Interruption(1, 2, True, "r", 3)
    store.save("t", interruptions.Interruption(1, 2, True, "r", 3))
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert store.take("t") is None


@BOTH
def test_an_interrupt_is_written_once(
    traced: InMemorySpanExporter, is_async: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = asking()
    asks = graph.compile(checkpointer=InMemorySaver(), name="asks")
    store = interruptions.FileStore(tmp_path)
    saved: list[int] = []
    monkeypatch.setattr(store, "save", lambda _, interruption: saved.append(interruption.at_ns))
    interruptions.keep_in(store)
    try:
        config = {"configurable": {"thread_id": "once"}}
        (ainvoke if is_async else invoke)(asks, {"out": []}, config)
    finally:
        interruptions.keep_in(None)
    assert saved == [s.end_time for s in traced.get_finished_spans() if s.parent is None]


def test_the_oldest_of_too_many_files_go_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruptions, "_KEPT_AT_MOST", 3)
    monkeypatch.setattr(interruptions, "_PRUNED_EVERY", 5)
    store = interruptions.FileStore(tmp_path)
    counts = []
    for number in range(11):
        store.save(str(number), interruptions.Interruption(1, 2, True, "r", number))
        os.utime(store._path(str(number)), (number, number))  # file systems' clocks are coarse
        counts.append(len(list(tmp_path.iterdir())))
    assert counts == [1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 3]
    taken = [store.take(str(number)) for number in range(8, 11)]
    assert [interruption.at_ns for interruption in taken if interruption] == [8, 9, 10]


def test_a_file_that_another_process_takes_while_one_is_kept_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "taken.json").symlink_to(tmp_path / "elsewhere")  # it is seen, and is not there
    store = interruptions.FileStore(tmp_path)
    store.save("t", interruptions.Interruption(1, 2, True, "r", 3))
    assert store.take("t") == interruptions.Interruption(1, 2, True, "r", 3)


def test_a_resumed_run_whose_interruption_is_not_known_says_so(
    traced: InMemorySpanExporter,
) -> None:
    graph = asking()
    compiled = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config = {"configurable": {"thread_id": "t"}}
    invoke(compiled, {"out": []}, config)
    interruptions._kept.clear()
    invoke(compiled, Command(resume="yes"), config)
    spans = traced.get_finished_spans()
    assert waits(spans, "human") == []
    last = max((s for s in spans if s.parent is None), key=lambda s: s.start_time or 0)
    assert attributes_of(last)[Attr.RESUMED] is True
    assert last.links == ()


def test_a_thread_may_be_served_by_two_processes_in_turn(
    traced: InMemorySpanExporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(state: State) -> dict[str, Any]:
        return {"out": [interrupt("?"), interrupt("?"), interrupt("?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    asks = graph.compile(checkpointer=InMemorySaver(), name="asks")
    config: Any = {"configurable": {"thread_id": "1"}}
    memories: dict[str, OrderedDict[str, Any]] = {"a": OrderedDict(), "b": OrderedDict()}
    interruptions.keep_in(interruptions.FileStore(tmp_path))
    try:
        for process, given in (("a", None), ("b", "one"), ("a", "two"), ("b", "three")):
            monkeypatch.setattr(interruptions, "_kept", memories[process])
            monkeypatch.setattr(interruptions, "_over_ns", OrderedDict())
            invoke(asks, Command(resume=given) if given else {"out": []}, config)
    finally:
        interruptions.keep_in(None)
    spans = traced.get_finished_spans()
    runs = sorted(
        (s for s in spans if s.name == "invoke_workflow asks"), key=lambda s: s.start_time or 0
    )
    ids = [run.context.span_id for run in runs if run.context]
    assert [[link.context.span_id for link in run.links] for run in runs[1:]] == [
        [i] for i in ids[:-1]
    ]
    humans = sorted((s for s in spans if s.name == "wait human"), key=lambda s: s.start_time or 0)
    assert [s.parent.span_id for s in humans if s.parent] == ids[:-1], "each once, below its run"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_for_other_processes_is_known_in_this_one(
    traced: InMemorySpanExporter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asks = asking().compile(checkpointer=InMemorySaver(), name="asks")
    config: Any = {"configurable": {"thread_id": "1"}}
    (tmp_path / "file").touch()
    interruptions.keep_in(interruptions.FileStore(tmp_path / "file"))
    try:
        invoke(asks, {"out": []}, config)
        invoke(asks, Command(resume="yes"), config)
    finally:
        interruptions.keep_in(None)
    spans = traced.get_finished_spans()
    assert [len(s.links) for s in spans if s.name == "invoke_workflow asks"] == [0, 1]
    assert len([s for s in spans if s.name == "wait human"]) == 1

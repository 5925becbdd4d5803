"""On and off, in any order and as often as one likes, with real calls in between."""

from __future__ import annotations

import re
import subprocess
from typing import Any, TypedDict

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.graph import START, StateGraph
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import instrumentors
from otel_orchestrator.errors import MissingLibraryError
from otel_orchestrator.instrumentors.openai import OpenAIInstrumentor

NAMES = tuple(instrumentors._ENTRIES)


def instrumentor_of(name: str) -> Any:
    return instrumentors._load(instrumentors._ENTRIES[name])


def seams() -> dict[tuple[Any, str], Any]:
    """What stands at every attribute that we ever replace."""
    otel.instrument()
    owners = [
        (patch.owner, patch.name)
        for name in NAMES
        for patch in getattr(instrumentor_of(name), "_patches", ())
    ]
    otel.uninstrument()
    return {(owner, name): vars(owner)[name] for owner, name in owners}


class State(TypedDict, total=False):
    said: Any


def graph() -> Any:
    builder = StateGraph(State)
    builder.add_node("ask", lambda state: {"said": FakeListChatModel(responses=["hi"]).invoke("x")})
    builder.add_edge(START, "ask")
    return builder.compile(name="g")


class Switching(RuleBasedStateMachine):
    """Instrumentors are switched on and off; what is called in between is traced once, or not."""

    def __init__(self) -> None:
        super().__init__()
        otel.uninstrument()
        self.originals = seams()
        self.on: set[str] = set()
        self.exported = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exported))
        self.graph = graph()

    @rule(only=st.sets(st.sampled_from(NAMES), min_size=1))
    def instrument(self, only: set[str]) -> None:
        assert set(otel.instrument(only=only, tracer_provider=self.provider)) == only
        self.on |= only

    @rule()
    def instrument_everything(self) -> None:
        self.on = set(otel.instrument(tracer_provider=self.provider))

    @rule(name=st.sampled_from(NAMES))
    def instrument_one_by_itself(self, name: str) -> None:
        instrumentor_of(name).instrument(tracer_provider=self.provider)
        self.on.add(name)

    @rule(name=st.sampled_from(NAMES))
    def uninstrument_one_by_itself(self, name: str) -> None:
        instrumentor_of(name).uninstrument()
        self.on.discard(name)

    @rule()
    def uninstrument(self) -> None:
        otel.uninstrument()
        self.on.clear()

    @rule()
    def call(self) -> None:
        self.exported.clear()
        assert self.graph.invoke({})["said"].content == "hi"
        assert subprocess.run(["git", "--version"], capture_output=True).returncode == 0
        names = sorted(span.name for span in self.exported.get_finished_spans())
        expected = {
            "langgraph": ["invoke_workflow g", "loop", "superstep", "node ask"],
            "langchain": ["chat FakeListChatModel"],
            "git": ["git version"],
        }
        seen = [name for on in self.on for name in expected.get(on, ())]
        waits = [name for name in names if name.startswith("wait ")]
        assert names == sorted(seen + waits)

    @invariant()
    def what_is_off_is_as_it_was(self) -> None:
        patched = {
            (patch.owner, patch.name)
            for name in self.on
            for patch in getattr(instrumentor_of(name), "_patches", ())
        }
        for place, original in self.originals.items():
            now = vars(place[0])[place[1]]
            assert (now is original) == (place not in patched), place

    def teardown(self) -> None:
        otel.uninstrument()
        self.on.clear()
        self.what_is_off_is_as_it_was()
        from otel_orchestrator.lifecycle import spans

        spans.use_provider(None)


TestSwitching = Switching.TestCase
TestSwitching.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def test_there_is_something_to_switch() -> None:
    assert len(seams()) > 30


def test_what_does_not_fit_is_not_named_as_instrumented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        OpenAIInstrumentor, "instrumentation_dependencies", lambda self: ("openai >= 999",)
    )
    try:
        assert otel.instrument(only=["openai", "git"]) == ("git",)
    finally:
        otel.uninstrument()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("langgraph", "'otel-orchestrator[langgraph]'"), ("anthropic", "anthropic")],
)
def test_a_library_that_is_missing_is_named_with_what_brings_it(
    name: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instrumentors, "find_spec", lambda _: None)
    with pytest.raises(MissingLibraryError, match=re.escape(f"Type: pip install {wanted}") + "$"):
        otel.instrument(only=[name])

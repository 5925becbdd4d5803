"""Tools and agents of LangChain."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool, ToolException, tool
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.semconv import Attr

from ..llm_server import LLM, Reply
from ..trees import attributes_of, tree
from .models import KEY, PROMPT, in_loop, openai


@pytest.mark.parametrize("how", ["sync", "async"])
def test_tools_have_spans_and_calls_inside_nest_below(
    traced: InMemorySpanExporter, how: str
) -> None:
    @tool
    def edit_file(path: str) -> str:
        """Edit."""
        with otel.node("inside"):
            return "done"

    call = {"name": "edit_file", "args": {"path": "x"}, "id": "call_9", "type": "tool_call"}
    if how == "sync":
        edit_file.invoke(call)
    else:
        in_loop(edit_file.ainvoke(call))
    assert tree(traced.get_finished_spans()) == "execute_tool edit_file\n  node inside"
    told = attributes_of(traced.get_finished_spans()[-1])
    assert told[Attr.TOOL_CALL_ID] == "call_9"
    assert told[Attr.CATEGORY] == "tool"


def test_a_tool_that_fails_is_an_error_and_raises_its_own(traced: InMemorySpanExporter) -> None:
    @tool
    def fails() -> str:
        """Fail."""
        raise KeyError(KEY)

    with pytest.raises(KeyError):
        fails.invoke({})
    assert tree(traced.get_finished_spans()) == "execute_tool fails [error]"


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize(("given", "fails"), [("1", "raised"), ("x", "did not fit")])
def test_a_failure_that_a_tool_makes_a_message_of_is_one(
    traced: InMemorySpanExporter, how: str, given: str, fails: str
) -> None:
    def look(at: int) -> str:
        """Look."""
        raise ToolException(KEY)

    looking = StructuredTool.from_function(
        look, handle_tool_error="raised", handle_validation_error="did not fit"
    )
    call = {"name": "look", "args": {"at": given}, "id": "call_9", "type": "tool_call"}
    answer = looking.invoke(call) if how == "invoke" else in_loop(looking.ainvoke(call))
    assert answer.content == fails
    assert tree(traced.get_finished_spans()) == "execute_tool look [error]"


@dataclass
class Job:
    """What a program knows of a job of its own."""

    status: str = "error"


def test_what_a_tool_gives_may_have_a_status_of_its_own(traced: InMemorySpanExporter) -> None:
    @tool
    def find_job() -> Job:
        """Find."""
        return Job()

    assert find_job.invoke({}) == Job()
    assert tree(traced.get_finished_spans()) == "execute_tool find_job"


@pytest.mark.parametrize("how", ["run", "arun"])
def test_a_tools_options_may_have_any_names(
    traced: InMemorySpanExporter, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    looked = look.run({}, tool="x") if how == "run" else in_loop(look.arun({}, tool="x"))
    assert looked == "seen"
    assert tree(traced.get_finished_spans()) == "execute_tool look"
    assert caplog.text == ""


def test_a_react_agent_is_one_span_with_calls_and_tools(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    from langchain.agents import create_agent

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    otel.instrument(only=["langgraph"])
    llm.replies += [Reply(tool="look")]
    agent = create_agent(openai(llm), tools=[look], name="coder")
    for drive in (agent.invoke, lambda m: in_loop(agent.ainvoke(m))):
        traced.clear()
        llm.replies[:] = [Reply(tool="look")]
        drive({"messages": [HumanMessage(PROMPT)]})
        assert tree(traced.get_finished_spans()) == (
            "invoke_agent coder\n"
            "  chat gpt-asked\n    POST\n"
            "  execute_tool look\n"
            "  chat gpt-asked\n    POST"
        )

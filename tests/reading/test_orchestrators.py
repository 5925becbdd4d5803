"""Orchestrators as other libraries make them, with the real ones: what of them is seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_orchestrator.analysis.study import Study, study
from otel_orchestrator.sources.runfiles import find_run, read_run

from ..llm_server import Reply, serving

_BEGIN = """
import sys

import otel_orchestrator as otel

otel.configure("agents")
otel.instrument()

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="gpt-4o", base_url=sys.argv[1], api_key="none", max_retries=0)

def read_file() -> str:
    "Read a file."
    return "nothing"

"""
_DEEP = """
from deepagents import create_deep_agent

helper = {"name": "helper", "description": "helps", "system_prompt": "help", "tools": [read_file]}
app = create_deep_agent(model=model, tools=[], subagents=[helper])
"""
_SUPERVISOR = """
from langgraph_supervisor import create_supervisor

agents = [create_agent(model, [read_file], name=name) for name in ("coder", "tester")]
app = create_supervisor(agents, model=model).compile(name="team")
"""
_SWARM = """
from langgraph_swarm import create_handoff_tool, create_swarm

agents = [
    create_agent(model, [read_file, create_handoff_tool(agent_name=other)], name=name)
    for name, other in (("coder", "tester"), ("tester", "coder"))
]
app = create_swarm(agents, default_active_agent="coder").compile()
"""
_END = """
app.invoke({"messages": [{"role": "user", "content": "go on"}]})
otel.shutdown()
"""


def calls(tool: str, **arguments: str) -> Reply:
    return Reply(tool=tool, arguments=json.dumps(arguments))


def seen(program: str, replies: list[Reply], folder: Path) -> Study:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    with serving() as llm:
        llm.replies = replies
        done = subprocess.run(
            [sys.executable, "-c", _BEGIN + program + _END, f"{llm.url}/v1"],
            env={**environment, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder)},
            capture_output=True,
            text=True,
        )
        assert not llm.replies, "not all of it was asked for"
    assert done.returncode == 0, done.stderr
    return study(read_run(find_run(None, folder)))


def drawn(told: Study) -> str:
    """Draw the spans but waits and HTTP; waits are too short to count on here."""
    left_out = {s.span_id for s in told.run.spans if s.state == "waiting" or s.operation == "POST"}
    return "\n".join(
        "  " * depth + span.name
        for span, depth in told.forest.walk()
        if span.span_id not in left_out
    )


def workers(told: Study) -> list[str]:
    return [job.name for job in told.accounting.outline.jobs if job.is_worker]


@pytest.mark.timeout(300)
def test_a_deep_agent_and_those_that_it_calls(tmp_path: Path) -> None:
    asks = calls("task", description="look", subagent_type="helper")
    told = seen(_DEEP, [asks, calls("read_file"), Reply(), asks, Reply(), Reply()], tmp_path)
    assert drawn(told) == (
        "invoke_agent agent\n"
        "  chat gpt-4o\n"
        "  execute_tool task\n"
        "    invoke_agent helper\n"
        "      chat gpt-4o\n"
        "      execute_tool read_file\n"
        "      chat gpt-4o\n"
        "  chat gpt-4o\n"
        "  execute_tool task\n"
        "    invoke_agent helper\n"
        "      chat gpt-4o\n"
        "  chat gpt-4o"
    )
    assert workers(told) == ["helper", "helper"]


@pytest.mark.timeout(300)
def test_a_supervisor_and_its_agents(tmp_path: Path) -> None:
    replies = [
        calls("transfer_to_coder"),
        calls("read_file"),
        Reply(),
        calls("transfer_to_tester"),
        Reply(),
        Reply(),
    ]
    told = seen(_SUPERVISOR, replies, tmp_path)
    assert drawn(told) == (
        "invoke_workflow team\n"
        "  loop\n"
        "    superstep\n"
        "      node supervisor\n"
        "        invoke_agent supervisor\n"
        "          chat gpt-4o\n"
        "          execute_tool transfer_to_coder\n"
        "    superstep\n"
        "      node coder\n"
        "        invoke_agent coder\n"
        "          chat gpt-4o\n"
        "          execute_tool read_file\n"
        "          chat gpt-4o\n"
        "  loop\n"
        "    superstep\n"
        "      node supervisor\n"
        "        invoke_agent supervisor\n"
        "          chat gpt-4o\n"
        "          execute_tool transfer_to_tester\n"
        "    superstep\n"
        "      node tester\n"
        "        invoke_agent tester\n"
        "          chat gpt-4o\n"
        "  loop\n"
        "    superstep\n"
        "      node supervisor\n"
        "        invoke_agent supervisor\n"
        "          chat gpt-4o"
    )
    assert workers(told) == ["coder", "tester"]


@pytest.mark.timeout(300)
def test_agents_that_hand_over_to_each_other(tmp_path: Path) -> None:
    replies = [
        calls("transfer_to_tester"),
        calls("read_file"),
        calls("transfer_to_coder"),
        Reply(),
    ]
    told = seen(_SWARM, replies, tmp_path)
    assert drawn(told) == (
        "invoke_workflow LangGraph\n"
        "  loop\n"
        "    superstep\n"
        "      node coder\n"
        "        invoke_agent coder\n"
        "          chat gpt-4o\n"
        "          execute_tool transfer_to_tester\n"
        "    superstep\n"
        "      node tester\n"
        "        invoke_agent tester\n"
        "          chat gpt-4o\n"
        "          execute_tool read_file\n"
        "          chat gpt-4o\n"
        "          execute_tool transfer_to_coder\n"
        "  loop\n"
        "    superstep\n"
        "      node coder\n"
        "        invoke_agent coder\n"
        "          chat gpt-4o"
    )
    assert workers(told) == [], "neither of them is above the other"

"""A defect of ours, at any point, costs telemetry and nothing else.

Every function of ours that a program reaches is broken, see `injection.py`; every attribute that is
patched is passed by a program. Both are found, not listed: a new one cannot be forgotten.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = pytest.mark.timeout(330)

# The frames that a program itself enters, in place of its own or of a library's. They cannot stand
# behind the guard: they are where it begins. Each does nothing but call what does.
FRAMES: Final = {
    "an iterator, a body or a runnable in place of another": (
        "instrumentors._following:Following.async_items",
        "instrumentors._following:Following.items",
        "instrumentors._following:_body_class.Body.__aiter__",
        "instrumentors._following:_body_class.Body.__getattr__",
        "instrumentors._following:_body_class.Body.__iter__",
        "instrumentors._following:_body_class.Body.aclose",
        "instrumentors._following:_body_class.Body.close",
        "instrumentors.langgraph.reader:_follow",
        "instrumentors.langgraph.reader:followed.stream",
        "instrumentors.langgraph.running:InContext.in_loop",
        "instrumentors.langgraph.running:PooledAttempt.taking_over.in_pool_and_on",
        "instrumentors.langgraph.running:StandIn.ainvoke",
        "instrumentors.langgraph.running:StandIn.astream",
        "instrumentors.langgraph.running:StandIn.invoke",
        "instrumentors.langgraph.running:_Next.ainvoke",
        "instrumentors.langgraph.running:_Next.atransform",
        "lifecycle.wrapping:first_step",
    ),
    "a hook of httpcore's": (
        "instrumentors._attempts:AsyncTrace.__call__",
        "instrumentors._attempts:Trace.__call__",
    ),
    "entering and leaving a block": (
        "lifecycle.attaching:Inside.__enter__",
        "instrumentors._following:_ReadingBytes.__enter__",
        "lifecycle.spans:Operation.__enter__",
        "lifecycle.spans:Operation.__exit__",
    ),
    "an object that is made for it": (
        "lifecycle.attaching:Inside.__init__",
        "instrumentors._following:_Reading.__init__",
        "instrumentors._following:_ReadingBytes.__init__",
        "instrumentors.langgraph.reader:Reader.__init__",
        "instrumentors.langgraph.reader:_held.__init__",
        "instrumentors.langgraph.running:Attempt.__init__",
        "instrumentors.langgraph.running:InContext.__init__",
        "instrumentors.langgraph.running:_InThread.__init__",
        "manual:Traced.__init__",
        "lifecycle.spans:Operation.__init__",
    ),
    "what the program calls by name": (
        "manual:Traced.__call__",
        "manual:Traced.__enter__",
        "manual:_traced",
        "manual:llm_call",
        "manual:loop",
        "manual:node",
        "manual:run",
        "manual:task",
        "manual:tool_call",
        "manual:wait",
        "sdk:shutdown",
        "lifecycle.wrapping:_async_generator",
        "lifecycle.wrapping:_generator",
        "lifecycle.wrapping:wrap",
    ),
    "a clock": ("lifecycle.spans:now_ns",),
}
# Where one of these fails, nobody else puts back what was current before.
RESTORING: Final = {
    "lifecycle.attaching:Inside.__exit__",
    "lifecycle.attaching:leave",
    "lifecycle.attaching:restore",
    "instrumentors._patching:Around.__exit__",
    "instrumentors._sdk:_Entry.ends",
    "instrumentors.langgraph.running:Attempt.__exit__",
    "instrumentors.langgraph.running:InContext.__exit__",
    "manual:Traced.__exit__",
    "lifecycle.spans:Operation.__exit__",
}
NEEDS: Final = {
    "langgraph": "langgraph",
    "langchain": "langchain_openai",
    "openai": "openai",
    "anthropic": "anthropic",
    "http": "httpx2",
    "git": "git",
    "git_trace2": "git",
    "manual": "openai",
    "configured": "openai",
}
ROOT: Final = Path(__file__).parents[2]


@functools.cache
def broken_in(group: str) -> dict[str, Any]:
    """What `run.py` tells of a group."""
    command = [sys.executable, "-m", "tests.faults.run", group]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(params=NEEDS)
def told(request: pytest.FixtureRequest) -> dict[str, Any]:
    library = NEEDS[request.param]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return broken_in(request.param)


def test_programs_get_their_own_result(told: dict[str, Any]) -> None:
    known = {name for names in FRAMES.values() for name in names}
    seen = {n: got for n, got in told["reached_the_app"].items() if n not in known}
    assert seen == {}
    assert told["broken"] > 50, "hardly anything was reached: the test proves nothing"


def test_what_was_current_is_current_again(told: dict[str, Any]) -> None:
    assert {function for function, _ in told["leaked"]} <= RESTORING


def test_each_patched_attribute_is_passed_by_a_program(told: dict[str, Any]) -> None:
    assert told["passed_by_none"] == [], "add a program to programs.py that calls these"


def test_nothing_is_excused_that_needs_no_excuse() -> None:
    """What no longer reaches a program, or is gone, is to leave the lists above."""
    told = [
        broken_in(group) for group, library in NEEDS.items() if importlib.util.find_spec(library)
    ]
    reached = {name for one in told for name in one["reached_the_app"]}
    leaking = {name for one in told for name, _ in one["leaked"]}
    assert {name for names in FRAMES.values() for name in names} - reached == set()
    assert RESTORING - leaking == set()

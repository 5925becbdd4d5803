"""The LLM and what it is asked: the coder agent of the workers, and the plain calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI

from .plan import Task
from .repository import Repository, run_tests

_RECURSION_LIMIT: Final = 50
_LARGEST_FILE: Final = 20_000

DIRECTOR: Final = "You are the Director of a team of coding agents."
STRATEGIST: Final = "You are the Strategist of a team of coding agents."
GUIDE: Final = "You brief coding agents on the repositories that they will work in."
CODER: Final = (
    "You are a coding agent in a git worktree. Look at the code, make the smallest edit that does"
    " the task, run the tests, and then answer with one sentence that says what you changed."
)


def make_model(url: str, name: str, api_key: str, *, cached: bool = False) -> ChatOpenAI:
    """Return the real OpenAI client, streaming, for any OpenAI-compatible endpoint.

    Args:
        url: the endpoint.
        name: of the model.
        api_key: for the endpoint.
        cached: ask no question twice; LangChain keeps the answers, in memory.
    """
    return ChatOpenAI(
        model=name,
        base_url=url,
        api_key=lambda: api_key,
        streaming=True,
        stream_usage=True,
        max_retries=6,
        timeout=120,
        cache=InMemoryCache() if cached else None,
    )


async def ask(model: ChatOpenAI, role: str, request: str) -> str:
    """Ask the model once and return its answer as text."""
    answer = await model.ainvoke([SystemMessage(role), HumanMessage(request)])
    return str(answer.text)


async def brief(model: ChatOpenAI, repository: Repository) -> str:
    """Ask what a coder has to know about the repository: the same question for every task."""
    readme = repository.root / "README.md"
    about = readme.read_text("utf-8", "replace")[:_LARGEST_FILE] if readme.exists() else ""
    names = "\n".join(sorted(p.name for p in repository.root.iterdir()))
    request = f"What has a newcomer to know of this repository?\n{about}\n{names}"
    return await ask(model, GUIDE, request)


async def execute_react_loop(
    model: ChatOpenAI, task: Task, briefing: str, worktree: Path, say: Callable[[str], None]
) -> str:
    """Let an agent do a task in a worktree; return its last words."""
    prompt = f"{CODER}\n\n{briefing}"
    agent = create_agent(model, tools=_tools(worktree, say), system_prompt=prompt, name="coder")
    request = f"Task {task['id']}: {task['title']}."
    if task["module"]:
        request += f" The code is in {task['module']}, its test is {task['test']}."
    result = await agent.ainvoke(
        {"messages": [HumanMessage(request)]}, {"recursion_limit": _RECURSION_LIMIT}
    )
    return str(result["messages"][-1].text)


def _tools(worktree: Path, say: Callable[[str], None]) -> list[BaseTool]:
    def inside(path: str) -> Path:
        found = (worktree / path).resolve()
        if not found.is_relative_to(worktree.resolve()) or ".git" in found.parts:
            raise ValueError(f"{path} is outside of the worktree")
        return found

    @tool
    async def list_files() -> str:
        """List the files of the worktree."""
        say("looks around")
        names = sorted(p for p in worktree.rglob("*") if p.is_file() and ".git" not in p.parts)
        return "\n".join(str(p.relative_to(worktree)) for p in names[:500])

    @tool
    async def read_file(path: str) -> str:
        """Return the text of a file."""
        say(f"reads {path}")
        try:
            return inside(path).read_text("utf-8")[:_LARGEST_FILE]
        except (OSError, ValueError) as error:
            return f"cannot read: {error}"

    @tool
    async def edit_file(path: str, old: str, new: str) -> str:
        """Replace `old`, which must occur exactly once in the file, by `new`."""
        say(f"edits {path}")
        try:
            file = inside(path)
            text = file.read_text("utf-8") if file.exists() else ""
            if old and text.count(old) != 1:
                return f"`old` occurs {text.count(old)} times in {path}; it must occur once"
            file.write_text(text.replace(old, new, 1) if old else new, "utf-8")
        except (OSError, ValueError) as error:
            return f"cannot edit: {error}"
        return "edited"

    @tool
    async def run_the_tests(name: str) -> str:
        """Run a unittest module such as tests.test_money."""
        say(f"runs {name}")
        passed, output = await run_tests(worktree, name)
        return f"{'passed' if passed else 'failed'}\n{output}"

    return [list_files, read_file, edit_file, run_the_tests]


def describe(tasks: list[Task]) -> str:
    """Return the plan and how far it is, for a prompt."""
    lines = []
    for task in tasks:
        needs = ", ".join(task["depends_on"]) or "nothing"
        lines.append(f"- {task['id']} ({task['status']}, needs {needs}): {task['title']}")
    return "\n".join(lines)


def files_of(repository: Repository) -> str:
    """Return the names of the repository's files, for a prompt."""
    names: Any = sorted(p for p in repository.root.rglob("*") if p.is_file())
    names = [p for p in names if ".git" not in p.parts][:300]
    return "\n".join(str(p.relative_to(repository.root)) for p in names)

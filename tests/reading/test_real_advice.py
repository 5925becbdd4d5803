"""Advice about real runs: LangGraph, the OpenAI client over HTTP, git with its hooks and locks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from ..demo.test_demo import demo
from ..llm_server import Reply, serving
from .test_report import cli

PROGRAM = """
import subprocess, sys
from pathlib import Path
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from openai import OpenAI

import otel_orchestrator as otel

url, root = sys.argv[1:]
otel.configure("wasteful")
otel.instrument(git_trace2=True)
client = OpenAI(base_url=url, api_key="none", max_retries=0)


def ask(question):
    messages = [{"role": "user", "content": question}]
    client.chat.completions.create(model="gpt-4o", messages=messages)


def git(*words, cwd=root, check=True):
    subprocess.run(["git", "-C", cwd, *words], check=check, capture_output=True)


def survey(state):
    for question in ("What is a?", "What is b?", "What is c?"):
        ask(question)
    return {}


def again(state):
    ask("What is a?")
    return {}


def commit(state):
    for number in range(3):
        Path(root, "file").write_text(str(number))
        git("commit", "-qam", "more")
    return {}


def throw_away(state):
    for number in range(3):
        folder = f"{root}-{number}"
        git("worktree", "add", "-q", "--detach", folder)
        git("worktree", "remove", "--force", folder)
    return {}


def collide(state):
    lock = Path(root, ".git", "index.lock")
    lock.touch()
    git("add", ".", check=False)
    lock.unlink()
    git("add", ".")
    return {}


class State(TypedDict, total=False):
    done: bool


graph = StateGraph(State)
graph.add_sequence([survey, again, commit, throw_away, collide])
graph.add_edge(START, "survey")
graph.add_edge("collide", END)
graph.compile().invoke({})
otel.shutdown()
"""


def advice_of(folder: Path) -> dict[str, dict[str, Any]]:
    done = cli("report", "--format", "json", folder=folder)
    assert done.returncode == 0, done.stderr
    return {a["kind"]: a for a in json.loads(done.stdout)["advice"]}


def test_what_a_program_wastes_is_found_in_its_run(tmp_path: Path) -> None:
    """Each node wastes something else, and each piece of advice names what and how often."""
    root, folder = tmp_path / "shop", tmp_path / "runs"
    root.mkdir()
    who = {
        f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "GIT_"))} | who
    for words in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "first"]):
        (root / "file").write_text("")
        subprocess.run(["git", *words], cwd=root, env=environment, check=True)
    hook = root / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nsleep 0.3\n")
    hook.chmod(0o755)
    # A worktree of one small file takes hardly longer than what is not worth an advice.
    (root / ".git" / "info" / "attributes").write_text("file filter=slow\n")
    smudge = ["config", "filter.slow.smudge", "sleep 0.1; cat"]
    subprocess.run(["git", *smudge], cwd=root, env=environment, check=True)
    with serving() as llm:
        llm.replies = [Reply(think_s=0.2) for _ in range(4)]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"{llm.url}/v1", str(root)],
            env={**environment, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder)},
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")
    found = advice_of(folder)
    assert {kind: (a["subject"], a["count"]) for kind, a in found.items()} == {
        "sequential_calls": ("node survey", 3),
        "equal_prompts": ("gpt-4o", 1),
        "batch_commits": ("", 3),
        "hooks_dominate": ("pre-commit", 3),
        "reuse_worktrees": ("", 3),
        "lock_contention": ("index", 1),
    }
    at_least = {
        "sequential_calls": 0.4,
        "equal_prompts": 0.2,
        "hooks_dominate": 0.9,
        "reuse_worktrees": 0.2,
    }
    for kind, seconds in at_least.items():
        assert seconds <= found[kind]["saved_at_most_s"] <= found[kind]["spent_s"], kind
    text = cli("report", folder=folder).stdout
    run = read_run(find_run(None, folder))
    commands = [s for s in run.spans if s.category == "git" and Attr.GIT_PART not in s.attributes]
    parts = [s for s in run.spans if Attr.GIT_PART in s.attributes]
    [of_git] = [r for r in summarize(run).categories if r.category == "git"]
    assert (of_git.durations.count, len(commands)) == (11, 11), "not what git did inside of them"
    assert len(parts) >= 3
    assert "→ Make the hook pre-commit faster: it ran 3 times" in text
    assert "→ Let git take turns: 1 command failed on the lock index" in text


@pytest.mark.timeout(400)
def test_the_demo_s_workers_all_ask_the_same_first(tmp_path: Path) -> None:
    """Each of ten workers asks what it has to know of the repository, before its agent begins."""
    assert demo(tmp_path, "--speed", "0.02", module="cli").returncode == 0
    run = read_run(find_run(None, tmp_path))
    nodes = {s.span_id for s in run.spans if s.name == "node worker"}
    first = [s for s in run.spans if s.operation == "chat" and s.parent_id in nodes]
    assert len(first) == 10
    answered = min(s.end_ns or 0 for s in first)
    again = [s for s in first if s.start_ns >= answered]
    seconds = sum(map(run.duration_of, again)) / 1e9
    told = advice_of(tmp_path)["equal_prompts"]
    assert told["subject"] == first[0].attributes[Attr.REQUEST_MODEL]
    assert told["count"] == len(again)
    assert told["saved_at_most_s"] == pytest.approx(seconds, abs=1e-6)
    assert f"({len(again)} of 64 calls)" in cli("report", folder=tmp_path).stdout, "what-if agrees"

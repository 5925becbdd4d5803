"""The reference orchestrator: real work, the same for the same seed, and clear about mistakes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.cli.demo import command
from otel_orchestrator.demo import plan
from otel_orchestrator.demo.__main__ import parser
from otel_orchestrator.demo.llm_server import LLMBehaviour, fate_of
from otel_orchestrator.demo.repository import run_tests
from otel_orchestrator.model import Run, Span
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run


def demo(folder: Path, *arguments: str, module: str = "demo") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"otel_orchestrator.{module}"]
    if module == "cli":
        command.append("demo")
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment(folder)
    )


def environment(folder: Path) -> dict[str, str]:
    others = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return {**others, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), "COLUMNS": "100"}


# Whole runs of the demo, each with some hundred processes.
pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Finished:
    """A demo that is over: what it printed, its run, its record, what it left in the repository."""

    output: str
    run: Run
    asked: list[dict[str, Any]]
    delays: list[dict[str, Any]]
    tree: str
    patches: list[str]

    @property
    def answers(self) -> int:
        """How many answers the LLM gave."""
        return sum(line["status"] == 200 for line in self.asked)

    def spans(self, name: str) -> list[Span]:
        return [s for s in self.run.spans if s.name == name]


def finish(folder: Path, *arguments: str) -> Finished:
    record, runs = folder / "record.jsonl", folder / "runs"
    given = ["--speed", "0.02", "--keep", "--record", str(record), *arguments]
    done = demo(runs, *given, module="cli")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    root = re.findall(r"The repository is kept in (.+)", done.stdout)[0]

    def git(*words: str, given: str | None = None) -> str:
        return subprocess.check_output(["git", "-C", root, *words], text=True, input=given)

    tree = git("rev-parse", "main^{tree}")
    patches = git("patch-id", "--stable", given=git("log", "-p", "--no-merges", "main"))
    shutil.rmtree(Path(root).parent)
    return Finished(
        done.stdout,
        read_run(find_run(None, runs)),
        [line for line in lines if "status" in line],
        [line for line in lines if "slowed" in line],
        tree,
        sorted(line.split()[0] for line in patches.splitlines()),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One quick demo through the command line, as `make demo` runs it."""
    return finish(tmp_path_factory.mktemp("demo"), "--speed", "0.2")


@pytest.fixture(scope="module")
def continuous(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Continuous dispatch, and an LLM that is asked nothing twice."""
    return finish(tmp_path_factory.mktemp("demo"), "--dispatch", "continuous", "--llm-cache")


@pytest.fixture(scope="module")
def slowed(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Everything that can be slowed, by 0.1 to 0.4 s."""
    delays = {"git": 5, "director": 20, "stock": 15, "llm": 10}
    given = [word for what, s in delays.items() for word in ("--slow", f"{what}={s}")]
    return finish(tmp_path_factory.mktemp("demo"), *given)


def test_the_tests_fail_before_and_pass_after_and_the_demo_says_so(finished: Finished) -> None:
    output = finished.output
    assert "10 of 10 tasks are done and merged." in output
    assert "Tests of the shop: 0 of 10 passed before, 10 of 10 pass now." in output


def test_it_shows_progress_and_ends_with_the_report_and_what_to_type_next(
    finished: Finished,
) -> None:
    output, run = finished.output, finished.run
    assert output.index("director makes the plan") < output.index("strategist judges and merges")
    assert output.index("10 of 10 pass now") < output.index("Verdict: what to optimise")
    assert f"otel-orchestrator report {run.id} --all" in output
    assert "docker compose up -d" in output


def paths_of(run: Run) -> set[str]:
    by_id = {s.span_id: s for s in run.spans}

    def path_of(span: Any) -> str:
        names = []
        while span is not None:
            names.append(span.name)
            span = by_id.get(span.parent_id)
        return " > ".join(reversed(names))

    return {path_of(s) for s in run.spans}


def test_the_run_has_the_designs_tree(finished: Finished) -> None:
    paths = paths_of(finished.run)
    worker = "invoke_workflow orchestrator > loop > superstep > task worker > node worker"
    assert f"{worker} > git worktree add" in paths
    assert f"{worker} > git commit" in paths
    assert f"{worker} > chat local-llm > POST" in paths
    assert f"{worker} > invoke_agent coder > chat local-llm > POST" in paths
    assert f"{worker} > invoke_agent coder > execute_tool edit_file" in paths
    strategist = "invoke_workflow orchestrator > loop > superstep > node strategist"
    assert f"{strategist} > git merge" in paths
    assert f"{strategist} > git worktree remove" in paths
    assert len(forest_of(finished.run.spans).roots) == 1
    assert finished.run.warnings == ()


def test_one_task_is_much_slower_than_its_siblings(finished: Finished) -> None:
    run = finished.run
    slow = {s.span.text(Attr.TASK_ID): s.took_ns for s in summarize(run).slowest_tasks}
    # Three times; on a busy machine all have that much more that is not the LLM.
    assert slow["invoice"] >= 2 * max(slow["cart"], slow["search"])


def test_every_attempt_that_the_server_saw_is_a_span(finished: Finished) -> None:
    posts = [s for s in finished.run.spans if s.name == "POST"]
    assert len(posts) == len(finished.asked)
    statuses = Counter(s.attributes["http.status_code"] for s in posts)
    assert statuses == Counter(line["status"] for line in finished.asked)
    assert statuses[429] + statuses[500] >= 1, "the seed brings some trouble"


def test_the_queue_is_in_the_run_file(finished: Finished) -> None:
    run = finished.run
    queue = summarize(run).queue
    assert max(p.active for p in queue) == 3, "three workers"
    assert max(p.waiting for p in queue) == 6
    last = queue[-1]
    assert (last.ready, last.active, last.waiting) == (0, 0, 0)


# --- continuous dispatch ---


def test_a_seed_makes_the_same_repository_however_it_is_done(
    finished: Finished, continuous: Finished, slowed: Finished
) -> None:
    assert len(finished.patches) == 11, "ten tasks, and the shop as it was"
    assert finished.tree == continuous.tree == slowed.tree
    assert finished.patches == continuous.patches == slowed.patches


def test_continuous_dispatch_has_tasks_queues_and_nodes_in_one_superstep(
    continuous: Finished,
) -> None:
    paths = paths_of(continuous.run)
    task = "invoke_workflow orchestrator > loop > superstep > node dispatch > task worker"
    assert f"{task} > wait queue" in paths
    assert f"{task} > node worker > git worktree add" in paths
    assert f"{task} > node worker > git merge" in paths, "of two dependencies, into the worktree"
    assert f"{task} > node worker > invoke_agent coder > chat local-llm > POST" in paths
    assert not any("wait barrier" in path for path in paths)
    assert continuous.run.warnings == ()
    assert len(continuous.spans("node strategist")) == 1


def test_with_continuous_dispatch_a_task_starts_when_its_dependencies_have_ended(
    continuous: Finished,
) -> None:
    tasks = {s.text(Attr.TASK_ID): s for s in continuous.spans("task worker")}
    ended = {i: s.end_ns or 0 for i, s in tasks.items()}
    for task in plan.shipped_tasks():
        needed = [ended[d] for d in task["depends_on"]]
        assert tasks[task["id"]].start_ns >= max(needed, default=0)
    assert tasks["orders"].start_ns < ended["invoice"], "no straggler holds it"


@pytest.mark.parametrize(
    ("what", "spans", "times"),
    [
        ("git", {"git checkout", "git commit", "git merge"}, 30),
        ("director", {"node director"}, 5),
        ("stock", {"node worker"}, 1),
        ("llm", {"chat local-llm"}, None),
    ],
)
def test_slow_slows_that_and_nothing_else(
    slowed: Finished, what: str, spans: set[str], times: int | None
) -> None:
    delays = [d for d in slowed.delays if d["slowed"] == what]
    assert len(delays) == (times or slowed.answers)
    for delay in delays:
        assert any(
            s.name in spans
            and s.start_ns <= delay["began_ns"]
            and delay["ended_ns"] <= (s.end_ns or 0)
            for s in slowed.run.spans
        )


def test_what_is_slower_answers_the_same(finished: Finished, slowed: Finished) -> None:
    assert slowed.answers == finished.answers
    assert not finished.delays


def test_a_cache_answers_what_was_asked_before(finished: Finished, continuous: Finished) -> None:
    calls = continuous.spans("chat local-llm")
    cached = sum(s.attributes.get(Attr.LLM_CACHED) is True for s in calls)
    assert cached + continuous.answers == len(calls)
    assert cached >= 6, "ten workers ask what they have to know, and three of them at once"
    assert all(s.attributes.get(Attr.LLM_CACHED) is None for s in finished.spans("chat local-llm"))


def test_a_faster_llm_has_the_same_troubles() -> None:
    asked = [{"role": "user", "content": "anything"}]
    usual = fate_of(LLMBehaviour(), asked, 0)
    faster = fate_of(LLMBehaviour(llm_speed=0.5), asked, 0)
    assert faster.status == usual.status
    assert faster.first_token_s == pytest.approx(usual.first_token_s / 2)
    assert faster.token_s == pytest.approx(usual.token_s / 2)


def test_the_tests_output_is_the_same_wherever_they_ran(tmp_path: Path) -> None:
    outputs = set()
    for name in ("here", "and-over-there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "test_it.py").write_text(
            "import unittest\n\nclass It(unittest.TestCase):\n"
            "    def test(self):\n        self.fail(__file__)\n"
        )
        passed, output = asyncio.run(run_tests(folder, "test_it"))
        assert not passed
        outputs.add(output)
    assert len(outputs) == 1
    assert str(tmp_path) not in outputs.pop()


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "0"], "--workers has to be 1 or more"),
        (["--workers", "two"], "invalid int value"),
        (["--speed", "0"], "--speed has to be above 0"),
        (["--llm-speed", "-1"], "--llm-speed has to be above 0"),
        (["--dispatch", "soon"], "invalid choice"),
        (["--slow", "git"], "type seconds, such as --slow git=2"),
        (["--slow", "git=nan"], "type seconds"),
        (["--slow", "nobody=1"], "WHAT is one of calendar, cart, director, git"),
        (["--record", "nowhere/record.jsonl"], "no such folder"),
        (["--llm-url", "http://localhost:1", "--model", "m", "--slow", "llm=1"], "local LLM"),
        (["--llm-url", "localhost"], "is no URL"),
        (["--llm-url", "http://localhost:1/v1", "--model", "m"], "does not answer"),
        (["--llm-url", "http://localhost:1"], "needs --model"),
        (["--model", "m"], "need --llm-url"),
        (["--repo", "."], "need --llm-url"),
        (["--llm-url", "http://localhost:1", "--model", "m", "--repo", "."], "needs --objective"),
        (
            ["--llm-url", "http://localhost:1", "--model", "m", "--repo", "/", "--objective", "o"],
            "no git repository",
        ),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = demo(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr


def test_both_command_lines_and_the_docs_have_the_same_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text()
    ours = {name for o in command.params for name in o.opts}
    assert set(re.findall(r"--[a-z-]+", parser().format_help())) - {"--help"} == ours
    assert set(re.findall(r"`(--[a-z-]+)", page)) | {"--llm-url", "--model", "--objective"} == ours


# --- the local LLM ---


def test_it_stops_as_by_ctrl_c_when_nobody_reads_any_more(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "otel_orchestrator.cli", "demo"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        # What a shell starts in the background is told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in said
    run = read_run(find_run(None, tmp_path))
    assert summarize(run).outcome == "cancelled"


def test_a_plan_with_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="which is no task"):
        plan.from_json('[{"id": "a", "depends_on": ["b"]}]')
    with pytest.raises(ValueError, match="no JSON list"):
        plan.from_json("I would rather not")


def test_libraries_that_do_not_fit_each_other_are_one_line(tmp_path: Path) -> None:
    """LangGraph sets no bounds that hold: pip installs what cannot be imported together."""
    (tmp_path / "langchain").mkdir()
    (tmp_path / "langchain" / "__init__.py").write_text("")
    (tmp_path / "langchain" / "agents.py").write_text("from langgraph.runtime import NotThereYet\n")
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.demo"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "do not fit each other: cannot import name 'NotThereYet'" in done.stderr
    assert "pip install --upgrade 'otel-orchestrator[demo]'" in done.stderr

"""Which span a git process becomes: its name, its parent, what it tells about where it ran."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.git import process as process_module
from otel_orchestrator.lifecycle import spans as our_spans
from otel_orchestrator.semconv import Attr, Metric

from ..trees import attributes_of, tree
from .ways import AS, UNSEEN, WAYS, by_run, exec_git, plain

# By a thread, because a uvloop that waits for a process while it is closed is deaf to signals.
pytestmark = pytest.mark.timeout(60, method="thread")


@pytest.mark.parametrize("way", UNSEEN, ids=lambda f: f.__name__)
def test_what_cannot_be_seen_is_left_alone(
    traced: InMemorySpanExporter, repository: Path, way: Callable[[Path], None]
) -> None:
    with otel.node("worker"):
        way(repository)
    assert tree(traced.get_finished_spans()) == "node worker"


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_every_way_of_starting_git_is_one_span_below_the_current_one(
    traced: InMemorySpanExporter, repository: Path, way: Callable[[Path], None]
) -> None:
    with otel.node("worker"):
        way(repository)
    spans = traced.get_finished_spans()
    assert tree(spans) == "node worker\n  git status"
    span = next(s for s in spans if s.name == "git status")
    told = attributes_of(span)
    assert told.pop(Attr.PROCESS_PID) > 0
    assert told.pop(Attr.GIT_OUTPUT_SIZE, 0) >= 0
    assert told == {
        Attr.STATE: "working",
        Attr.CATEGORY: "git",
        Attr.OUTCOME: "ok",
        Attr.PROCESS_EXECUTABLE: "git",
        Attr.PROCESS_EXIT_CODE: 0,
        Attr.REPOSITORY_NAME: "project",
        Attr.WORKTREE: "project",
        Attr.REF_HEAD_NAME: "main",
    }
    assert span.kind.name == "CLIENT"


def test_worktrees_branches_and_clones_are_named(
    traced: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    worktree, second = tmp_path / "wt-1", tmp_path / "wt-2"

    def run(*arguments: str, cwd: Path = repository) -> tuple[Any, ...]:
        subprocess.run(["git", *arguments], cwd=cwd, capture_output=True)
        span = traced.get_finished_spans()[-1]
        told = attributes_of(span)
        keys = (Attr.REPOSITORY_NAME, Attr.WORKTREE, Attr.REF_HEAD_NAME)
        return (span.name, *(told.get(key) for key in keys))

    def write(text: str) -> None:
        (worktree / "file").write_text(text)

    added = run("worktree", "add", "-q", "-b", "feature", str(worktree))
    assert added == ("git worktree add", "project", "wt-1", "feature")
    write("two\n")
    committed = run(*AS, "commit", "-qam", "second", cwd=worktree)
    assert committed == ("git commit", "project", "wt-1", "feature")
    switched = run("switch", "-q", "-c", "team/other", cwd=worktree)
    assert switched == ("git switch", "project", "wt-1", "team/other")
    named_by_git = run("worktree", "add", "-q", "../wt-2")
    assert named_by_git == ("git worktree add", "project", "wt-2", "wt-2")
    failed = run("worktree", "add", "-q", "../wt-3", "no-such-commit")
    assert failed == ("git worktree add", "project", "wt-3", None)
    (second / "below").mkdir()
    below = run("-C", "..", "-C", "wt-2/below", "status")
    assert below == ("git status", "project", "wt-2", "wt-2")
    removed = run("worktree", "remove", "--force", f"{second}/")
    assert removed == ("git worktree remove", "project", "wt-2", None)
    cloned = run("clone", "-q", "--bare", str(repository), str(tmp_path / "copy.git"))
    assert cloned == ("git clone", "copy", None, None)
    bare = run("log", cwd=tmp_path / "copy.git")
    assert bare == ("git log", "copy", None, "main")
    elsewhere = run("--git-dir", "project/.git", "--work-tree=project", "status", cwd=tmp_path)
    assert elsewhere == ("git status", "project", "project", "main")
    created = run("init", "-q", "--initial-branch", "trunk", "new", cwd=tmp_path)
    assert created == ("git init", "new", None, None)
    detached = run("checkout", "-q", "--detach")
    assert detached == ("git checkout", "project", "project", None)
    outside = run("status", cwd=tmp_path)
    assert outside == ("git status", None, None, None)


def test_the_environment_names_the_repository(
    traced: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "GIT_DIR": str(repository / ".git"), "GIT_WORK_TREE": "project"}
    subprocess.run(["git", "status"], cwd=tmp_path, env=environment, capture_output=True)
    line = "GIT_DIR=project/.git git log | cat"
    subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True)
    told = [attributes_of(s) for s in traced.get_finished_spans()]
    assert [t[Attr.REPOSITORY_NAME] for t in told] == ["project", "project"]
    assert [t.get(Attr.WORKTREE) for t in told] == ["project", None]


def test_a_folder_only_a_shell_knows_names_no_repository(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    """Rather no name than that of the folder the program stands in."""
    for line in ("cd $PWD/.. && git status", "git -C $OLDPWD/x status", "cd - && git status"):
        subprocess.run(line, shell=True, cwd=repository, capture_output=True)
    spans = traced.get_finished_spans()
    assert tree(spans).count("git status") == 3
    assert {attributes_of(s).get(Attr.REPOSITORY_NAME) for s in spans} == {None}


def test_a_folder_that_is_gone_costs_no_span(
    traced: InMemorySpanExporter,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    subprocess.run(["git", "--version"], check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    assert tree(traced.get_finished_spans()) == "git version"


def test_other_programs_have_no_span(traced: InMemorySpanExporter, tmp_path: Path) -> None:
    fake = tmp_path / "git-like"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    subprocess.run(["true"], check=True)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    subprocess.run("echo git status", shell=True, check=True, capture_output=True)
    subprocess.run("git --version && sleep 0", shell=True, check=True, capture_output=True)
    subprocess.run(["git", "status"], executable=fake, check=True)
    subprocess.run([str(fake)], check=True)
    assert traced.get_finished_spans() == ()


def test_arguments_in_an_iterator_are_left_to_popen(traced: InMemorySpanExporter) -> None:
    """Looking into it would empty it."""
    # A list is what the stubs allow; an iterator is what Popen takes as well.
    words: Any = iter(["echo", "hello"])
    assert subprocess.check_output(words) == b"hello\n"
    words = {"git": 1, "--version": 2}.keys()
    assert subprocess.check_output(words).startswith(b"git version")
    assert tree(traced.get_finished_spans()) == "git version"


def test_two_hundred_at_once_each_have_their_own_parent(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    async def one(i: int, gate: asyncio.Semaphore) -> None:
        async with gate:
            with otel.node(f"n{i % 2}"):
                await exec_git(repository)

    async def all_of_them() -> None:
        gate = asyncio.Semaphore(20)
        await asyncio.gather(*(one(i, gate) for i in range(200)))

    asyncio.run(all_of_them())
    spans = traced.get_finished_spans()
    nodes = {s.context.span_id for s in spans if s.name.startswith("node")}
    parents = [s.parent.span_id for s in spans if s.name == "git status" and s.parent]
    assert len(parents) == len(set(parents)) == 200
    assert set(parents) == nodes


def test_it_works_in_threads(traced: InMemorySpanExporter, repository: Path) -> None:
    threads = [threading.Thread(target=by_run, args=(repository,)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert tree(traced.get_finished_spans()) == "\n".join(["git status"] * 8)


SECRET = "hunter2-token"
ADDRESSES = [
    f"https://user:{SECRET}@localhost:1/x.git",
    f"https://{SECRET}@localhost:1",
    f"https://user:{SECRET}@localhost:1/",
    f"https://user:a/{SECRET}@localhost:1/",
    f"https://user:a?{SECRET}@localhost:1/x.git",
    f"https://localhost:1/x.git?token={SECRET}",
    f"https://localhost:1/x.git#{SECRET}",
    f"{SECRET}@localhost:x.git",
    f"ext::sh -c 'echo {SECRET}'",
]


def secret_commands(repository: Path, address: str) -> None:
    """Run nine git processes with secrets wherever one may stand."""
    environment = {**os.environ, "MY_TOKEN": SECRET, "GIT_SSH_COMMAND": "false"}
    for words in (
        ["git", "-c", f"http.extraHeader=Authorization: {SECRET}", "fetch", address],
        ["git", "push", address],
        ["git", "clone", address],
        ["git", "clone", "--config", SECRET, address, "folder"],
        ["git", *AS, "commit", "--allow-empty", "-qm", SECRET],
        ["git", SECRET],
        ["git", "stash", SECRET],
        ["git", "remote", "set-url", "origin", address],
    ):
        subprocess.run(words, cwd=repository, capture_output=True, env=environment)
    line = f"T={SECRET} git ls-remote '{address.replace(chr(39), '')}'"
    subprocess.run(line, cwd=repository, capture_output=True, shell=True, env=environment)


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_stay_at_home(
    traced: InMemorySpanExporter, repository: Path, address: str, measured: InMemoryMetricReader
) -> None:
    plain("remote", "add", "origin", address, cwd=repository)
    traced.clear()
    secret_commands(repository, address)
    spans = traced.get_finished_spans()
    assert len(spans) == 9
    data = measured.get_metrics_data()
    assert data is not None
    everything = "".join(s.to_json() for s in spans) + data.to_json()
    assert SECRET not in everything
    assert str(repository.parent) not in everything, "no path leaves the process"
    clones = [attributes_of(s).get(Attr.REPOSITORY_NAME) for s in spans if s.name == "git clone"]
    assert clones[0] in ("x", None)
    assert clones[1] == "folder"


def test_durations_are_measured_by_command(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, repository: Path
) -> None:
    by_run(repository)
    by_run(repository)
    data = measured.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert metric.name == Metric.GIT_DURATION
    assert dict(point.attributes or {}) == {Attr.GIT_COMMAND: "status"}
    assert point.count == 2  # type: ignore[union-attr]


def test_no_file_is_read_for_a_span_that_is_not_sampled(
    traced: InMemorySpanExporter, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    our_spans.use_provider(TracerProvider(sampler=ALWAYS_OFF))
    monkeypatch.setattr(process_module, "place_of", None)
    by_run(repository)
    assert traced.get_finished_spans() == ()

"""How a git process ends, and that it always does; the program notices nothing of us."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import git as gitpython
import pytest
import uvloop
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.git import GitInstrumentor
from otel_orchestrator.lifecycle import spans as our_spans
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .ways import AS, by_run, exec_git, plain

pytestmark = pytest.mark.timeout(60, method="thread")

SERVER = ["git", "cat-file", "--batch"]
"""Runs until its input is closed."""


def ending(traced: InMemorySpanExporter) -> tuple[str, Any]:
    told = attributes_of(traced.get_finished_spans()[-1])
    return told[Attr.OUTCOME], told.get(Attr.ERROR_TYPE)


def test_a_failure_is_an_error_with_its_exit_code(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    subprocess.run(["git", "merge", "no-such-branch"], cwd=repository, capture_output=True)
    assert ending(traced) == ("error", "1")
    subprocess.run(["git", "status"], cwd=repository.parent, capture_output=True)
    assert ending(traced) == ("error", "128")
    assert uvloop.run(exec_git(repository, "no-such-command")) == 1
    assert ending(traced) == ("error", "1")
    assert traced.get_finished_spans()[-1].status.status_code.name == "ERROR"
    with pytest.raises(gitpython.GitCommandError):
        gitpython.Git(repository).checkout("no-such-branch")
    assert ending(traced) == ("error", "1")


def test_a_merge_with_conflicts_fails(traced: InMemorySpanExporter, repository: Path) -> None:
    def commit(text: str) -> None:
        (repository / "file").write_text(text)
        plain(*AS, "commit", "-qam", text, cwd=repository)

    plain("switch", "-qc", "theirs", cwd=repository)
    commit("theirs")
    plain("switch", "-q", "main", cwd=repository)
    commit("ours")
    with otel.node("strategist"):
        merge = ["git", *AS, "merge", "theirs"]
        assert subprocess.run(merge, cwd=repository, capture_output=True).returncode == 1
        plain("merge", "--abort", cwd=repository)
    wanted = "node strategist\n  git merge [error]\n  git merge"
    assert tree(traced.get_finished_spans()[-3:]) == wanted


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (("diff", "--quiet"), "ok"),
        (("diff", "--exit-code"), "ok"),
        (("diff", "--no-index", "file", "/dev/null"), "ok"),
        (("diff", "--check"), "ok"),
        (("grep", "nowhere"), "ok"),
        (("merge-base", "--is-ancestor", "main", "first"), "ok"),
        (("config", "--get", "no.such"), "ok"),
        (("config", "no.such"), "ok"),
        (("config", "no-such", "value"), "error"),
        (("rev-parse", "--verify", "--quiet", "no-such"), "ok"),
        (("rev-parse", "--verify", "no-such"), "error"),
        (("show-ref", "--verify", "--quiet", "refs/heads/no"), "ok"),
        (("check-ignore", "file"), "ok"),
        (("check-ref-format", "a..b"), "ok"),
        (("symbolic-ref", "-q", "HEAD"), "ok"),
        (("symbolic-ref", "HEAD"), "error"),
        (("ls-remote", "--exit-code", ".", "no-such"), "ok"),
        (("cat-file", "-e", "0" * 40), "ok"),
        (("branch", "-d", "no-such"), "error"),
    ],
)
def test_an_exit_code_that_is_an_answer_is_no_error(
    traced: InMemorySpanExporter, repository: Path, arguments: tuple[str, ...], outcome: str
) -> None:
    plain("branch", "first", cwd=repository)
    plain(*AS, "commit", "--allow-empty", "-qm", "second", cwd=repository)
    plain("checkout", "-q", "--detach", cwd=repository)
    (repository / "file").write_text("changed \n")
    ran = subprocess.run(["git", *arguments], cwd=repository, capture_output=True)
    assert ran.returncode != 0
    assert ending(traced)[0] == outcome


def test_the_exit_code_of_a_pipe_is_not_gits(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    subprocess.run("git log | grep -q nowhere", shell=True, cwd=repository)
    assert ending(traced) == ("ok", None)
    assert attributes_of(traced.get_finished_spans()[-1])[Attr.PROCESS_EXIT_CODE] == 1


def test_a_killed_git_names_its_signal(traced: InMemorySpanExporter, repository: Path) -> None:
    process = subprocess.Popen(["git", "hash-object", "--stdin"], stdin=subprocess.PIPE)
    process.kill()
    process.communicate()
    assert ending(traced) == ("error", "SIGKILL")
    told = attributes_of(traced.get_finished_spans()[-1])
    assert (told[Attr.GIT_SIGNAL], told[Attr.PROCESS_EXIT_CODE]) == ("SIGKILL", -9)


def test_a_git_killed_in_uvloop_names_its_signal(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    async def kill() -> None:
        process = await asyncio.create_subprocess_exec(
            "git", "hash-object", "--stdin", stdin=subprocess.PIPE
        )
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == -15

    uvloop.run(kill())
    assert ending(traced) == ("error", "SIGTERM")


def test_a_timeout_is_the_programs_own(traced: InMemorySpanExporter, repository: Path) -> None:
    read, write = os.pipe()  # an input that never comes
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["git", "hash-object", "--stdin"], stdin=read, timeout=0.1)
    os.close(read)
    os.close(write)
    assert ending(traced) == ("error", "SIGKILL")


def test_a_git_that_cannot_start_is_an_error(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    nowhere = repository / "nowhere"
    with pytest.raises(FileNotFoundError):
        subprocess.run(["git", "status"], cwd=nowhere)
    assert tree(traced.get_finished_spans()) == "git status [error]"
    for run in (asyncio.run, uvloop.run):
        with pytest.raises(FileNotFoundError):
            run(exec_git(nowhere))
        assert ending(traced) == ("error", "FileNotFoundError")
    assert [s.name for s in traced.get_finished_spans()] == ["git status"] * 3


def test_a_long_lived_process_is_no_error_and_no_work(
    traced: InMemorySpanExporter, repository: Path, measured: InMemoryMetricReader
) -> None:
    """GitPython keeps `cat-file` waiting for questions, and ends it by a signal."""
    repo = gitpython.Repo(repository)
    assert repo.head.commit.tree.hexsha
    repo.close()
    del repo
    gc.collect()
    by_run(repository)
    served = [s for s in traced.get_finished_spans() if s.name == "git cat-file"]
    assert served
    assert {attributes_of(s)[Attr.OUTCOME] for s in served} == {"ok"}
    assert {attributes_of(s)[Attr.STATE] for s in served} == {"container"}
    data = measured.get_metrics_data()
    assert data is not None
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert "cat-file" not in [(p.attributes or {})[Attr.GIT_COMMAND] for p in points]


def test_a_process_nobody_waits_for_is_abandoned(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    """Its span lasts until the Popen object is gone, and ends outside of any finalizer."""
    read, write = os.pipe()
    with warnings.catch_warnings(), otel.node("worker"):
        warnings.simplefilter("ignore", ResourceWarning)
        process = subprocess.Popen(SERVER, cwd=repository, stdin=read)
        pid = process.pid
        del process
        gc.collect()
        assert traced.get_finished_spans() == ()
    spans = traced.get_finished_spans()
    assert tree(spans) == "node worker\n  git cat-file [abandoned]"
    abandoned, node = spans
    assert (abandoned.end_time or 0) <= (node.end_time or 0)
    assert attributes_of(abandoned)[Attr.PROCESS_PID] == pid
    os.close(read)
    os.close(write)
    by_run(repository)  # reaps it: no second end


LIST = ["git", "ls-tree", "-r", "main"]
"""Writes more than a pipe holds, so that it waits for who reads it."""


def leave_a_block(root: Path) -> None:
    with subprocess.Popen(LIST, cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()


def hand_it_to_head(root: Path) -> None:
    process = subprocess.Popen(LIST, cwd=root, stdout=subprocess.PIPE)
    assert process.stdout
    head = subprocess.Popen(["head", "-1"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    process.stdout.close()
    assert (head.wait(), process.wait()) == (0, -signal.SIGPIPE)


def close_and_drop(root: Path) -> None:
    process = subprocess.Popen(LIST, cwd=root, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del process
        gc.collect()
    our_spans.make_late_spans()


@pytest.mark.parametrize("leave", [leave_a_block, hand_it_to_head, close_and_drop])
def test_a_process_whose_reader_left_is_abandoned(
    traced: InMemorySpanExporter, large: Path, leave: Callable[[Path], None]
) -> None:
    leave(large)
    (span,) = traced.get_finished_spans()
    assert tree([span]) == "git ls-tree [abandoned]"
    assert attributes_of(span)[Attr.GIT_SIGNAL] == "SIGPIPE"


def read_and_close(command: list[str]) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read()


def read_complaints(command: list[str], stdout: int | None) -> None:
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE) as process:
        assert process.stderr
        process.stderr.read()


def read_complaints_while_another_reads(command: list[str]) -> None:
    read, write = os.pipe()
    read_complaints(command, write)
    os.close(write)
    os.close(read)


@pytest.fixture
def breaks_off(tmp_path: Path) -> str:
    """A git that dies of a broken pipe."""
    broken = tmp_path / "git"
    broken.write_text("#!/bin/sh\nkill -PIPE $$\n")
    broken.chmod(0o700)
    return str(broken)


@pytest.mark.parametrize("stdout", [subprocess.PIPE, subprocess.DEVNULL])
def test_a_process_whose_complaints_nobody_wants_is_abandoned(
    traced: InMemorySpanExporter, breaks_off: str, stdout: int
) -> None:
    read_complaints([breaks_off, "log"], stdout)
    assert tree(traced.get_finished_spans()) == "git log [abandoned]"


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("log", lambda command: subprocess.run(command, stdout=subprocess.PIPE)),
        ("log", lambda command: subprocess.run(command, capture_output=True)),
        ("log", lambda command: subprocess.run(command, stdout=subprocess.DEVNULL)),
        ("log", lambda command: read_complaints(command, None)),
        ("log", read_complaints_while_another_reads),
        ("push", read_and_close),
        ("remote update", read_and_close),
        ("(other)", read_and_close),
    ],
)
def test_a_broken_pipe_that_the_program_did_not_close_is_an_error(
    traced: InMemorySpanExporter, breaks_off: str, name: str, use: Callable[[list[str]], object]
) -> None:
    use([breaks_off, *name.split()])
    assert tree(traced.get_finished_spans()) == f"git {name} [error]"
    assert ending(traced) == ("error", "SIGPIPE")


@pytest.mark.parametrize(("warning", "outcome"), [("ignore", "error"), ("error", "abandoned")])
def test_a_finished_process_nobody_waited_for_has_its_exit_code(
    traced: InMemorySpanExporter,
    repository: Path,
    warning: Literal["ignore", "error"],
    outcome: str,
) -> None:
    """If Popen looks for it: where its ResourceWarning is an error, it does not get that far."""
    process = subprocess.Popen(["git", "no-such-command"], stderr=subprocess.PIPE)
    assert process.stderr
    process.stderr.read()
    process.stderr.close()
    pid = process.pid
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with warnings.catch_warnings():
        warnings.simplefilter(warning, ResourceWarning)
        del process
        gc.collect()
    subprocess.run(["true"], check=True)
    assert tree(traced.get_finished_spans()) == f"git (other) [{outcome}]"
    if outcome == "abandoned":
        os.waitpid(pid, 0)


def test_a_process_that_outlives_its_loop_is_abandoned(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    read, write = os.pipe()

    async def start() -> int:
        process = await asyncio.create_subprocess_exec(*SERVER, cwd=repository, stdin=read)
        return process.pid

    with warnings.catch_warnings():
        # uvloop warns of a process that it is about to let go; if that raises, it never does, and
        # waits in C until the process ends, which is here for ever.
        warnings.simplefilter("ignore", ResourceWarning)
        pid = uvloop.run(start())
    os.close(read)
    os.close(write)
    os.waitpid(pid, 0)
    gc.collect()
    GitInstrumentor().uninstrument()
    assert tree(traced.get_finished_spans()) == "git cat-file [abandoned]"
    assert attributes_of(traced.get_finished_spans()[0])[Attr.PROCESS_PID] == pid

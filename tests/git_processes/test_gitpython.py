"""GitPython as programs use it: each command is a span, and what it ends itself is no error."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from pathlib import Path

import git as gitpython
import pytest
import uvloop
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.lifecycle import spans as our_spans
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .ways import AS, plain


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """A clone of a repository with enough commits that git waits for who reads their list."""
    stream = []
    for i in range(2_000):
        stream += ["commit refs/heads/main", "committer n <e@localhost> 0 +0000", "data 1", "x"]
        stream += ["from refs/heads/main^0" if i == 0 else "", f"M 100644 inline f{i % 9}"]
        stream += ["data 1", str(i % 10)]
    script = tmp_path / "stream"
    script.write_text("\n".join(line for line in stream if line) + "\n")
    plain("-c", f"alias.load=!git fast-import --quiet <{script}", "load", cwd=repository)
    plain("clone", "-q", "--bare", str(repository), str(tmp_path / "origin.git"), cwd=tmp_path)
    plain("clone", "-q", str(tmp_path / "origin.git"), str(tmp_path / "clone"), cwd=tmp_path)
    return tmp_path / "clone"


def drawn(traced: InMemorySpanExporter) -> list[str]:
    """Return what there is to see once GitPython has let go of everything."""
    gc.collect()
    our_spans.make_late_spans()
    return tree(traced.get_finished_spans(), show=[Attr.ERROR_TYPE]).splitlines()


class Progress(gitpython.RemoteProgress):
    def update(self, *_: object) -> None:
        """Look at it."""


def clone_with_progress(clone: Path) -> None:
    origin, progress = str(clone.parent / "origin.git"), Progress()
    there = str(clone.parent / "c2")
    gitpython.Repo.clone_from(origin, there, progress=progress).close()  # type: ignore[arg-type]


def fetch_pull_push(clone: Path) -> None:
    with gitpython.Repo(clone) as repo:
        repo.remote().fetch(progress=Progress())
        repo.remote().pull()
        repo.remote().push(progress=Progress())


def read_all_commits(clone: Path) -> None:
    with gitpython.Repo(clone) as repo:
        assert len(list(repo.iter_commits())) == 2_001


def work_in_a_worktree(clone: Path) -> None:
    with gitpython.Repo(clone) as repo:
        repo.git.worktree("add", str(clone.parent / "w"))
    with gitpython.Repo(clone.parent / "w") as worktree:
        (clone.parent / "w" / "new").write_text("x")
        worktree.git.add(".")
        worktree.git.execute(["git", *AS, "commit", "-qm", "x"])


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (clone_with_progress, ["git clone"]),
        (fetch_pull_push, ["git fetch", "git pull", "git push"]),
        (read_all_commits, ["git rev-list"]),
        (work_in_a_worktree, ["git worktree add", "git add", "git commit"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_command_is_a_span(
    clone: Path, traced: InMemorySpanExporter, use: Callable[[Path], None], expected: list[str]
) -> None:
    use(clone)
    # It asks git's version when it first needs it, and keeps cat-file to ask for objects.
    aside = {"git version", "git cat-file"}
    assert [line for line in drawn(traced) if line not in aside] == expected


def leave_the_list_of_commits(clone: Path) -> None:
    with gitpython.Repo(clone) as repo:
        for _ in repo.iter_commits():
            break


def drop_a_process(clone: Path) -> None:
    process = gitpython.Git(clone).rev_list("main", as_process=True)
    process.stdout.readline()


async def _terminate(clone: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "git", "hash-object", "--stdin", cwd=clone, stdin=asyncio.subprocess.PIPE
    )
    process.terminate()
    assert await process.wait() == -signal.SIGTERM


@pytest.mark.parametrize(
    "leave",
    [
        leave_the_list_of_commits,
        drop_a_process,
        lambda clone: asyncio.run(_terminate(clone)),
        lambda clone: uvloop.run(_terminate(clone)),
    ],
    ids=["iter_commits", "as_process", "asyncio", "uvloop"],
)
def test_a_process_that_the_program_ends_itself_is_abandoned(
    clone: Path, traced: InMemorySpanExporter, leave: Callable[[Path], None]
) -> None:
    leave(clone)
    (line,) = [line for line in drawn(traced) if line != "git cat-file"]
    assert line in ("git rev-list [abandoned]", "git hash-object [abandoned]")
    (span,) = [s for s in traced.get_finished_spans() if s.name != "git cat-file"]
    told = attributes_of(span)
    ended = (told[Attr.GIT_SIGNAL], told[Attr.PROCESS_EXIT_CODE])
    # GitPython 3.1.30 closes git's pipes before it looks whether it has to end it.
    assert ended in (("SIGTERM", -15), ("SIGPIPE", -13))


def test_a_timeout_is_an_error(clone: Path, traced: InMemorySpanExporter) -> None:
    words = ["git", "-c", "alias.s=!sleep 2", "s"]
    with pytest.raises(gitpython.GitCommandError):
        gitpython.Git(clone).execute(words, kill_after_timeout=0.2)
    assert drawn(traced) == ["git (other) [error] type=SIGKILL"]

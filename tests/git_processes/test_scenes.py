"""What orchestrators do with git, with Trace2 and without: the same tree, and it adds up.

Each command is timed around its call, too: its span is as long, within 20 ms.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.git import GitInstrumentor
from otel_orchestrator.semconv import Attr

from ..clocks import same, seconds, until_it_agrees
from ..trees import attributes_of, tree
from .scenes import check_sums, ended, hook
from .ways import AS, plain

pytestmark = pytest.mark.timeout(120, method="thread")


@pytest.fixture(params=[False, True], ids=["without trace2", "trace2"])
def scene(
    request: pytest.FixtureRequest,
    repository: Path,
    exported: InMemorySpanExporter,
    temporary: Path,
) -> Iterator[InMemorySpanExporter]:
    """git is instrumented; afterwards every part lies within its command, and nothing is left."""
    GitInstrumentor().instrument(git_trace2=request.param)
    yield exported
    GitInstrumentor().uninstrument()
    check_sums(exported.get_finished_spans())
    assert list(temporary.iterdir()) == []


class Clock:
    """Runs git and remembers how long it took."""

    def __init__(self) -> None:
        self.took_s: list[float] = []

    def run(self, *words: str, cwd: Path, code: int = 0) -> None:
        began = time.perf_counter()
        done = subprocess.run(["git", *AS, *words], cwd=cwd, capture_output=True)
        self.took_s.append(time.perf_counter() - began)
        assert done.returncode == code, done.stderr


def commands(exported: InMemorySpanExporter) -> list[ReadableSpan]:
    """Return the spans of the commands, without what git did inside of them."""
    ended()
    found = [
        s
        for s in exported.get_finished_spans()
        if s.name.startswith("git ") and Attr.GIT_PART not in attributes_of(s)
    ]
    return sorted(found, key=lambda s: s.start_time or 0)


def forget(exported: InMemorySpanExporter) -> None:
    """Take away what the last try left, and what is still to come of it."""
    ended()
    exported.clear()


def agree(exported: InMemorySpanExporter, clock: Clock, *drawn: str) -> None:
    """Check that these are the commands, that each took as long, and that they make up the node."""
    spans = commands(exported)
    assert tree(spans, show=[Attr.ERROR_TYPE]).splitlines() == list(drawn)
    for span, took_s in zip(spans, clock.took_s, strict=True):
        same(span.name, seconds(span), took_s)
    (node,) = [s for s in exported.get_finished_spans() if s.name == "node worker"]
    assert {s.parent.span_id for s in spans if s.parent} == {node.context.span_id}
    same("the node", seconds(node), sum(seconds(s) for s in spans))


def test_ten_thousand_files(scene: InMemorySpanExporter, large: Path, tmp_path: Path) -> None:
    numbers = count()

    def work() -> None:
        clock, tree_folder = Clock(), tmp_path / f"w{next(numbers)}"
        with otel.node("worker"):
            clock.run("worktree", "add", "-q", "--detach", str(tree_folder), "main", cwd=large)
            clock.run("rm", "-qr", "d1", cwd=tree_folder)
            clock.run("commit", "-qm", "x", cwd=tree_folder)
            clock.run("status", cwd=tree_folder)
            clock.run("worktree", "remove", str(tree_folder), cwd=large)
        names = ["git worktree add", "git rm", "git commit", "git status", "git worktree remove"]
        agree(scene, clock, *names)

    until_it_agrees(work, lambda: forget(scene))


def test_a_slow_hook(scene: InMemorySpanExporter, repository: Path) -> None:
    hook(repository, "pre-commit", "sleep 0.3")

    def work() -> None:
        clock = Clock()
        with otel.node("worker"):
            clock.run("commit", "--allow-empty", "-qm", "x", cwd=repository)
        assert clock.took_s[0] > 0.3
        agree(scene, clock, "git commit")

    until_it_agrees(work, lambda: forget(scene))


def test_a_held_lock(scene: InMemorySpanExporter, repository: Path) -> None:
    lock = repository / ".git" / "index.lock"

    def work() -> None:
        clock = Clock()
        lock.touch()
        with otel.node("worker"):
            clock.run("add", ".", cwd=repository, code=128)
            lock.unlink()
            clock.run("add", ".", cwd=repository)
        agree(scene, clock, "git add [error] type=index.lock", "git add")

    until_it_agrees(work, lambda: forget(scene))


def test_a_failing_merge(scene: InMemorySpanExporter, repository: Path) -> None:
    for branch in ("theirs", "ours"):
        plain("switch", "-qc", branch, "main", cwd=repository)
        (repository / "file").write_text(branch)
        plain(*AS, "commit", "-qam", branch, cwd=repository)

    def work() -> None:
        clock = Clock()
        with otel.node("worker"):
            clock.run("merge", "theirs", cwd=repository, code=1)
            clock.run("merge", "--abort", cwd=repository)
        agree(scene, clock, "git merge [error] type=1", "git merge")

    until_it_agrees(work, lambda: forget(scene))


def test_sigkill(scene: InMemorySpanExporter, repository: Path, tmp_path: Path) -> None:
    reached = tmp_path / "reached"
    hook(repository, "pre-commit", f"touch {reached}; sleep 0.5")

    def work() -> None:
        clock = Clock()
        with otel.node("worker"):
            began = time.perf_counter()
            words = ["git", *AS, "commit", "--allow-empty", "-qm", "x"]
            process = subprocess.Popen(words, cwd=repository)
            while not reached.exists():
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            clock.took_s.append(time.perf_counter() - began)
        reached.unlink()
        time.sleep(0.5)  # git's own lock and the hook go away
        agree(scene, clock, "git commit [error] type=SIGKILL")
        assert attributes_of(commands(scene)[0])[Attr.GIT_SIGNAL] == "SIGKILL"

    until_it_agrees(work, lambda: forget(scene))


def test_worktrees_side_by_side(
    scene: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    """Eight workers at once, each with a worktree and a branch: no span is in another's tree."""

    def work(i: int) -> None:
        folder = tmp_path / f"w{i}"
        with otel.node(f"n{i}"):
            # It fails where another is just making its own, and may leave its branch behind.
            words = ["git", "worktree", "add", "-qfB", f"b{i}", str(folder)]
            for _ in range(20):
                made = subprocess.run(words, cwd=repository, capture_output=True, text=True)
                if made.returncode == 0:
                    break
            assert made.returncode == 0, made.stderr
            (folder / f"new{i}").write_text("x")
            subprocess.run(["git", "add", "."], cwd=folder, check=True)
            subprocess.run(["git", *AS, "commit", "-qm", "x"], cwd=folder, check=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    spans = commands(scene)
    for i in range(8):
        (node,) = [s for s in scene.get_finished_spans() if s.name == f"node n{i}"]
        assert node.context is not None
        own = [s for s in spans if s.parent and s.parent.span_id == node.context.span_id]
        succeeded = [s for s in own if attributes_of(s)[Attr.OUTCOME] == "ok"]
        assert [s.name for s in succeeded] == ["git worktree add", "git add", "git commit"]
        places = {attributes_of(s).get(Attr.WORKTREE) for s in succeeded[1:]}
        branches = {attributes_of(s).get(Attr.REF_HEAD_NAME) for s in succeeded[1:]}
        assert (places, branches) == ({f"w{i}"}, {f"b{i}"})
        assert all(
            (node.start_time or 0)
            <= (s.start_time or 0)
            <= (s.end_time or 0)
            <= (node.end_time or 0)
            for s in own
        )
    assert len(spans) >= 24

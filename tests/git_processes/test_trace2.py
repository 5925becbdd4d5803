"""What git does inside, from its own events: as spans below its span."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.git import GitInstrumentor
from otel_orchestrator.semconv import Attr, Metric

from ..clocks import same, until_it_agrees
from ..trees import attributes_of, tree
from .scenes import check_sums, commit, ended, hook
from .ways import AS, WAYS, plain

pytestmark = pytest.mark.timeout(120, method="thread")


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_every_way_of_starting_git_shows_its_inside(
    exported: InMemorySpanExporter, repository: Path, temporary: Path, way: Callable[[Path], None]
) -> None:
    GitInstrumentor().instrument(git_trace2=True, git_trace2_threshold_s=0)
    environment = dict(os.environ)
    try:
        with otel.node("worker"):
            way(repository)
    finally:
        GitInstrumentor().uninstrument()
    assert dict(os.environ) == environment
    spans = exported.get_finished_spans()
    lines = tree(spans).splitlines()
    assert lines[:2] == ["node worker", "  git status"]
    assert {"    git index refresh", "    git status untracked"} <= set(lines)
    assert "      git dir read_directory" in lines
    check_sums(spans)
    assert list(temporary.iterdir()) == []


def test_a_slow_hook_is_what_a_commit_spends_its_time_on(
    inside: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    hook(
        repository,
        "pre-commit",
        f"date +%s%N >{record}; sleep 0.3; git status >/dev/null; date +%s%N >>{record}",
    )

    def work() -> None:
        with otel.node("worker"):
            assert commit(repository) == 0
        ended()
        spans = inside.get_finished_spans()
        assert tree(spans, show=[Attr.GIT_PART]) == (
            "node worker\n"
            "  git commit\n"
            "    git hook pre-commit part=hook\n"
            "      git status part=process\n"
            "    git maintenance part=process"
        )
        check_sums(spans)
        began, finished = map(int, record.read_text().split())
        span = next(s for s in spans if s.name == "git hook pre-commit")
        same("its begin", (span.start_time or 0) / 1e9, began / 1e9)
        same("its end", (span.end_time or 0) / 1e9, finished / 1e9)

    until_it_agrees(work, inside.clear)
    span = next(s for s in inside.get_finished_spans() if s.name == "git hook pre-commit")
    told = attributes_of(span)
    assert told.pop(Attr.PROCESS_PID) > 0
    assert told == {
        Attr.STATE: "working",
        Attr.CATEGORY: "git",
        Attr.GIT_PART: "hook",
        Attr.PROCESS_EXIT_CODE: 0,
        Attr.OUTCOME: "ok",
    }


def test_a_hook_that_fails_is_an_error(inside: InMemorySpanExporter, repository: Path) -> None:
    hook(repository, "pre-commit", "exit 3")
    assert commit(repository) == 1
    ended()
    assert tree(inside.get_finished_spans()) == (
        "git commit [error]\n  git hook pre-commit [error]"
    )
    failed = next(s for s in inside.get_finished_spans() if "hook" in s.name)
    assert attributes_of(failed)[Attr.ERROR_TYPE] == "3"
    assert failed.status.status_code.name == "ERROR"


def test_parts_are_not_counted_as_git_processes(
    inside: InMemorySpanExporter, repository: Path, measured: InMemoryMetricReader
) -> None:
    hook(repository, "pre-commit", "git status >/dev/null")
    commit(repository)
    ended()
    data = measured.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == Metric.GIT_DURATION
    points = metric.data.data_points
    assert [dict(p.attributes or {}) for p in points] == [{Attr.GIT_COMMAND: "commit"}]


def test_ten_thousand_files(
    exported: InMemorySpanExporter, large: Path, tmp_path: Path, temporary: Path
) -> None:
    """`git worktree add` spends its time on the checkout, and the spans say so."""
    GitInstrumentor().instrument(git_trace2=True)
    try:
        words = ["git", "worktree", "add", str(tmp_path / "w"), "main"]
        subprocess.run(words, cwd=large, check=True, capture_output=True)
        subprocess.run(["git", "status"], cwd=tmp_path / "w", check=True, capture_output=True)
        subprocess.run(
            ["git", "worktree", "remove", str(tmp_path / "w")],
            cwd=large,
            check=True,
            capture_output=True,
        )
    finally:
        GitInstrumentor().uninstrument()
    spans = exported.get_finished_spans()
    check_sums(spans)
    lines = tree(spans).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "git worktree add",
        "git status",
        "git worktree remove",
    ]
    reset = lines.index("  git reset")
    assert "    git unpack_trees" in lines[reset:]

    def length(name: str) -> int:
        return sum((s.end_time or 0) - (s.start_time or 0) for s in spans if s.name == name)

    assert length("git unpack_trees") > 0.5 * length("git worktree add")
    assert "  git status untracked" in lines
    assert list(temporary.iterdir()) == []


def test_worktrees_side_by_side_each_have_their_own_tree(
    inside: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    hook(repository, "post-checkout", "git rev-parse HEAD >/dev/null")
    hook(repository, "pre-commit", "sleep 0.02")
    gate = threading.Lock()

    def work(i: int) -> None:
        with otel.node(f"n{i}"):
            folder = tmp_path / f"w{i}"
            words = ["git", "worktree", "add", "-q", "-b", f"b{i}", str(folder)]
            with gate:
                subprocess.run(words, cwd=repository, check=True, capture_output=True)
            assert commit(folder, "--no-gpg-sign") == 0

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    ended()
    spans = inside.get_finished_spans()
    check_sums(spans)
    # How `worktree add` makes the branch has changed between versions of git.
    lines = [
        line
        for line in tree(spans).splitlines()
        if line.strip() not in ("git branch", "git symbolic-ref", "git update-ref")
    ]
    wanted = """
  git worktree add
    git reset
    git hook post-checkout
      git rev-parse
  git commit
    git hook pre-commit
    git maintenance"""
    assert lines == "\n".join(f"node n{i}{wanted}" for i in range(8)).splitlines()


@pytest.mark.parametrize("is_on", [True, False], ids=["trace2", "without"])
def test_a_failing_merge(
    exported: InMemorySpanExporter, repository: Path, temporary: Path, is_on: bool
) -> None:
    def change(text: str) -> None:
        (repository / "file").write_text(text)
        plain(*AS, "commit", "-qam", text, cwd=repository)

    plain("switch", "-qc", "theirs", cwd=repository)
    change("theirs")
    plain("switch", "-q", "main", cwd=repository)
    change("ours")
    hook(repository, "post-merge", "true")
    GitInstrumentor().instrument(git_trace2=is_on, git_trace2_threshold_s=3600)
    try:
        merge = ["git", *AS, "merge", "-s", "ort", "theirs"]
        assert subprocess.run(merge, cwd=repository, capture_output=True).returncode == 1
        subprocess.run(["git", "merge", "--abort"], cwd=repository, check=True)
    finally:
        GitInstrumentor().uninstrument()
    lines = tree(exported.get_finished_spans()).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "git merge [error]",
        "git merge",
    ]
    assert len(lines) == 2 or is_on
    check_sums(exported.get_finished_spans())


def test_a_git_that_is_killed_leaves_what_was_open(
    inside: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    reached = tmp_path / "reached"
    hook(repository, "pre-commit", f"touch {reached}; sleep 0.5")
    words = ["git", *AS, "commit", "--allow-empty", "-qm", "x"]
    process = subprocess.Popen(words, cwd=repository)
    while not reached.exists():
        time.sleep(0.001)
    process.kill()
    process.wait()
    ended()
    spans = inside.get_finished_spans()
    assert tree(spans) == "git commit [error]\n  git hook pre-commit [abandoned]"
    assert len({s.end_time for s in spans}) == 1
    time.sleep(0.5)  # git's own lock and the hook go away


def test_a_held_lock_is_known_without_reading_complaints(
    inside: InMemorySpanExporter, repository: Path
) -> None:
    (repository / ".git" / "index.lock").touch()
    (repository / "file").write_text("changed")
    subprocess.run(["git", "add", "file"], cwd=repository, stderr=subprocess.DEVNULL)
    told = attributes_of(inside.get_finished_spans()[-1])
    assert (told[Attr.ERROR_TYPE], told[Attr.GIT_LOCK]) == ("index.lock", "index")


def test_a_lock_within_a_hook_is_known(inside: InMemorySpanExporter, repository: Path) -> None:
    hook(repository, "pre-commit", "touch .git/config.lock; git config a.b c; rm .git/config.lock")
    commit(repository)
    ended()
    (span,) = [s for s in inside.get_finished_spans() if s.name == "git config"]
    told = attributes_of(span)
    assert (told[Attr.OUTCOME], told[Attr.ERROR_TYPE]) == ("error", "config.lock")


def test_the_traces_context_reaches_hooks(
    inside: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    hook(repository, "pre-commit", f'echo "$TRACEPARENT $GIT_TRACE2_PARENT_SID" >{seen}')
    own = {**os.environ, "GIT_AUTHOR_NAME": "n"}
    before = dict(own)
    for env in (None, own):
        commit(repository, env=env)
        span = [s for s in inside.get_finished_spans() if s.name == "git commit"][-1]
        assert span.context is not None
        trace_id, span_id = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
        parent, sid = seen.read_text().split()
        assert parent.startswith(f"00-{trace_id}-{span_id}-")
        assert sid.startswith(f"otel-{trace_id}-{span_id}/")
    assert own == before, "the program's own dict"
    assert "TRACEPARENT" not in os.environ

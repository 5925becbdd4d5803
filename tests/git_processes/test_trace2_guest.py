"""Git's own events are a guest: the program, its settings, its folders and its secrets stay."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_orchestrator as otel
from otel_orchestrator import _guard
from otel_orchestrator.instrumentors import git as hooks
from otel_orchestrator.instrumentors.git import GitInstrumentor, trace2
from otel_orchestrator.instrumentors.git import process as process_module
from otel_orchestrator.instrumentors.git.trace2 import events as events_module
from otel_orchestrator.instrumentors.git.trace2 import folder as folder_module
from otel_orchestrator.instrumentors.git.trace2 import reader as reader_module
from otel_orchestrator.lifecycle import spans as our_spans

from ..trees import tree
from .scenes import check_sums, commit, ended, hook
from .test_spans import ADDRESSES, SECRET, secret_commands
from .ways import AS, WAYS, by_run, plain

pytestmark = pytest.mark.timeout(120, method="thread")


def test_the_programs_own_choices_stay(
    inside: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    seen, theirs = tmp_path / "seen", tmp_path / "theirs"
    hook(repository, "pre-commit", f'echo "$TRACEPARENT $GIT_TRACE2_PARENT_SID" >{seen}')
    choices: list[dict[Any, Any]] = [
        {"GIT_TRACE2_EVENT": str(theirs)},
        {b"GIT_TRACE2_EVENT": os.fsencode(theirs)},
    ]
    for choice in choices:
        theirs.unlink(missing_ok=True)
        commit(repository, env={**os.environ, "TRACEPARENT": "mine", **choice})
        ended()
        assert theirs.read_text().startswith('{"event":"version"')
        assert seen.read_text().startswith("mine ")
    assert tree(inside.get_finished_spans()) == "git commit\ngit commit"
    commit(repository, env={**os.environ, "GIT_TRACE2_PARENT_SID": "mine"})
    ended()
    assert "mine/" in seen.read_text()
    assert "git hook pre-commit" in tree(inside.get_finished_spans())


def test_gits_own_configuration_wins(
    exported: InMemorySpanExporter,
    repository: Path,
    temporary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A variable would take the events away from where the user sends them."""
    theirs = tmp_path / "theirs"
    config = tmp_path / "config"
    config.write_text(f"[trace2]\neventTarget = {theirs}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    GitInstrumentor().instrument(git_trace2=True)
    by_run(repository)
    GitInstrumentor().uninstrument()
    assert theirs.exists()
    assert tree(exported.get_finished_spans()) == "git status"
    assert "git_trace2 is off" in caplog.text


@pytest.mark.parametrize("address", ADDRESSES)
def test_secrets_stay_at_home_with_trace2(
    exported: InMemorySpanExporter,
    repository: Path,
    temporary: Path,
    address: str,
    measured: InMemoryMetricReader,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain("remote", "add", "origin", address, cwd=repository)
    hook(repository, "pre-commit", f"git log -1 {SECRET}; git -c a.b={SECRET} {SECRET}; true")
    plain("config", f"alias.{SECRET}", f"!echo {SECRET}", cwd=repository)
    plain("config", "core.editor", f"echo {SECRET}; true", cwd=repository)
    plain("config", "credential.helper", f"!echo password={SECRET}", cwd=repository)
    GitInstrumentor().instrument(git_trace2=True, git_trace2_threshold_s=0)
    try:
        secret_commands(repository, address)
    finally:
        GitInstrumentor().uninstrument()
    spans = exported.get_finished_spans()
    assert len([s for s in spans if s.parent is None]) == 9
    assert any("hook" in s.name for s in spans)
    check_sums(spans)
    data = measured.get_metrics_data()
    assert data is not None
    everything = "".join(s.to_json() for s in spans) + data.to_json() + caplog.text
    assert SECRET not in everything
    assert str(repository.parent) not in everything, "no path leaves the process"


def test_a_span_that_is_not_sampled_asks_for_nothing(
    inside: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    hook(repository, "pre-commit", f'echo "${{TRACEPARENT%%-*}} [$GIT_TRACE2_EVENT]" >{seen}')
    our_spans.use_provider(TracerProvider(sampler=ALWAYS_OFF))
    commit(repository)
    assert seen.read_text() == "00 []\n"  # the first field of TRACEPARENT is its version


FAKES = {
    "old": "exit 0",
    "binary": r"printf '\377\376\0{\n{\"event\":\"\377' >>$GIT_TRACE2_EVENT",
    "torn": """printf '{"event":"start","sid":"s","time":"2026' >>$GIT_TRACE2_EVENT""",
    "strange": r"""printf '%s\n' '{"event":"start","sid":[1]}' '{"event":"start"}' \
        '{"event":"start","sid":"a","time":5}' '{"event":"region_leave","sid":"a","time":"x"}' \
        '{"event":"child_start","sid":"a","time":"2026-01-01T00:00:00Z","argv":{"a":1}}' \
        '{"event":"child_exit","sid":"a","time":"2026-01-01T00:00:00Z","child_id":[1]}' \
        >>$GIT_TRACE2_EVENT""",
    "endless": "for i in 1 2 3 4 5 6 7 8 9 10; do cat $0 $0 $0 >>$GIT_TRACE2_EVENT; done",
    "a folder": "mkdir $GIT_TRACE2_EVENT && touch $GIT_TRACE2_EVENT/x",
}


@pytest.mark.parametrize("script", FAKES.values(), ids=FAKES.keys())
def test_old_and_broken_gits_are_harmless(
    inside: InMemorySpanExporter, tmp_path: Path, script: str
) -> None:
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    assert subprocess.run([str(fake), "status"], capture_output=True).returncode == 0
    ended()
    text = tree(inside.get_finished_spans())
    assert text.splitlines()[0] == "git status"


def test_a_folder_that_somebody_tidied_away_is_made_again(
    inside: InMemorySpanExporter, repository: Path, temporary: Path
) -> None:
    hook(repository, "pre-commit", "true")
    commit(repository)
    for found in temporary.iterdir():
        assert found.stat().st_mode & 0o777 == 0o700
        found.rename(temporary.parent / "away")
    commit(repository)
    ended()
    assert tree(inside.get_finished_spans()).splitlines()[-2:] == [
        "  git hook pre-commit",
        "  git maintenance",
    ]


def test_what_killed_processes_left_is_removed(
    exported: InMemorySpanExporter, repository: Path, temporary: Path
) -> None:
    alive = folder_module.PrivateFolder()
    alive.file("x")
    (kept,) = temporary.iterdir()
    dead, fresh = (temporary / f"{folder_module.PREFIX}{name}" for name in ("dead", "fresh"))
    for path in (dead, fresh):
        path.mkdir()
        (path / "events").touch()
    (temporary / "unrelated").mkdir()
    for path in (dead, kept):
        os.utime(path, (1, 1))
    GitInstrumentor().instrument(git_trace2=True)
    by_run(repository)
    GitInstrumentor().uninstrument()
    assert {p.name for p in temporary.iterdir()} == {kept.name, fresh.name, "unrelated"}
    alive.remove()


def test_a_fork_has_a_folder_of_its_own(
    inside: InMemorySpanExporter, repository: Path, temporary: Path
) -> None:
    hook(repository, "pre-commit", "true")
    commit(repository)
    (ours,) = temporary.iterdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            inside.clear()
            assert commit(repository) == 0
            assert len(list(temporary.iterdir())) == 2
            ended()
            assert "git hook pre-commit" in tree(inside.get_finished_spans())
            assert list(temporary.iterdir()) == [ours]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ended()
    assert tree(inside.get_finished_spans()).count("git hook pre-commit") == 1


def test_more_than_can_be_read_is_dropped_and_said(
    inside: InMemorySpanExporter,
    repository: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(reader_module, "_QUEUED_AT_MOST", 0)
    monkeypatch.setattr(_guard, "_last_logged", {})
    for _ in range(3):
        by_run(repository)
    assert hooks._trace2 is not None
    assert hooks._trace2._reader.dropped == 3
    assert [r.getMessage()[:40] for r in caplog.records] == [
        "1 git processes are shown without what h"
    ]
    (folder,) = temporary.iterdir()
    assert [f.name for f in folder.iterdir()] == [".lock"]


def test_the_program_never_waits_for_the_reader(
    inside: InMemorySpanExporter, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    original = events_module.parts_in

    def slow(*arguments: Any) -> Any:
        gate.wait(10)
        return original(*arguments)

    monkeypatch.setattr(reader_module, "parts_in", slow)
    began = time.monotonic()
    for _ in range(5):
        by_run(repository)
    assert time.monotonic() - began < 5
    assert tree(inside.get_finished_spans()) == "\n".join(["git status"] * 5)
    gate.set()


def test_a_served_process_is_asked_for_nothing(
    inside: InMemorySpanExporter, repository: Path, temporary: Path
) -> None:
    subprocess.run(
        ["git", "cat-file", "--batch"], cwd=repository, stdin=subprocess.DEVNULL, check=True
    )
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("first", ["configure", "instrument"])
def test_a_program_that_just_ends_leaves_its_spans_and_nothing_else(
    repository: Path, tmp_path: Path, first: str
) -> None:
    hook(repository, "pre-commit", "true")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    set_up = {
        "configure": f"otel.configure('x', run_dir={str(tmp_path / 'runs')!r})",
        "instrument": "otel.instrument(only=['git'])",
    }
    second = "instrument" if first == "configure" else "configure"
    program = f"""
import subprocess
import otel_orchestrator as otel
{set_up[first]}
{set_up[second]}
words = ["git", *{AS!r}, "commit", "--allow-empty", "-qm", "x"]
with otel.run("r"):
    subprocess.run(words, cwd={str(repository)!r}, check=True)
"""
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(temporary), "OTEL_ORCHESTRATOR_GIT_TRACE2": "1"},
        check=True,
    )
    (file,) = (tmp_path / "runs").glob("*.jsonl")
    assert '"git hook pre-commit"' in file.read_text()
    assert list(temporary.iterdir()) == []


def test_the_option_is_one_of_instrument(
    exported: InMemorySpanExporter, repository: Path, temporary: Path
) -> None:
    hook(repository, "pre-commit", "true")
    otel.instrument(only=["git"], git_trace2=True, git_trace2_threshold_s=0.5)
    commit(repository)
    otel.uninstrument()
    assert "  git hook pre-commit" in tree(exported.get_finished_spans())


FAULTS: tuple[tuple[Any, str], ...] = (
    (process_module.GitProcess, "environment"),
    (process_module.GitProcess, "_read_events"),
    (trace2.Trace2, "environment"),
    (trace2.Trace2, "ended"),
    (trace2.Trace2, "lock_in"),
    (trace2, "_inject"),
    (trace2.events, "lock_in_end_of"),
    (folder_module.PrivateFolder, "file"),
    (folder_module.PrivateFolder, "remove"),
    (reader_module.Reader, "submit"),
    (reader_module.Reader, "close"),
    (reader_module, "parts_in"),
    (reader_module, "_make_spans"),
    (reader_module, "remove_stale_ones"),
    (our_spans, "start"),
)


@pytest.mark.parametrize("broken", FAULTS, ids=lambda pair: pair[1])
def test_a_fault_of_ours_changes_nothing_for_the_program(
    exported: InMemorySpanExporter,
    repository: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: tuple[Any, str],
) -> None:
    monkeypatch.setattr(_guard, "strict", False)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a defect of ours")

    GitInstrumentor().instrument(git_trace2=True)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(*broken, fail)
            for way in WAYS:
                way(repository)
            lock = repository / ".git" / "index.lock"
            lock.touch()
            (repository / "file").write_text("changed")
            add = ["git", "add", "file"]
            assert subprocess.run(add, cwd=repository, stderr=subprocess.DEVNULL).returncode == 128
            lock.unlink()
            with pytest.raises(FileNotFoundError):
                by_run(repository / "nowhere")
            ended()
    finally:
        GitInstrumentor().uninstrument()


def test_a_broken_set_up_leaves_git_traced(
    exported: InMemorySpanExporter, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(hooks, "Trace2", None)
    GitInstrumentor().instrument(git_trace2=True)
    by_run(repository)
    GitInstrumentor().uninstrument()
    assert tree(exported.get_finished_spans()) == "git status"


def test_no_git_at_set_up(
    exported: InMemorySpanExporter,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    GitInstrumentor().instrument(git_trace2=True)
    with pytest.raises(FileNotFoundError):
        subprocess.run(["git", "status"])
    GitInstrumentor().uninstrument()
    assert tree(exported.get_finished_spans()) == "git status [error]"
    assert list(temporary.iterdir()) == []


def test_positional_environment(inside: InMemorySpanExporter, repository: Path) -> None:
    """As few as pass eleven arguments by position, they are served."""
    environment = {**os.environ, "GIT_AUTHOR_NAME": "n"}
    process = subprocess.Popen(
        ["git", "status"], -1, None, None, subprocess.DEVNULL, None, None, True, False,
        repository, environment,
    )  # fmt: skip
    assert process.wait() == 0
    ended()
    assert tree(inside.get_finished_spans()) == "git status"

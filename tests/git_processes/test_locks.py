"""git that fails at once because somebody else holds a lock says so, and how much git wrote."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import git as gitpython
import pytest
import uvloop
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.git import GitInstrumentor
from otel_orchestrator.instrumentors.git import process as process_module
from otel_orchestrator.instrumentors.git.locks import lock_in
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of
from .ways import AS, plain

pytestmark = pytest.mark.timeout(60, method="thread")

ADD = ["git", "add", "file"]


def run(root: Path) -> None:
    assert subprocess.run(ADD, cwd=root, capture_output=True).returncode == 128


def run_text(root: Path) -> None:
    assert "index.lock" in subprocess.run(ADD, cwd=root, capture_output=True, text=True).stderr


def run_merged(root: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        subprocess.check_output(ADD, cwd=root, stderr=subprocess.STDOUT)
    assert b"index.lock" in raised.value.output


def run_in_a_shell(root: Path) -> None:
    subprocess.run("git add file", cwd=root, shell=True, capture_output=True)


def poll_then_communicate(root: Path) -> None:
    process = subprocess.Popen(ADD, cwd=root, stderr=subprocess.PIPE)
    assert b"index.lock" in process.communicate(timeout=10)[1]


def by_gitpython(root: Path) -> None:
    with pytest.raises(gitpython.GitCommandError, match=r"index\.lock"):
        gitpython.Git(root).add("file")


async def _communicate(root: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *ADD, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert b"index.lock" in (await process.communicate())[1]


async def _read_then_wait(root: Path) -> None:
    process = await asyncio.create_subprocess_shell(
        "git add file", cwd=root, stderr=subprocess.PIPE
    )
    assert process.stderr
    assert b"index.lock" in await process.stderr.read()
    await process.wait()


async def _wait_then_read(root: Path) -> None:
    process = await asyncio.create_subprocess_exec(*ADD, cwd=root, stderr=subprocess.PIPE)
    await process.wait()
    assert process.stderr
    assert b"index.lock" in await process.stderr.read()


async def _while_the_loop_is_busy(root: Path) -> None:
    async def hog() -> None:
        for _ in range(20):
            time.sleep(0.005)
            await asyncio.sleep(0)

    hogs = asyncio.create_task(hog())
    await _communicate(root)
    await hogs


LOOPS: tuple[Callable[[Path], Any], ...] = (
    _communicate,
    _read_then_wait,
    _wait_then_read,
    _while_the_loop_is_busy,
)
SYNC: tuple[Callable[[Path], Any], ...] = (
    run,
    run_text,
    run_merged,
    run_in_a_shell,
    poll_then_communicate,
    by_gitpython,
)


def held(root: Path) -> Path:
    lock = root / ".git" / "index.lock"
    lock.touch()
    (root / "file").write_text("changed\n")
    return lock


def lock_of(traced: InMemorySpanExporter) -> tuple[Any, ...]:
    (span,) = [s for s in traced.get_finished_spans() if s.name == "git add"]
    told = attributes_of(span)
    assert span.status.status_code.name == "ERROR"
    return told[Attr.OUTCOME], told[Attr.ERROR_TYPE], told.get(Attr.GIT_LOCK)


CONTENDED = ("error", "index.lock", "index")


@pytest.mark.parametrize("way", SYNC, ids=lambda f: f.__name__)
def test_a_held_lock_is_named(
    traced: InMemorySpanExporter, repository: Path, way: Callable[[Path], Any]
) -> None:
    held(repository)
    way(repository)
    assert lock_of(traced) == CONTENDED


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("way", LOOPS, ids=lambda f: f.__name__)
def test_a_held_lock_is_named_in_loops(
    traced: InMemorySpanExporter,
    repository: Path,
    way: Callable[[Path], Any],
    loop: Callable[..., Any],
) -> None:
    held(repository)
    loop(way(repository))
    assert lock_of(traced) == CONTENDED


def test_what_nobody_reads_is_not_known(traced: InMemorySpanExporter, repository: Path) -> None:
    held(repository)
    subprocess.run(ADD, cwd=repository, stderr=subprocess.DEVNULL)
    assert lock_of(traced) == ("error", "128", None)


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_reader_that_stops_reading_holds_no_span_for_long(
    traced: InMemorySpanExporter,
    repository: Path,
    loop: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something else keeps the pipe open; the span's end is the process's exit all the same."""

    async def start() -> float:
        process = await asyncio.create_subprocess_exec(
            "git", "-c", "alias.x=!sleep 0.6 & exit 3", "x", cwd=repository, stderr=subprocess.PIPE
        )
        while process.returncode is None:
            await asyncio.sleep(0.001)
        ended = time.time()
        assert traced.get_finished_spans() == ()
        monkeypatch.setattr(process_module, "_HELD_AT_MOST_NS", 0)
        subprocess.run(["true"])
        assert len(traced.get_finished_spans()) == 1
        await process.communicate()
        return ended

    ended = loop(start())
    (span,) = traced.get_finished_spans()
    assert abs((span.end_time or 0) / 1e9 - ended) < 0.2
    assert attributes_of(span)[Attr.ERROR_TYPE] == "3"


def test_the_last_held_span_ends_with_uninstrument(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    async def start() -> None:
        process = await asyncio.create_subprocess_exec(
            "git", "-c", "alias.x=!sleep 0.6 &", "x", cwd=repository, stderr=subprocess.PIPE
        )
        while process.returncode is None:
            await asyncio.sleep(0.001)

    asyncio.run(start())
    GitInstrumentor().uninstrument()
    assert [s.name for s in traced.get_finished_spans()] == ["git (other)"]


OTHERS = [
    (("branch", "new"), "refs/heads/new.lock", "ref"),
    (("config", "a.b", "c"), "config.lock", "config"),
    (("pack-refs", "--all"), "packed-refs.lock", "packed-refs"),
    (("checkout", "--detach"), "HEAD.lock", "ref"),
]


@pytest.mark.parametrize(("words", "file", "lock"), OTHERS, ids=str)
def test_other_locks_have_names_of_their_own(
    traced: InMemorySpanExporter,
    repository: Path,
    words: tuple[str, ...],
    file: str,
    lock: str,
) -> None:
    (repository / ".git" / file).touch()
    assert subprocess.run(["git", *words], cwd=repository, capture_output=True).returncode
    told = attributes_of(traced.get_finished_spans()[-1])
    assert (told[Attr.ERROR_TYPE], told[Attr.GIT_LOCK]) == (f"{lock}.lock", lock)


def test_a_locked_worktree_is_a_lock(
    traced: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    plain("worktree", "add", "-q", str(tmp_path / "w"), cwd=repository)
    plain("worktree", "lock", str(tmp_path / "w"), cwd=repository)
    for words in (("remove",), ("lock",)):
        subprocess.run(
            ["git", "worktree", *words, str(tmp_path / "w")], cwd=repository, capture_output=True
        )
        told = attributes_of(traced.get_finished_spans()[-1])
        assert told[Attr.ERROR_TYPE] == "worktree.lock"


@pytest.mark.parametrize(
    ("said", "lock"),
    [
        ("Konnte '/p/.git/index.lock' nicht erstellen: Datei da.\n\nEin anderer", "index"),
        ("fatal: 无法创建 '/p/.git/refs/heads/a/b.lock'：文件已存在。\n\n似乎有", "ref"),  # noqa: RUF001
        ("fatal: Unable to create '/it's/.git/HEAD.lock': File exists.", "ref"),
        ("fatal: Unable to create 'C:\\r\\.git\\index.lock': File exists.", "index"),
        ("fatal: Unable to create '/p/.git/objects/info/commit-graph.lock': File exists.", "other"),
        ("error: cannot lock ref 'refs/heads/a': is at 1a2b but expected 3c4d", "ref"),
        ("fatal: cannot lock ref 'refs/heads/a': reference already exists", "ref"),
        ("fatal: cannot lock ref 'refs/heads/a': reference is missing but expected 1a2b", "ref"),
        ("fatal: failed to read /p/.git/worktrees/w/commondir: Success", "worktree"),
        ("fatal: Unable to create '/p/.git/index.lock': Permission denied\n", None),
        ("fatal: Unable to create '/p/.git/index.lock': Read-only file system", None),
        ("error: cannot lock ref 'refs/heads/a': 'refs/heads/a/b' exists; cannot create", None),
        ("fatal: pathspec 'yarn.lock' did not match any files", None),
        ("CONFLICT (content): Merge conflict in poetry.lock\n\nAutomatic merge failed", None),
        ("", None),
    ],
)
def test_what_git_says_is_understood(said: str, lock: str | None) -> None:
    assert lock_in(said) == lock


def test_locks_do_not_multiply_the_series(
    traced: InMemorySpanExporter, repository: Path, measured: InMemoryMetricReader
) -> None:
    held(repository)
    for _ in range(3):
        run(repository)
    data = measured.get_metrics_data()
    assert data is not None
    points = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert [dict(p.attributes or {}) for p in points] == [
        {Attr.GIT_COMMAND: "add", Attr.ERROR_TYPE: "index.lock"}
    ]


@pytest.mark.parametrize("text", [False, True])
def test_the_size_of_what_the_program_read(
    traced: InMemorySpanExporter, repository: Path, text: bool
) -> None:
    (repository / "file").write_text("é" * 50_000)
    words = ["git", "hash-object", "--no-filters", "-w", "file"]
    blob = subprocess.check_output(words, cwd=repository, text=True).strip()
    subprocess.run(["git", "cat-file", "-p", blob], cwd=repository, capture_output=True, text=text)
    subprocess.run(["git", "cat-file", "-p", blob], cwd=repository, stdout=subprocess.DEVNULL)
    sizes = [attributes_of(s).get(Attr.GIT_OUTPUT_SIZE) for s in traced.get_finished_spans()]
    assert sizes == [41, 100_000, None]


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_size_of_what_a_loop_read(
    traced: InMemorySpanExporter, repository: Path, loop: Callable[..., Any]
) -> None:
    (repository / "file").write_bytes(os.urandom(300_000))
    plain("add", "file", cwd=repository)
    traced.clear()

    async def show() -> None:
        process = await asyncio.create_subprocess_exec(
            "git", "cat-file", "-p", ":file", cwd=repository, stdout=subprocess.PIPE
        )
        assert len((await process.communicate())[0]) == 300_000

    loop(show())
    (span,) = traced.get_finished_spans()
    assert attributes_of(span)[Attr.GIT_OUTPUT_SIZE] == 300_000


def test_communicate_gives_and_raises_what_it_did(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    process: Any = subprocess.Popen(
        ["git", "hash-object", "--stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with pytest.raises(TypeError):
        process.communicate(no_such_argument=1)
    out, err = process.communicate(b"hello")
    assert out == b"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0\n"
    assert err is None
    assert attributes_of(traced.get_finished_spans()[0])[Attr.GIT_OUTPUT_SIZE] == 41


def test_real_contention_is_told_from_other_failures(
    traced: InMemorySpanExporter, repository: Path, tmp_path: Path
) -> None:
    """Twelve at a time in one repository: whoever lost a race says so, and nobody else does."""
    commands = (
        ["worktree", "add", "-q", "--detach"],
        [*AS, "commit", "--allow-empty", "-qm", "x"],
        ["branch", "-f", "same", "HEAD"],
        ["config", "a.b", "c"],
        ["branch", "-d", "no-such"],
    )

    def one(i: int) -> tuple[int, int, str]:
        words = ["git", *commands[i % len(commands)]]
        if words[1] == "worktree":
            words.append(str(tmp_path / f"w{i}"))
        with subprocess.Popen(
            words, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            said = process.communicate()[1]
        return process.pid, process.returncode, said

    with ThreadPoolExecutor(12) as pool:
        ran = list(pool.map(one, range(150)))
    by_pid = {attributes_of(s)[Attr.PROCESS_PID]: s for s in traced.get_finished_spans()}
    assert len(by_pid) == 150
    for pid, code, said in ran:
        told = attributes_of(by_pid[pid])
        contended = code != 0 and any(word in said for word in ("lock", "commondir"))
        assert (Attr.GIT_LOCK in told) == contended, said
        assert (told[Attr.OUTCOME] == "error") == (code != 0)
    assert sum(code != 0 for _, code, _ in ran) >= 30

"""A guest: forks, subclasses of Popen and faults of ours leave the program as it was."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator import _guard
from otel_orchestrator.instrumentors import git as hooks
from otel_orchestrator.instrumentors.git import GitInstrumentor, protocols
from otel_orchestrator.instrumentors.git import command as command_module
from otel_orchestrator.instrumentors.git import process as process_module
from otel_orchestrator.lifecycle import spans as our_spans

from ..trees import tree
from .test_endings import SERVER
from .ways import WAYS, by_run

pytestmark = pytest.mark.timeout(60, method="thread")


def test_a_fork_does_not_end_its_parents_spans(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    process = subprocess.Popen(SERVER, cwd=repository, stdin=subprocess.PIPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            process.returncode = 0  # what `wait` does with a process that is not one's own
            code = len(traced.get_finished_spans())
        finally:  # or else two processes would run the rest of the tests
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    process.communicate()
    assert tree(traced.get_finished_spans()) == "git cat-file"


def test_uninstrument_leaves_everything_as_it_was(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    GitInstrumentor().uninstrument()
    owners: tuple[Any, ...] = (
        subprocess.Popen,
        asyncio,
        asyncio.subprocess,
        asyncio.subprocess.Process,
        asyncio.subprocess.SubprocessStreamProtocol,
    )
    before = [dict(vars(owner)) for owner in owners]
    for _ in range(2):
        GitInstrumentor().instrument()
        assert [dict(vars(owner)) for owner in owners] != before
        GitInstrumentor().uninstrument()
        assert [dict(vars(owner)) for owner in owners] == before
    for way in WAYS:
        way(repository)
    assert traced.get_finished_spans() == ()


def test_a_process_under_way_survives_uninstrument(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    """With the hook gone, its end is no longer seen: it is abandoned when its object goes."""
    process = subprocess.Popen(["git", "status"], cwd=repository, stdout=subprocess.PIPE)
    GitInstrumentor().uninstrument()
    process.communicate()
    assert process.returncode == 0
    del process
    gc.collect()
    GitInstrumentor().instrument()
    by_run(repository)
    assert tree(traced.get_finished_spans()) == "git status [abandoned]\ngit status"


def test_subclasses_of_popen_are_traced_and_work(
    traced: InMemorySpanExporter, repository: Path
) -> None:
    class Mine(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.mine = True
            super().__init__(*args, **kwargs)

    with Mine(["git", "status"], cwd=repository, stdout=subprocess.PIPE) as process:
        process.communicate()
    assert process.mine
    assert process.returncode == 0
    assert tree(traced.get_finished_spans()) == "git status"


def test_popen_looks_as_it_did(traced: InMemorySpanExporter, repository: Path) -> None:
    """Attributes, copies and the texts of errors are those of the untouched class."""

    def look() -> list[Any]:
        seen: list[Any] = [hasattr(subprocess.Popen, "returncode")]
        popen: Any = subprocess.Popen
        for wrong in (
            popen,
            lambda: popen(["git", 5]),
            lambda: popen(["git"], no_such_argument=1),
            lambda: popen.__new__(popen).returncode,
        ):
            with pytest.raises((TypeError, AttributeError)) as raised:
                wrong()
            seen.append((type(raised.value), str(raised.value)))
        process = subprocess.Popen(["git", "--version"], stdout=subprocess.DEVNULL)
        process.wait()
        seen.append((copy.copy(process).returncode, process.args, repr(process)))
        return seen

    _guard.strict = False
    while_traced = look()
    GitInstrumentor().uninstrument()
    assert while_traced == look()


FAULTS: tuple[tuple[Any, str], ...] = (
    (hooks, "read_command"),
    (hooks, "GitProcess"),
    (hooks, "end_held_ones"),
    (command_module, "find_git"),
    (our_spans, "start"),
    (process_module, "place_of"),
    (process_module.GitProcess, "started"),
    (process_module.GitProcess, "exited"),
    (process_module.GitProcess, "end_late"),
    (process_module.GitProcess, "failed_to_start"),
    (process_module.GitProcess, "hold"),
    (process_module.GitProcess, "release"),
    (process_module.GitProcess, "wrote"),
    (protocols, "process_of"),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("broken", FAULTS, ids=lambda pair: pair[1])
def test_a_fault_of_ours_changes_nothing_for_the_program(
    traced: InMemorySpanExporter,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: tuple[Any, str],
    way: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(_guard, "strict", False)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(*broken, fail)
    way(repository)
    with pytest.raises(FileNotFoundError):
        way(repository / "nowhere") if way in PASS_THE_FOLDER else by_run(repository / "nowhere")


PASS_THE_FOLDER = [way for way in WAYS if way.__name__ in ("by_run", "by_asyncio", "by_uvloop")]

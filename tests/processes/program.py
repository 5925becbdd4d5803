"""Run a program of several processes, and hold its run against the program's own record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from otel_orchestrator.model import Run
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from ..clocks import same

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sent:
    """What the program itself noted of one task.

    Attributes:
        task_id: which.
        sent_ns, started_ns: when it was sent, and when its work began.
    """

    task_id: str
    sent_ns: int
    started_ns: int

    @classmethod
    def now(cls, task_id: str, sent_ns: int) -> Sent:
        """Of a task whose work begins."""
        return cls(task_id, sent_ns, time.time_ns())


def tell(record: Iterable[Sent]) -> None:
    """Called by the program at its end."""
    print(json.dumps([asdict(sent) for sent in record]))


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the variables for a program whose run files go to a folder."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    paths = os.pathsep.join(filter(None, [str(ROOT), own.get("PYTHONPATH")]))
    return {**own, "PYTHONPATH": paths, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), **more}


def record_of(
    *words: str, env: Mapping[str, str], prefix: Sequence[str] = (), timeout_s: float = 60
) -> list[Sent]:
    """Run a program and return what it noted."""
    done = subprocess.run(
        [*prefix, sys.executable, *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [Sent(**one) for one in json.loads(done.stdout)]


def only_run(folder: Path) -> Run:
    """Read the one run of a folder, in which there has to be nothing else."""
    (file,) = list_runs(folder)
    return read_run(find_run(file.id, folder))


def check_one_trace(run: Run, *, processes: int) -> None:
    """One run is one trace, whole: every span has an end, and its parent is there."""
    assert run.warnings == ()
    assert {s.trace_id for s in run.spans} == {run.spans[0].trace_id}
    assert {s.attributes.get(Attr.RUN_ID) for s in run.spans} == {run.id}
    ids = {s.span_id for s in run.spans}
    assert [s.name for s in run.spans if s.parent_id not in ids] == [run.spans[0].name]
    assert run.spans[0].name.startswith("invoke_workflow")
    assert len(pids_of(run)) == processes


def pids_of(run: Run) -> set[Any]:
    """Return the processes that worked: each task says in which it ran."""
    return {s.attributes["pid"] for s in run.spans if "pid" in s.attributes}


def check_waits(run: Run, record: Iterable[Sent], besides: Collection[str] = ()) -> None:
    """Every task waited in the queue for as long as the program says; others may be there."""
    tasks = {s.text(Attr.TASK_ID): s for s in run.spans if s.operation == "task"}
    record = list(record)
    assert tasks.keys() - set(besides) == {sent.task_id for sent in record}
    for sent in record:
        task = tasks[sent.task_id]
        waits = [s for s in run.spans if s.parent_id == task.span_id and s.category == "queue"]
        short = task.attributes.get(Attr.SHORT_WAIT + "queue", 0.0)
        assert isinstance(short, float)
        measured = sum(run.duration_of(wait) for wait in waits) / 1e9 + short
        same(f"queue of {sent.task_id}", measured, (sent.started_ns - sent.sent_ns) / 1e9)

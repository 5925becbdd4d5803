"""Every command shows a run of several processes whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from ..delivery.receiver import Receiver, receiving
from .program import environment, only_run, record_of

TASKS = {"t0", "t1", "t2", "t3", "t4", "t5"}


def test_every_command_shows_the_whole_run(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    env = environment(folder)
    record_of("-m", "tests.processes.pool", "spawn", "2", env=env)
    run = only_run(folder)

    def command(*words: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "otel_orchestrator.cli", *words],
            env={**env, **more, "COLUMNS": "120"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = command("report", "--all")
    assert {task for task in TASKS if f"task worker {task}" in text} == TASKS
    assert text.count("wait queue  ") >= len(TASKS)
    report = json.loads(command("report", "--format", "json"))
    assert {task for task in TASKS if f'"{task}"' in json.dumps(report)} == TASKS
    command("report", "--html", "--output", "run.html")
    page = (tmp_path / "run.html").read_text()
    assert {task for task in TASKS if f'"{task}"' in page} == TASKS
    assert re.search(rf"{run.id} .* 6 +{len(run.spans)}\n", command("runs"))
    other = tmp_path / "other"
    record_of("-m", "tests.processes.pool", "fork", "2", env=environment(other))
    compared = command("compare", run.id, "--with", str(other), "--format", "json")
    assert "wait queue" in compared
    assert run.id in command("watch", run.id, "--once")
    with receiving(Receiver()) as receiver:
        said = command("ship", run.id, **receiver.environment)
    assert f"{len(run.spans)} spans sent" in said
    assert receiver.counted() == {span.span_id: 1 for span in run.spans}

"""Process pools: one run, one trace, one run file, whatever way the workers were started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otel_orchestrator.analysis.outline import outline_of

from ..clocks import until_it_agrees
from .program import check_one_trace, check_waits, environment, only_run, record_of

WORKERS = 2


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_a_process_pool_works_for_one_run(start_method: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs"

    def scenario() -> None:
        record = record_of(
            "-m", "tests.processes.pool", start_method, str(WORKERS), env=environment(folder)
        )
        run = only_run(folder)
        check_one_trace(run, processes=WORKERS)
        check_waits(run, record)

    until_it_agrees(scenario, forget=lambda: shutil.rmtree(folder, ignore_errors=True))
    outline = outline_of(only_run(folder))
    assert {job.name for job in outline.jobs} == {"worker"}, "the director waits for its workers"
    assert outline.peak <= outline.slots == WORKERS


def test_the_check_finds_a_wait_that_is_wrong(tmp_path: Path) -> None:
    record = record_of("-m", "tests.processes.pool", "fork", "1", env=environment(tmp_path))
    run = only_run(tmp_path)
    last = record[-1]
    wrong = [*record[:-1], type(last)(last.task_id, last.sent_ns - 50_000_000, last.started_ns)]
    with pytest.raises(Exception, match="queue of t2"):
        check_waits(run, wrong)

"""Process pools: one run, one trace, one run file, whatever way the workers were started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otel_orchestrator.analysis.outline import outline_of

from ..clocks import until_it_agrees
from ..delivery.receiver import Receiver, receiving
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


def test_a_node_of_langgraph_hands_tasks_to_a_pool_of_graphs(tmp_path: Path) -> None:
    folder = tmp_path / "runs"

    def scenario() -> None:
        record = record_of("-m", "tests.processes.graph_pool", env=environment(folder))
        run = only_run(folder)
        check_one_trace(run, processes=WORKERS)
        check_waits(run, record)

    until_it_agrees(scenario, forget=lambda: shutil.rmtree(folder, ignore_errors=True))
    run = only_run(folder)
    outline = outline_of(run)
    assert [job.task_id for job in sorted(outline.jobs, key=lambda j: j.scheduled_ns)] == [
        "t0",
        "t1",
        "t2",
        "t3",
    ]
    inner = [span for span in run.spans if span.name == "invoke_workflow inner"]
    tasks = {span.span_id for span in run.spans if span.name == "task worker"}
    assert {span.parent_id for span in inner} == tasks


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_an_endpoint_gets_every_span_of_every_process_once(
    start_method: str, tmp_path: Path
) -> None:
    with receiving(Receiver()) as receiver:
        env = environment(tmp_path, **receiver.environment)
        record_of("-m", "tests.processes.pool", start_method, str(WORKERS), env=env)
    written = {span.span_id for span in only_run(tmp_path).spans}
    assert receiver.counted() == dict.fromkeys(written, 1)

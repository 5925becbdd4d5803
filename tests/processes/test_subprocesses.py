"""Processes that are started with `environment()`: a part of the run that started them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.groups import find_group

from ..clocks import until_it_agrees
from .program import check_one_trace, check_waits, environment, only_run, record_of
from .starter import TASKS_EACH, WORKERS

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_workers_by_traceparent_belong_to_the_run_that_started_them(tmp_path: Path) -> None:
    folder = tmp_path / "runs"

    def scenario() -> None:
        record = record_of("-m", "tests.processes.starter", env=environment(folder))
        run = only_run(folder)
        check_one_trace(run, processes=WORKERS)
        check_waits(run, record)

    until_it_agrees(scenario, forget=lambda: shutil.rmtree(folder, ignore_errors=True))
    run = only_run(folder)
    assert run.resource["service.name"] == "starter", "whose run it is, not who wrote first"
    assert len(find_group(["label=lines"], folder).sources) == 1
    names = [span.name for span in run.spans]
    assert names.count("invoke_workflow inner") == WORKERS * TASKS_EACH
    last_words = [span for span in run.spans if span.name == "node last words"]
    assert [span.parent_id for span in last_words] == WORKERS * [run.spans[0].span_id]


def run_in(folder: Path, program: str, **variables: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


ONE_RUN = "import otel_orchestrator as otel; otel.configure()\nwith otel.run('nightly'): pass"


def test_a_traceparent_of_somebody_else_is_the_parent_of_a_run_of_its_own(tmp_path: Path) -> None:
    run_in(tmp_path, ONE_RUN, TRACEPARENT=CALLER)
    run = only_run(tmp_path)
    (span,) = run.spans
    assert (span.trace_id, span.parent_id) == (CALLER[3:35], CALLER[36:52])
    assert run.id != CALLER[3:35]
    assert run.warnings == ()


@pytest.mark.parametrize(
    "baggage", ["", "orchestrator.run.id=..%2F..%2Fetc", "orchestrator.run.id=" + "x" * 101]
)
def test_a_run_id_that_names_no_file_is_not_taken(tmp_path: Path, baggage: str) -> None:
    run_in(tmp_path, ONE_RUN, TRACEPARENT=CALLER, BAGGAGE=baggage)
    assert str(only_run(tmp_path).spans[0].attributes[Attr.RUN_ID])[:2] == "20"


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-0-0-00"])
def test_a_traceparent_that_is_none_changes_nothing(tmp_path: Path, traceparent: str) -> None:
    run_in(tmp_path, ONE_RUN, TRACEPARENT=traceparent, BAGGAGE="orchestrator.run.id=other")
    run = only_run(tmp_path)
    assert run.spans[0].parent_id is None
    assert run.id != "other"


def test_spans_of_others_outside_of_ours_are_in_the_trace_too(tmp_path: Path) -> None:
    theirs = (
        "from opentelemetry import trace\nimport otel_orchestrator as otel; otel.configure()\n"
        "with trace.get_tracer('theirs').start_as_current_span('theirs'): pass"
    )
    run_in(tmp_path, theirs, TRACEPARENT=CALLER, BAGGAGE="orchestrator.run.id=20261128-1-a")
    (span,) = only_run(tmp_path).spans
    assert (span.trace_id, span.text(Attr.RUN_ID)) == (CALLER[3:35], "20261128-1-a")

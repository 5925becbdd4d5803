"""HTTP attempts of LLM calls count as the call, whatever they were marked as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.analysis.tally import Breakdown
from otel_orchestrator.model import Run
from otel_orchestrator.sources.runfiles import find_run, read_run

from .runs import Writer


def run_with(folder: Path, category: str, attributes: dict[str, Any]) -> Run:
    """Read a run of one node with one call, which was tried twice."""
    run = Writer(folder)
    with run.span("invoke_workflow orchestrator", 0, 1000, "container"):
        with run.span("loop", 0, 1000, "container"):
            with run.span("superstep", 0, 1000, "container"):
                with run.span("node director", 0, 990, category="compute"):
                    with run.span("chat gpt-4o", 100, 800, category="llm"):
                        for start in (110, 500):
                            with run.span(
                                "POST", start, start + 90, category=category, attributes=attributes
                            ):
                                pass
    run.close()
    return read_run(find_run(None, folder))


def amounts(run: Run) -> list[Breakdown]:
    found = account(outline_of(run))
    jobs = [time.breakdown for view in (found.task, found.lifecycle) for time in view.jobs]
    return [found.wall, found.slots.total, *(slot.breakdown for slot in found.slots.slots), *jobs]


@pytest.mark.parametrize("name", ["http.request.method", "http.method"])
def test_marked_llm_or_http_they_add_up_to_the_same(tmp_path: Path, name: str) -> None:
    attributes = {name: "POST"}
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    new = run_with(tmp_path / "new", "llm", attributes)
    old = run_with(tmp_path / "old", "http", attributes)
    assert amounts(new) == amounts(old)
    assert summarize(new) == summarize(old)
    assert summarize(new).llm_calls == 1

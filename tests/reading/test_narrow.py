"""The text report on a narrow terminal: columns go, whole; what stays is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.reports import text as text_report

from .made import Task, made
from .runs import write_example
from .test_report import text_of

LONG = "rewrite-the-invoice-module"


def section(text: str, title: str) -> list[str]:
    return text.partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("width", [50, 60, 70, 90])
def test_no_number_is_cut(tmp_path: Path, width: int) -> None:
    write_example(tmp_path)
    text = text_of(tmp_path, width=width).partition("The run, span by span")[0]
    assert not re.search(r"\S…", text)
    listed = "\n".join(section(text, "Spans by category"))
    for row in (r"llm +3 +716 ms .* 59.8 %", r"wait queue +2 +98 ms .* 4.9 %"):
        assert re.search(row, listed), listed
    gone = [name for name in ("p50", "mean", "p95", "p99") if name not in listed.splitlines()[0]]
    assert ("no room for: " in listed) == bool(gone)
    assert all(name in listed.partition("no room for: ")[2] for name in gone)


def test_a_long_id_takes_no_room_from_numbers_and_bars() -> None:
    plan = [Task(n, compute=c) for n, c in ((LONG, 30), ("b", 600), ("c", 30))]
    told = study(made(plan))
    text = text_report.render(told, width=50, colour=False, spans=False)
    (row,) = [line for line in section(text, "Tasks over time") if line.startswith("  rewrite")]
    assert re.fullmatch(r"  rewrite-\S* +30 ms +571 ms +█[█░]{19}", row), text

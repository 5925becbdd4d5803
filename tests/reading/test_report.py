"""The report: numbers that are right, text for people, JSON for programs, one line for mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.intervals import length, union, without
from otel_orchestrator.analysis.study import Study, study
from otel_orchestrator.analysis.summary import percentile, summarize
from otel_orchestrator.reports import json as json_report
from otel_orchestrator.reports import text as text_report
from otel_orchestrator.reports import words
from otel_orchestrator.reports.units import count, duration, share
from otel_orchestrator.semconv import WAITS, Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from .runs import RUN_ID, Writer, write_example
from .seed import write_seed

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_example(tmp_path)
    return tmp_path


def text_of(folder: Path, **options: Any) -> str:
    chosen = {"width": 100, "colour": False, **options}
    return text_report.render(study_of(folder), **chosen)


def study_of(folder: Path, run: str | None = None) -> Study:
    return study(read_run(find_run(run, folder)))


def cli(*arguments: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-c", "from otel_orchestrator.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        **options,
    )


def test_the_tree_shows_who_did_what_when(folder: Path) -> None:
    lines = text_of(folder).splitlines()
    at = lines.index("The run, span by span")
    shown = [" ".join(line[:66].split()) for line in lines[at + 1 : at + 12]]
    assert shown == [
        "invoke_workflow orchestrator 1.00 s",
        "├─ loop 0 700 ms",
        "│ ├─ superstep 1 100 ms",
        "│ │ └─ node director 98 ms",
        "│ │ └─ chat gpt-4o 90 ms",
        "│ │ └─ POST 54 ms",
        "│ └─ superstep 2 599 ms",
        "│ ├─ task worker a 598 ms",
        "│ │ ├─ wait queue 49 ms",
        "│ │ └─ node worker 539 ms",
        "│ │ ├─ git commit 20 ms",
    ]
    waiting = next(line for line in lines if "wait queue" in line and "ms" in line and "░" in line)
    working = next(line for line in lines if "─ node worker" in line)
    assert "░" in waiting
    assert "█" in working


def test_categories_are_exclusive_where_they_have_to_be(folder: Path) -> None:
    rows = {r.category: r for r in summarize(read_run(find_run(None, folder))).categories}
    assert set(rows) == {"llm", "compute", "git", "queue"}, "an LLM's HTTP attempt counts as llm"
    assert rows["llm"].durations.count == 3
    assert rows["llm"].durations.total_ns == (90 + 508 + 118) * 1_000_000
    # [5, 95] and the longer of the two parallel calls, [181, 689], of 1000 ms
    assert rows["llm"].share == pytest.approx(0.598)
    # directors: 98 - 90 and 296; workers: what their git and LLM calls leave
    assert rows["compute"].durations.total_ns == (8 + 296 + 11 + 11) * 1_000_000
    assert rows["queue"].is_wait


def test_the_slowest_task_is_the_straggler_and_not_who_waited_for_it(folder: Path) -> None:
    slow = summarize(read_run(find_run(None, folder))).slowest_tasks
    assert [(s.span.attributes["orchestrator.task.id"], s.took_ns / 1e6) for s in slow] == [
        ("a", 589.0),
        ("b", 199.0),
    ]


@pytest.mark.parametrize("name", ["example", "seed"])
def test_the_text_is_the_golden_one(tmp_path: Path, name: str) -> None:
    """Look at what changed; if it is better, write it anew with UPDATE_GOLDEN=1."""
    {"example": write_example, "seed": write_seed}[name](tmp_path)
    text = text_of(tmp_path, everything=True, explain=name == "seed")
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("width", [50, 60, 80, 140, 200])
def test_no_line_is_wider_than_the_terminal(folder: Path, width: int) -> None:
    # But for commands: half of one is none.
    said = text_of(folder, width=width).partition("\nNext\n")[0]
    assert all(len(line) <= width for line in said.splitlines())


def test_colours_are_there_only_when_asked_for(folder: Path) -> None:
    assert "\x1b[" not in text_of(folder)
    assert "\x1b[" in text_of(folder, colour=True)


def test_many_alike_are_folded_and_all_shows_them(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    with writer.span("invoke_workflow w", 0, 100, "container"):
        for i in range(20):
            outcome = "error" if i == 15 else "ok"
            with writer.span("chat m", i, i + 1, category="llm", outcome=outcome):
                pass
    writer.close()
    text = text_of(tmp_path)
    assert text.count("chat m") == 6 + 1 + 1, "six, the one that failed, and the rest in one line"
    assert "… 13 more chat m" in text
    assert text_of(tmp_path, everything=True).count("chat m") == 20


def test_square_brackets_in_an_id_are_no_markup(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    with writer.span("invoke_workflow w", 0, 100, "container"):
        for name in ("fix [/core]", "fix [core] parser"):
            attributes = {Attr.TASK_ID: name, Attr.TASK_NAME: "worker"}
            with writer.span("task worker", 0, 50, "container", attributes=attributes):
                with writer.span("node worker", 0, 50, category="compute"):
                    pass
    writer.close()
    text = text_of(tmp_path)
    assert "fix [/core]" in text
    assert "fix [core] parser" in text


def test_warnings_are_in_every_report(folder: Path) -> None:
    path = folder / f"{RUN_ID}.jsonl"
    path.write_bytes(path.read_bytes() + b"{torn")
    told = study_of(folder)
    assert "! line" in text_of(folder)
    assert json_report.document(told)["warnings"] == list(told.run.warnings)


def test_json_is_versioned_and_the_same_every_time(folder: Path) -> None:
    first, second = (json_report.render(study_of(folder)) for _ in range(2))
    assert first == second
    document = json.loads(first)
    assert document["format"] == 1
    assert document["run"]["wall_s"] == 1.0
    assert document["run"]["loops"] == 2
    assert len(document["tree"]) == 20
    assert document["queue"]["points"][0]["ready"] == 2


def test_a_run_of_nothing_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"resourceSpans":[]}\n')
    assert "0 spans" in text_report.render(study_of(tmp_path, "x"), width=80, colour=False)
    assert "\n\n\n" not in text_of(tmp_path), "what was not measured is no empty line"


@pytest.mark.parametrize("values", [[5], [1, 2], [1, 2, 3, 4, 100], list(range(101))])
def test_percentiles_agree_with_the_standard_library(values: list[int]) -> None:
    import statistics

    for fraction in (0.5, 0.95, 0.99):
        expected = (
            statistics.quantiles(values, n=100, method="inclusive")[round(fraction * 100) - 1]
            if len(values) > 1
            else values[0]
        )
        assert percentile(values, fraction) == pytest.approx(expected)


def test_intervals() -> None:
    assert union([(5, 7), (1, 3), (2, 4), (9, 9)]) == [(1, 4), (5, 7)]
    assert length([(0, 10), (5, 15)]) == 15
    assert without((0, 10), [(2, 3), (8, 20), (-5, 1)]) == [(1, 2), (3, 8)]
    assert without((0, 10), [(0, 10)]) == []


def test_every_wait_that_a_run_may_have_is_explained() -> None:
    assert set(words.WAITS) == set(WAITS)


def test_units_read_well() -> None:
    durations = [
        duration(n) for n in (812_000, 43e6, 999.4e6, 999.6e6, 3.21e9, 59.99e9, 245e9, 7.5e12)
    ]
    assert durations == [
        "812 µs", "43 ms", "999 ms", "1.00 s", "3.21 s", "59.99 s", "4m 05s", "2h 05m",
    ]  # fmt: skip
    assert count(12345) == "12 345"
    assert [share(f) for f in (0.1234, -0.0001, -0.05)] == ["12.3 %", "0.0 %", "-5.0 %"]


# --- the command line, as a process ---


def test_report_and_runs_work_as_commands(folder: Path) -> None:
    report = cli("report", folder=folder)
    assert report.returncode == 0, report.stderr
    assert report.stdout.startswith("orchestrator  ok\n")
    runs = cli("runs", folder=folder)
    assert RUN_ID in runs.stdout
    assert (
        json.loads(cli("runs", "--format", "json", folder=folder).stdout)["runs"][0]["tasks"] == 2
    )


def test_the_report_goes_to_a_file_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    first = cli("report", "--format", "json", "--output", str(target), folder=folder)
    assert first.stdout == f"Wrote {target}\n"
    assert json.loads(target.read_text())["format"] == 1
    again = cli("report", "--output", str(target), folder=folder)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "--force" in again.stderr
    assert cli("report", "--output", str(target), "--force", folder=folder).returncode == 0
    nowhere = cli("report", "--output", str(tmp_path / "no" / "x"), folder=folder)
    assert nowhere.returncode == 2


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [
        ("r.html", (), "<!doctype html>"),
        ("r.json", (), "{"),
        ("r.txt", (), "orchestrator  ok"),
        ("r", ("--html",), "<!doctype html>"),
        ("r.html", ("--format", "json"), "{"),
    ],
)
def test_a_file_is_what_its_name_says_unless_more_is_said(
    tmp_path: Path, folder: Path, name: str, options: tuple[str, ...], start: str
) -> None:
    target = tmp_path / name
    assert cli("report", *options, "--output", str(target), folder=folder).returncode == 0
    assert target.read_text().lstrip().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report"], "there are no runs yet"),
        (["report", "nope"], "there are no runs yet"),
        (["report", "--dir", "nope"], "no folder nope"),
        (["report", "./nope.jsonl"], "there is no file ./nope.jsonl"),
        (["report", ""], "the name of the run is empty. Type: otel-orchestrator runs"),
        (["report", "label=a"], "label=a may be many runs, which compare takes"),
        (["report", "http://h:1/trace/4bf9"], "is not the address of a trace in Jaeger"),
        (["report", "/dev/null"], "/dev/null is no file that holds a run"),
        (["report", "/"], "/ is a folder. Type: --dir /"),
        (["runs"], "there are no runs yet"),
        (["report", "--format", "xml"], "Invalid value"),
        (["report", "--nonsense"], "No such option"),
        (["nonsense"], "No such command"),
        (["run", "no-such-program"], "there is no program no-such-program"),
        (["run", "no-such.py"], "there is no file no-such.py"),
        (["run", "--labl", "a", "python"], "has no option --labl; it has --service-name, --label"),
        (["demo", "--workers", "0"], "Invalid value"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = cli(*arguments, folder=tmp_path)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("otel-orchestrator: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_unknown_run_id_says_how_to_list_them(folder: Path) -> None:
    done = cli("report", "nope", folder=folder)
    assert done.returncode == 2
    assert "Type: otel-orchestrator runs" in done.stderr


def test_a_pipe_that_closes_early_is_no_traceback(folder: Path) -> None:
    command = f"{sys.executable} -m otel_orchestrator.cli report | head -1"
    environment = {**os.environ, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder)}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert done.stdout == "orchestrator  ok\n"


def test_the_command_line_loads_no_sdk_and_no_langgraph(folder: Path) -> None:
    code = (
        "import sys; from otel_orchestrator.cli import group\n"
        "try: group.main(['report'], standalone_mode=False)\n"
        "finally: print(sorted({'langgraph', 'opentelemetry'} & set(sys.modules)), file=sys.stderr)"
    )
    environment = {**os.environ, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stderr.strip() == "[]"

"""`report --html`: a file beside you, whole or not at all, and never over another by accident."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reading.runs import RUN_ID, write_example
from tests.reading.test_report import cli

from .conftest import Opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_example(tmp_path / "runs")
    return tmp_path


def report(folder: Path, *arguments: str) -> tuple[int, str]:
    done = cli("report", *arguments, folder=folder / "runs", cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_it_writes_a_page_named_after_the_run_that_opens(
    folder: Path, watched: Callable[..., Opened]
) -> None:
    path = folder / f"{RUN_ID}.html"
    assert report(folder, "--html") == (0, f"Wrote {path.name}: open it in a browser\n")
    opened = watched(path)
    opened.page.goto(path.as_uri())
    assert RUN_ID in opened.page.locator("#header").inner_text()
    assert opened.page.title() == f"orchestrator {RUN_ID}"


def test_it_overwrites_only_with_force(folder: Path) -> None:
    assert report(folder, "--html", "--output", "a.html")[0] == 0
    before = (folder / "a.html").read_text()
    (folder / "a.html").write_text("mine")
    code, said = report(folder, "--html", "--output", "a.html")
    assert (code, said) == (
        2,
        "otel-orchestrator: a.html exists already. Type --force to overwrite it\n",
    )
    assert (folder / "a.html").read_text() == "mine"
    assert report(folder, "--html", "--output", "a.html", "--force")[0] == 0
    assert (folder / "a.html").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--html", "--format", "json"), "--html or --format json? Each is a report of its own"),
        (("--html", "--output", "runs"), "runs is a folder: name the file to write in it"),
        (("--html", "--output", "no/a"), "no/a cannot be written: No such file or directory"),
        (("--html", "--output", f"runs/{RUN_ID}.jsonl/a"),
         f"runs/{RUN_ID}.jsonl/a cannot be written: Not a directory"),
        (("--output", "/dev/null/a"), "/dev/null/a cannot be written: Not a directory"),
        (("--output", "x" * 256), f"{'x' * 256} cannot be written: File name too long"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_leave_nothing(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert report(folder, *arguments) == (2, f"otel-orchestrator: {said}\n")
    assert [p.name for p in folder.iterdir()] == ["runs"]


def test_a_name_may_be_as_long_as_names_can_be(folder: Path) -> None:
    name = "x" * 250 + ".html"
    assert report(folder, "--html", "--output", name)[0] == 0
    assert sorted(p.name for p in folder.iterdir()) == ["runs", name]


def test_a_page_is_named_after_a_run_however_long_its_id(folder: Path) -> None:
    written = (folder / "runs" / f"{RUN_ID}.jsonl").read_text()
    export = written.replace('"runFile":{"version":1},', "").replace(RUN_ID, "運" * 120)
    (folder / "long.jsonl").write_text(export)
    assert report(folder, "--html", str(folder / "long.jsonl"))[0] == 0
    assert (folder / ("運" * 33 + ".html")).exists()


def test_what_a_link_leads_to_is_written_and_the_link_stays(folder: Path) -> None:
    (folder / "a.json").symlink_to("runs/real.json")
    assert report(folder, "--format", "json", "--output", "a.json")[0] == 0
    first = (folder / "runs" / "real.json").read_text()
    assert report(folder, "--format", "json", "--output", "a.json")[0] == 2
    (folder / "runs" / "real.json").write_text("old")
    assert report(folder, "--format", "json", "--output", "a.json", "--force")[0] == 0
    assert (folder / "a.json").readlink() == Path("runs/real.json")
    assert (folder / "runs" / "real.json").read_text() == first


def test_links_in_a_circle_are_said(folder: Path) -> None:
    (folder / "a.json").symlink_to("b.json")
    (folder / "b.json").symlink_to("a.json")
    code, said = report(folder, "--format", "json", "--output", "a.json")
    assert (code, said.count("\n")) == (2, 1)
    assert "a.json cannot be written: " in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes")
@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
def test_a_pipe_is_written_to_and_stays_one(folder: Path, force: tuple[str, ...]) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    said = report(folder, "--format", "json", "--output", "pipe", *force)
    read = os.read(reader, 2**20)
    os.close(reader)
    assert said == (0, "Wrote pipe\n")
    assert json.loads(read)["format"]
    assert pipe.is_fifo()


def test_jaeger_is_where_it_is_said_to_be(folder: Path) -> None:
    report(folder, "--html", "--jaeger-url", "https://traces.example/", "--output", "a.html")
    assert '"jaeger":"https://traces.example"' in (folder / "a.html").read_text()

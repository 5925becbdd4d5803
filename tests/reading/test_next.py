"""What a report and `watch` say to type next works for what was just read."""

from __future__ import annotations

import html
import json
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .runs import RUN_ID, write_example
from .seed import write_seed
from .test_jaeger import Answering, Strange
from .test_report import cli


@pytest.fixture
def example(tmp_path: Path) -> Path:
    folder = tmp_path / "other runs"
    return write_example(folder)


def next_of(said: str) -> list[list[str]]:
    """Return the commands below `Next`, without what each is for."""
    lines = said[said.index("\nNext\n") :].splitlines()
    commands = [line.strip().partition("   ")[0] for line in lines]
    return [shlex.split(c)[1:] for c in commands if c.startswith("otel-orchestrator ")]


def works(folder: Path, *typed: str) -> list[list[str]]:
    """Type something, and then all that it says to type next; return that."""
    first = cli(*typed, folder=folder)
    assert (first.returncode, first.stderr) == (0, "")
    commands = next_of(first.stdout)
    assert len(commands) == 5
    for command in commands[:4]:
        output = ["--output", str(folder / "report"), "--force"]
        done = cli(*command, *output, folder=folder)
        assert (done.returncode, done.stderr) == (0, ""), command
    return commands


def exported(run_file: Path) -> Path:
    """Write a run as a Collector's file exporter does."""
    lines = [json.loads(line) for line in run_file.read_text().splitlines()]
    lines[0].pop("runFile")
    path = run_file.with_name("it's an export.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_run_of_an_export(tmp_path: Path, example: Path) -> None:
    word = f"{exported(example)}#{RUN_ID}"
    commands = works(tmp_path, "report", word)
    assert commands[0] == ["report", word, "--html"]
    page = tmp_path / "page.html"
    assert cli("report", word, "--html", "--output", str(page), folder=tmp_path).returncode == 0
    name = word.removeprefix(f"{example.parent}/")
    assert f"report {shlex.quote(name)} --html" in html.unescape(page.read_text())
    assert str(example.parent) not in page.read_text(), "whoever is sent the page need not know"


def test_a_file_elsewhere(tmp_path: Path, example: Path) -> None:
    commands = works(tmp_path, "report", str(example))
    assert commands[3][1] == str(example)
    assert commands[4] == ["runs", "--dir", str(example.parent)]


@pytest.mark.parametrize("typed", [[], [RUN_ID[:8]]])
def test_a_folder_elsewhere(tmp_path: Path, example: Path, typed: list[str]) -> None:
    where = ["--dir", str(example.parent)]
    commands = works(tmp_path, "report", *typed, *where)
    assert commands[1] == ["report", *(typed or [RUN_ID]), *where, "--all"]
    assert commands[4] == ["runs", *where]


@pytest.mark.parametrize("typed", [[], [RUN_ID[:8]]])
def test_watch_names_the_folder_too(tmp_path: Path, example: Path, typed: list[str]) -> None:
    where = ["--dir", str(example.parent)]
    said = " ".join(cli("watch", "--once", *typed, *where, folder=tmp_path).stdout.split())
    assert said.endswith(f"report {(typed or [RUN_ID])[0]} --dir {shlex.quote(where[1])}")


@pytest.fixture
def jaeger(tmp_path: Path) -> Iterator[Strange]:
    with Strange(("127.0.0.1", 0), Answering) as server:
        server.body = write_seed(tmp_path / "seed").read_bytes()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_newest_run_of_an_export_is_named_by_where_it_is(tmp_path: Path, example: Path) -> None:
    export = exported(example)
    example.unlink()
    commands = works(tmp_path, "report", "--dir", str(export.parent))
    assert commands[0][:2] == ["report", f"{export}#{RUN_ID}"]


def test_links_are_shown_where_a_jaeger_may_have_the_run(tmp_path: Path) -> None:
    file = write_seed(tmp_path)

    def has_links(*typed: str) -> bool:
        return "uiFind=" in cli("report", *typed, folder=tmp_path).stdout

    assert not has_links()
    assert has_links("--jaeger-url", "http://jaeger")
    ledger = file.with_suffix(".sent")
    ledger.write_text('{"to": "http://dead", "bytes": 0, "count": 0, "refused": 0}\n')
    assert not has_links()
    ledger.write_text('{"to": "http://there", "bytes": 9, "count": 7, "refused": 0}\n')
    assert has_links()


def test_a_run_in_a_jaeger_and_links_lead_there(tmp_path: Path, jaeger: Strange) -> None:
    trace_id = f"{1:032x}"
    for typed in (
        [f"{jaeger.url}/trace/{trace_id}"],
        [f"jaeger:{trace_id}", "--jaeger-url", jaeger.url],
    ):
        assert works(tmp_path, "report", *typed)[2] == ["report", *typed, "--explain"]
        said = cli("report", *typed, folder=tmp_path).stdout
        assert f"{jaeger.url}/trace/{trace_id}?uiFind=" in said
        assert "http://localhost:16686/trace" not in said

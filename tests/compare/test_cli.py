"""The command: what names a group, exit codes, what it writes, and a line for each mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from otel_orchestrator.analysis.comparing.digest import digest_of
from otel_orchestrator.sources.baselines import read_baseline
from otel_orchestrator.sources.runfiles import find_run, read_run

from .commands import compare, ids, write_run


def test_a_regression_fails(slower: Path) -> None:
    done = compare(slower, *ids("a"), "--with", *ids("b"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "Slower: wall clock +41" in done.stdout
    assert "before: 5 runs (v1) · after: 5 runs (v2)" in done.stdout


def test_no_regression_does_not(same: Path) -> None:
    done = compare(same, *ids("a"), "--with", *ids("b"), "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Not slower." in done.stdout


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 3)])
def test_undecided_fails_only_if_strict(slower: Path, options: Sequence[str], code: int) -> None:
    done = compare(slower, *ids("a", 2), "--with", *ids("b", 2), *options)
    assert done.returncode == code
    assert "Not judged: 2 against 2 runs are too few. For 3 metrics it takes 4 against 4." in (
        " ".join(done.stdout.split())
    )


def test_one_against_one(slower: Path) -> None:
    done = compare(slower, "a-0", "--with", "b-0")
    assert done.returncode == 0
    assert "One run each" in done.stdout


def test_a_rule_changes_what_fails(slower: Path) -> None:
    words = [*ids("a"), "--with", *ids("b"), "--fail-on", "wall>+60%", "--fail-on", "llm.mean>+1s"]
    assert compare(slower, *words).returncode == 0
    words += ["--fail-on", "node worker/chat m.p95>+10%"]
    done = compare(slower, *words)
    assert done.returncode == 1
    assert "Slower: node worker/chat m.p95 +50.0 %." in done.stdout


def test_another_machine_is_advice_unless_said_otherwise(tmp_path: Path) -> None:
    for n in range(4):
        write_run(tmp_path, f"a-{n}", 100 + n)
        write_run(tmp_path, f"b-{n}", 200 + n, host="ci")
    words = [*ids("a", 4), "--with", *ids("b", 4)]
    assert compare(tmp_path, *words).returncode == 0
    assert compare(tmp_path, *words, "--strict").returncode == 3
    assert compare(tmp_path, *words, "--same-machine").returncode == 1


def test_a_candidate_that_always_crashes_does_not_pass(tmp_path: Path) -> None:
    for n in range(5):
        write_run(tmp_path, f"a-{n}", 1000 + n)
        write_run(tmp_path, f"b-{n}", 300 + n, outcome="error")
    done = compare(tmp_path, *ids("a"), "--with", *ids("b"), "--strict")
    assert (done.returncode, done.stderr) == (3, "")
    assert (
        "Not like with like: 5 of 5 candidate runs did not end well, against 0 of 5"
        in (done.stdout.splitlines()[1])
    )
    assert "Faster:" not in done.stdout
    assert "Not slower" not in done.stdout


def test_it_writes_what_is_asked_for_beside_the_text(slower: Path, tmp_path: Path) -> None:
    names = ["c.md", "c.xml", "c.json", "c.txt"]
    outputs = [word for name in names for word in ("--output", str(tmp_path / name))]
    done = compare(slower, *ids("a"), "--with", *ids("b"), *outputs)
    assert done.returncode == 1
    assert done.stderr == "".join(f"Wrote {tmp_path / name}\n" for name in names)
    assert (tmp_path / "c.txt").read_text("utf-8") == done.stdout
    assert (tmp_path / "c.md").read_text("utf-8").startswith("### Slower: wall clock")
    assert json.loads((tmp_path / "c.json").read_text("utf-8"))["format"] == 1
    assert ElementTree.parse(tmp_path / "c.xml").getroot().get("failures") == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    again = compare(slower, *ids("a"), "--with", *ids("b"), *outputs)
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists already. Type --force to overwrite it" in again.stderr
    assert compare(slower, *ids("a"), "--with", *ids("b"), *outputs, "--force").returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
@pytest.mark.parametrize("streams", [("stdout",), ("stdout", "stderr")])
@pytest.mark.parametrize(
    ("groups", "runs", "code"),
    [("same", 5, 0), ("slower", 5, 1), ("slower", 2, 3)],
    ids=["no regression", "regression", "undecided"],
)
def test_a_reader_that_went_away_changes_neither_the_answer_nor_the_files(
    request: pytest.FixtureRequest, tmp_path: Path, groups: str, runs: int, code: int,
    streams: tuple[str, ...],
) -> None:  # fmt: skip
    names = ["c.html", "c.json"]
    outputs = [word for name in names for word in ("--output", str(tmp_path / name))]
    words = [*ids("a", runs), "--with", *ids("b", runs), *outputs, "--strict"]
    theirs, ours = os.pipe()
    os.close(theirs)
    gone: dict[str, Any] = dict.fromkeys(streams, ours)
    done = compare(request.getfixturevalue(groups), *words, **gone)
    os.close(ours)
    assert done.returncode == code
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    if "stderr" not in streams:
        assert done.stderr == "".join(f"Wrote {tmp_path / name}\n" for name in names)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_a_full_disk_is_no_regression(slower: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = compare(slower, *ids("a"), "--with", *ids("b"), stdout=full)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


def test_a_baseline_says_the_same_as_its_runs(slower: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    saved = compare(slower, *ids("a"), "--save-baseline", str(baseline))
    assert (saved.returncode, saved.stdout, saved.stderr) == (0, "", f"Wrote {baseline}\n")
    read = read_baseline(baseline)
    assert read == tuple(digest_of(read_run(find_run(run, slower))) for run in ids("a"))
    by_files, by_baseline = (
        compare(slower, *base, "--with", *ids("b"), "--format", "json")
        for base in (ids("a"), [str(baseline)])
    )
    assert by_baseline.stdout == by_files.stdout
    assert by_baseline.returncode == 1


def test_a_baseline_can_be_on_either_side_and_with_runs(slower: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "b.json"
    compare(slower, *ids("b", 3), "--save-baseline", str(baseline))
    done = compare(slower, "label=v1", "--with", str(baseline), "b-3", "b-4", "--format", "json")
    assert [run["id"] for run in json.loads(done.stdout)["candidate"]] == ids("b")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a-0"], "compare with what? Type --with and the runs after"),
        (["--with", "a-0"], "Missing argument 'BASE...'"),
        (
            ["a-0", "--with", "b-0", "--strict", "b-1"],
            "is b-1 of the runs before, or of those after?",
        ),
        (["--with=b-0", "b-1", "--fail-on", "wall>+5%", "a-0"], "is a-0 of the runs before, or"),
        (["a-0", "--with", "zzz"], "there is no run zzz in"),
        (["a-", "--with", "b-0"], "a- is the beginning of 5 run ids: type more of it"),
        (["label=v9", "--with", "b-0"], "has the label v9. Type label= and one of v1, v2"),
        (["a-0", "--with", "v2"], "v2 names no run, but is the label of some: type label=v2"),
        (
            ["a-0", "--with", "empty.json#a-1"],
            "empty.json#a-1 names one run of a baseline, which is compared as a whole. Type empty",
        ),
        (
            ["a-0", "--with", "mixed"],
            "mixed/bad.jsonl is not a run file: no line of it is OTLP JSON. Remove it from the"
            " folder, or name the runs",
        ),
        (["a-0", "--with", "a-0"], "is on both sides: leave it out of one"),
        (["a-0", "--with", "nothing.json"], "nothing.json cannot be read: No such file"),
        (["a-0", "--with", "torn.json"], "torn.json is not a baseline file: it is not JSON"),
        (["a-0", "--with", "other.json"], "other.json is not a baseline file. Type:"),
        (["a-0", "--with", "later.json"], "later.json has format 99, this program knows 1: update"),
        (
            ["a-0", "--with", "broken.json"],
            "broken.json is damaged: its runs are not as they were written. Write it again:"
            " otel-orchestrator compare RUNS --save-baseline broken.json --force",
        ),
        (["a-0", "--with", "older.json"], "older.json is damaged: no version has its format. Wr"),
        (["a-0", "--with", "empty.json"], "empty.json holds no runs"),
        (["a-0", "--with", "empty.jsonl"], "is not a run file: it is empty"),
        (["a-0", "--with", "b-0", "--fail-on", "wall"], "--fail-on 'wall' is no rule"),
        (["a-0", "--with", "b-0", "--fail-on", "x.mean>+5%"], "no category and no path x"),
        (["a-0", "--with", "b-0", "--output", "c.pdf"], "its ending has to be one of"),
        (["a-0", "--with", "b-0", "--output", "no/c.md"], "no/c.md cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(slower: Path, tmp_path: Path, words: list[str], line: str) -> None:
    (tmp_path / "torn.json").write_text('{"kind": ')
    (tmp_path / "other.json").write_text('{"format": 1}')
    kind = '"kind": "otel-orchestrator baseline"'
    (tmp_path / "later.json").write_text(f'{{{kind}, "format": 99, "runs": []}}')
    (tmp_path / "older.json").write_text(f'{{{kind}, "format": 0, "runs": []}}')
    (tmp_path / "broken.json").write_text(f'{{{kind}, "format": 1, "runs": [{{"id": "x"}}]}}')
    (tmp_path / "empty.json").write_text(f'{{{kind}, "format": 1, "runs": []}}')
    (tmp_path / "empty.jsonl").write_text("")
    write_run(tmp_path / "mixed", "good", 100)
    (tmp_path / "mixed" / "bad.jsonl").write_text("no run file\n")
    before = sorted(tmp_path.iterdir())
    done = compare(slower, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def write_large(slower: Path, folder: Path) -> None:
    """Write the same runs, padded beyond what is read by one process and without progress."""
    for name in (*ids("a"), *ids("b")):
        text = (slower / f"{name}.jsonl").read_text("utf-8")
        padding = json.dumps({"resourceSpans": [], "padding": "x" * 2**20})
        (folder / f"{name}.jsonl").write_text(f"{text}{padding}\n{padding}\n{padding}\n", "utf-8")


def test_large_runs_are_read_in_several_processes(slower: Path, tmp_path: Path) -> None:
    write_large(slower, tmp_path)
    small, large = (
        compare(folder, *ids("a"), "--with", *ids("b"), "--format", "json")
        for folder in (slower, tmp_path)
    )
    assert (large.stdout, large.returncode) == (small.stdout, 1)
    (tmp_path / "b-4.jsonl").write_text("no run file\n")
    done = compare(tmp_path, *ids("a"), "--with", *ids("b"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "b-4.jsonl is not a run file" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_progress_is_shown_on_a_terminal_and_leaves_what_is_printed_alone(
    slower: Path, tmp_path: Path
) -> None:
    import pty

    write_large(slower, tmp_path)
    mine, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "compare", *ids("a"), "--with", *ids("b"),
         "--dir", str(tmp_path), "--format", "json"],
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}, check=False,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(mine, 2**20).decode()
    os.close(mine)
    assert "Reading 10 runs" in shown
    assert json.loads(done.stdout)["standing"] == "regression"

"""What words `compare` takes for runs, and when two of them are one run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .commands import compare, ids, write_run


@pytest.mark.parametrize(
    "words",
    [
        [*ids("a"), "--with", *ids("b")],
        [
            "--strict",
            *ids("a"),
            "--fail-on",
            "wall>+5%",
            "--with",
            *ids("b"),
            "--fail-on",
            "waiting>+5%",
        ],
        [*ids("a"), "--with=b-0", *ids("b")[1:]],
        ["label=v1", "--with=label=v2"],
        [*ids("a"), "--with", *ids("b", 2), "--strict", "--with", *ids("b")[2:]],
        ["label=v1", "--with", "label=v2"],
        ["label=v1", *ids("a"), "--with", "label=v2"],
        [*ids("a"), *(word for run in ids("b") for word in ("--with", run))],
    ],
    ids=[
        "ids",
        "options between",
        "=",
        "= label",
        "--with twice",
        "labels",
        "twice the same",
        "one by one",
    ],
)
def test_ways_to_name_the_same_runs(slower: Path, words: list[str]) -> None:
    done = compare(slower, *words, "--format", "json")
    document = json.loads(done.stdout)
    assert [run["id"] for run in document["base"]] == ids("a")
    assert [run["id"] for run in document["candidate"]] == ids("b")


def test_folders_and_files_name_runs(tmp_path: Path) -> None:
    for n in range(2):
        write_run(tmp_path / "one", f"a-{n}", 100)
        write_run(tmp_path / "two", f"b-{n}", 100)
    words = ["one", "--with", "two/b-0.jsonl", "two/b-1.jsonl"]
    done = compare(tmp_path, *words, "--format", "json", cwd=tmp_path)
    assert [len(json.loads(done.stdout)[side]) for side in ("base", "candidate")] == [2, 2]


def test_a_run_is_known_by_its_trace_not_by_the_name_of_its_file(tmp_path: Path) -> None:
    for folder, name in (("one", "a"), ("two", "b")):
        write_run(tmp_path / folder, name, 100)
        (tmp_path / folder / f"{name}.jsonl").rename(tmp_path / folder / "run.jsonl")
    one, two = "one/run.jsonl", "two/run.jsonl"
    assert compare(tmp_path, one, "--with", two, cwd=tmp_path).returncode == 0
    for n in range(4):
        (tmp_path / "one" / f"copy-{n}.jsonl").write_bytes((tmp_path / one).read_bytes())
    done = compare(tmp_path, "one", "--with", two, cwd=tmp_path)
    assert done.stdout.startswith("before: 1 run ")
    assert re.fullmatch(
        r"A run counts once\. Left out: a in one/\S+\.jsonl, which is the run in one/\S+\.jsonl,"
        r" and 3 more\n",
        done.stderr,
    )
    done = compare(tmp_path, one, "--with", "one/copy-2.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "is on both sides: leave it out of one; it is in one/run.jsonl and one/copy-2.jsonl" in (
        done.stderr
    )


def test_a_run_of_a_baseline_is_known_by_its_trace(slower: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "b.json"
    compare(slower, *ids("b", 3), "--save-baseline", str(baseline))
    done = compare(slower, str(baseline), "--with", "b-1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"the run b-1 is on both sides: leave it out of one; it is in {baseline} and" in (
        done.stderr
    )

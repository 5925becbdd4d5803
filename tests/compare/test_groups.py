"""Groups of runs: of exports, named twice, and whose files are pruned while they are read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from otel_orchestrator.analysis.comparing.digest import digest_of
from otel_orchestrator.errors import RunFileError
from otel_orchestrator.sources import groups
from otel_orchestrator.sources.baselines import encode
from otel_orchestrator.sources.groups import digests_of, find_group
from otel_orchestrator.sources.runfiles import RunFile, list_runs

from .commands import write_groups
from .made import run_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_groups(tmp_path, 1, runs=2)
    return tmp_path


def test_a_run_that_vanishes_after_it_was_found_is_left_out(folder: Path) -> None:
    group = find_group([str(folder)], folder)
    (folder / "a-0.jsonl").unlink()
    assert sorted(map(bool, group.sizes())) == [False, True, True, True]
    (digests,) = digests_of([group])
    assert sorted(digest.run_id for digest in digests) == ["a-1", "b-0", "b-1"]


def test_where_none_is_left_that_is_said(folder: Path) -> None:
    both = [find_group([f"label={label}"], folder) for label in ("v1", "v2")]
    for path in folder.glob("a-*.jsonl"):
        path.unlink()
    with pytest.raises(RunFileError, match="all runs of a side were removed"):
        digests_of(both)


def test_a_run_that_vanishes_before_its_label_is_read_has_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = RunFile("gone", folder / "gone.jsonl", 0)
    monkeypatch.setattr(groups, "list_runs", lambda folder: [gone, *list_runs(folder)])
    assert len(find_group(["label=v1"], folder).sources) == 2


def write_export(folder: Path, name: str, first: str = "") -> Path:
    """Write what a Collector's file exporter would have written of the runs in a folder."""
    lines = [first] if first else []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            document = json.loads(line)
            document.pop("runFile", None)
            lines.append(json.dumps(document))
    export = folder / name
    export.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return export


@pytest.mark.parametrize("first", ["", '{"resourceMetrics": []}', '{"resourceLogs": []}'])
def test_an_export_is_known_by_its_first_line_whatever_signal_that_is(
    folder: Path, first: str
) -> None:
    """A Collector writes all signals into one file if it is told so."""
    export = write_export(folder, "export.txt", first)
    (digests,) = digests_of([find_group([str(export)], folder)])
    assert [digest.run_id for digest in digests] == ["a-0", "a-1", "b-0", "b-1"]
    assert [digest.spans for digest in digests] == [5] * 4


def test_a_json_file_is_what_is_in_it_not_what_its_name_says(folder: Path) -> None:
    """`report` reads an export of any name, so `compare` does."""
    export = write_export(folder, "traces.json")
    (digests,) = digests_of([find_group([str(export)], folder)])
    assert [digest.run_id for digest in digests] == ["a-0", "a-1", "b-0", "b-1"]
    run = folder / "run.json"
    run.write_bytes((folder / "a-0.jsonl").read_bytes())
    (digests,) = digests_of([find_group([str(run)], folder)])
    assert [digest.run_id for digest in digests] == ["a-0"]


def test_a_run_counts_once_whatever_names_it(folder: Path) -> None:
    """Twice the same value would be taken for two that agree."""
    (labelled,) = digests_of([find_group(["label=v1"], folder)])
    baseline = folder / "baseline.json"
    baseline.write_text(encode(labelled), "utf-8")
    words = [str(baseline), "a-0", "label=v1", "b-0", str(baseline)]
    (digests,) = digests_of([find_group(words, folder)])
    assert sorted(digest.run_id for digest in digests) == ["a-0", "a-1", "b-0"]


def test_different_runs_in_files_of_one_name_are_two(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "a-0.jsonl"
    other.parent.mkdir()
    other.write_bytes((folder / "a-1.jsonl").read_bytes())
    (digests,) = digests_of([find_group(["a-0", str(other)], folder)])
    assert len(digests) == 2


def test_of_a_run_and_its_torn_copy_the_run_counts(folder: Path) -> None:
    whole = digest_of(run_of(1))
    torn = replace(whole, spans=2)
    baseline = folder / "baseline.json"
    baseline.write_text(encode([torn, whole, torn]), "utf-8")
    told: list[str] = []
    (digests,) = digests_of([find_group([str(baseline)], folder)], tell=told.append)
    assert digests == [whole]
    assert len(told) == 1


def test_runs_one_after_the_other_in_one_trace_are_two(folder: Path) -> None:
    second = replace(first := digest_of(run_of(1)), run_id="other", start_us=first.end_us)
    baseline = folder / "baseline.json"
    baseline.write_text(encode([first, second]), "utf-8")
    (digests,) = digests_of([find_group([str(baseline)], folder)])
    assert len(digests) == 2


def test_without_a_trace_a_run_is_known_by_its_id(folder: Path) -> None:
    first = replace(digest_of(run_of(1)), trace_id="")
    baseline = folder / "baseline.json"
    baseline.write_text(encode([first, replace(first, run_id="other"), first]), "utf-8")
    (digests,) = digests_of([find_group([str(baseline)], folder)])
    assert [digest.run_id for digest in digests] == ["run-0001", "other"]

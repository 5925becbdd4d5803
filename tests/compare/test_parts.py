"""Runs whose parts are in several files of a folder, and files of a folder that hold no run."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from otel_orchestrator.errors import RunFileError
from otel_orchestrator.sources import found, groups, runfiles
from otel_orchestrator.sources.baselines import encode
from otel_orchestrator.sources.documents import documents_of
from otel_orchestrator.sources.found import find, read
from otel_orchestrator.sources.groups import digests_of, find_group
from otel_orchestrator.sources.labels import Labelled, labels_in
from otel_orchestrator.sources.otlp import Told

from ..reading.test_report import cli
from .commands import write_groups
from .test_exports_in_folders import exported, ids_of, read_group, write

OUTSIDE = (
    '{"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [{"traceId": "01", "spanId": "01"'
    ', "name": "outside", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}]}]}]}'
)
METRICS = (
    '{"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"metrics": [{"name":'
    ' "orchestrator.queue.depth", "gauge": {"dataPoints": [{"timeUnixNano": "1", "asInt": "4",'
    ' "attributes": [{"key": "orchestrator.run.id", "value": {"stringValue": "a-0"}}]}]}}]}]}]}'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four run files, two of either label."""
    write_groups(tmp_path / "runs", 1, runs=2)
    return tmp_path / "runs"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is read, by its name."""
    counted: Counter[str] = Counter()

    def counting(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[Told]:
        counted[path.name] += 1
        return documents_of(path, progress)

    for module in (found, runfiles):
        monkeypatch.setattr(module, "documents_of", counting)
    return counted


def by_a_worker(line: str, label: str | None = None) -> str:
    """Return a line of an export as another process's."""
    block = json.loads(line)["resourceSpans"][0]
    told = {"process.pid": "2", "orchestrator.run.label": label}
    its = [pair for pair in block["resource"]["attributes"] if pair["key"] not in told]
    its += [{"key": k, "value": {"stringValue": v}} for k, v in told.items() if v is not None]
    return json.dumps({"resourceSpans": [{**block, "resource": {"attributes": its}}]})


def rotated(folder: Path, worker_label: str | None = None) -> Path:
    """Write what a Collector rotated: the first file holds only what workers did, without labels
    of their own if none is given."""
    out = folder.parent / "rotated"
    first, rest = [], []
    for path in sorted(folder.glob("*.jsonl")):
        lines = exported(path)
        first.append(by_a_worker(lines[0], worker_label))
        rest += lines[1:]
    write(out / "traces-1.jsonl", first)
    return write(out / "traces.jsonl", rest).parent


def test_a_part_without_a_label_is_of_the_run_that_has_it(folder: Path) -> None:
    parts = rotated(folder)
    labelled = read_group("label=v1", folder=parts)
    assert [(digest.run_id, digest.spans) for digest in labelled] == [("a-0", 5), ("a-1", 5)]
    assert labelled == read_group(parts)[:2]


def test_files_that_both_labels_are_in_are_read_once_and_once_more(
    folder: Path, reads: Counter[str]
) -> None:
    sides = [find_group([f"label={label}"], rotated(folder)) for label in ("v1", "v2")]
    progress: list[int] = []
    before, after = digests_of(sides, progress.append)
    assert (ids_of(before), ids_of(after)) == (["a-0", "a-1"], ["b-0", "b-1"])
    assert reads == {"traces-1.jsonl": 2, "traces.jsonl": 2}
    assert sum(progress) == sum(size for side in sides for size in side.sizes())


def test_a_folder_is_looked_through_for_labels_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Counter[Path] = Counter()

    def counting(path: Path) -> Labelled:
        looked[path] += 1
        return labels_in(path)

    monkeypatch.setattr(groups, "labels_in", counting)
    for word in ("label=v1", "label=v2"):
        assert len(find_group([word], folder).sources) == 2
    assert sorted(looked.items()) == [(path, 1) for path in sorted(folder.glob("*.jsonl"))]
    with (folder / "a-0.jsonl").open("a") as file:
        file.write(json.dumps({"resourceSpans": []}))
    os.utime(folder / "a-0.jsonl", (2**32, 2**32))
    find_group(["label=v1"], folder)
    assert sum(looked.values()) == 5, "what has changed"


def test_two_labels_and_a_file_of_one_side_are_no_copies(folder: Path) -> None:
    whole = write(folder.parent / "out" / "all.jsonl", exported(*sorted(folder.glob("*.jsonl"))))
    told: list[str] = []
    for words in (["label=v1", "label=v2"], ["label=v1", str(whole)]):
        (digests,) = digests_of([find_group(words, whole.parent)], tell=told.append)
        assert ids_of(digests) == ["a-0", "a-1", "b-0", "b-1"]
    assert told == []


def test_the_label_of_a_worker_is_not_that_of_its_run(folder: Path) -> None:
    parts = rotated(folder, worker_label="inner")
    assert ids_of(read_group("label=v1", folder=parts)) == ["a-0", "a-1"]
    with pytest.raises(RunFileError, match=r"^no run has the label inner: there is nothing to"):
        read_group("label=inner", folder=parts)


@pytest.mark.parametrize("line", [OUTSIDE, METRICS], ids=["outside", "metrics"])
def test_an_export_without_runs_is_none_unless_it_is_named(folder: Path, line: str) -> None:
    export = write(folder / "export.jsonl", [line])
    os.utime(export, (2**32, 2**32))  # the newest
    newest = find(None, folder)
    assert isinstance(newest, runfiles.RunFile)
    assert newest.path != export
    assert ids_of(read_group(folder)) == ["a-0", "a-1", "b-0", "b-1"]
    assert ids_of(read_group("label=v1", folder=folder)) == ["a-0", "a-1"]
    done = cli("runs", "--dir", str(folder), "--format", "json", "--last", "4", folder=folder)
    rows = json.loads(done.stdout)["runs"]
    assert sorted(row["id"] for row in rows) == ["a-0", "a-1", "b-0", "b-1"]
    for words in ([str(export)], [str(folder), str(export)]):
        with pytest.raises(RunFileError, match=r"export\.jsonl does not hold a run$"):
            read_group(*words)


def test_where_a_folder_holds_no_run_that_is_said(tmp_path: Path) -> None:
    export = write(tmp_path / "out" / "export.jsonl", [OUTSIDE])
    with pytest.raises(
        RunFileError, match=r"^the files of a side hold no runs, only what happened"
    ):
        read_group(export.parent)
    with pytest.raises(RunFileError, match=r"export\.jsonl does not hold a run$"):
        read(find(None, export.parent))


def test_an_export_of_runs_that_are_in_run_files_is_read_once_more(
    folder: Path, reads: Counter[str]
) -> None:
    lines = exported(*sorted(folder.glob("*.jsonl")))
    write(folder / "spans.jsonl", [line.replace('"vm"', '"node-7"') for line in lines])
    digests = read_group(folder)
    assert [(d.run_id, d.spans) for d in digests] == [
        (run, 5) for run in ("a-0", "a-1", "b-0", "b-1")
    ]
    assert set(reads.values()) == {2}


def test_of_a_baseline_no_file_is_read_again(folder: Path, reads: Counter[str]) -> None:
    copy = write(folder / "copy.jsonl", (folder / "a-0.jsonl").read_text("utf-8").splitlines())
    (digest,) = read_group(copy)
    baseline = folder / "baseline.json"
    baseline.write_text(encode([replace(digest, host="other")]), "utf-8")
    reads.clear()
    assert ids_of(read_group(baseline, copy, folder / "a-0.jsonl")) == ["a-0"]
    assert reads == {"copy.jsonl": 1, "a-0.jsonl": 1}


def test_runs_of_one_id_in_other_files_are_not_put_together(folder: Path, tmp_path: Path) -> None:
    lines, linking = exported(folder / "a-0.jsonl"), exported(folder / "a-1.jsonl")
    trace = json.loads(lines[0])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
    namesake = [line.replace(trace, f"{7:032x}") for line in lines]
    parts = [lines[:2], [*lines[2:], *linking[:2]], [*linking[2:], *namesake]]
    files = [write(tmp_path / f"{n}.jsonl", some) for n, some in enumerate(parts)]
    digests = read_group(*files)
    assert [(d.run_id, d.spans) for d in digests] == [("a-0", 5), ("a-0", 5), ("a-1", 5)]


def test_what_is_left_out_is_not_what_counts(folder: Path, tmp_path: Path) -> None:
    lines = exported(folder / "a-0.jsonl")
    some = [lines[:2], lines[2:], lines]
    one, two, whole = (write(tmp_path / f"{n}.jsonl", its) for n, its in enumerate(some))
    told: list[str] = []
    digests_of([find_group([str(f) for f in (one, two, whole)], folder)], tell=told.append)
    assert told == [
        f"A run counts once. Left out: a-0 in {one}, which is the run in {whole}, and 1 more"
    ]

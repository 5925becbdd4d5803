"""Files that hold several runs, or a part of one, wherever they are found: a Collector's exports
and run files that were put together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from otel_orchestrator.analysis.comparing.digest import Digest
from otel_orchestrator.errors import RunFileError
from otel_orchestrator.sources.found import find, read, read_one
from otel_orchestrator.sources.groups import digests_of, find_group

from ..reading.test_report import cli
from .commands import compare, write_groups


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A folder of four run files, two of either label."""
    write_groups(tmp_path / "single", 1, runs=2)
    return tmp_path / "single"


def exported(*files: Path) -> list[str]:
    """Return what a Collector would have written: a line for each span, as it ended."""
    lines = []
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            for block in json.loads(line).get("resourceSpans", ()):
                spans = [s for scope in block["scopeSpans"] for s in scope["spans"]]
                lines += [
                    json.dumps({"resourceSpans": [{**block, "scopeSpans": [{"spans": [span]}]}]})
                    for span in spans
                    if "endTimeUnixNano" in span
                ]
    return lines


def write(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def read_group(*words: str | Path, folder: Path = Path("/nowhere")) -> list[Digest]:
    (digests,) = digests_of([find_group([str(word) for word in words], folder)])
    return sorted(digests, key=lambda digest: digest.run_id)


def ids_of(digests: Iterable[Digest]) -> list[str]:
    return [digest.run_id for digest in digests]


def test_an_export_in_a_folder_is_all_the_runs_in_it(single: Path, tmp_path: Path) -> None:
    export = write(tmp_path / "out" / "spans.jsonl", exported(*sorted(single.glob("*.jsonl"))))
    assert ids_of(read_group(export.parent)) == ["a-0", "a-1", "b-0", "b-1"]
    sides = [find_group([str(export.parent)], single), find_group([f"{export}#b-0"], single)]
    with pytest.raises(RunFileError, match="the run b-0 is on both sides: leave it out of one"):
        digests_of(sides)
    done = cli("runs", "--dir", str(export.parent), "--format", "json", folder=single)
    rows = json.loads(done.stdout)["runs"]
    ids = ["a-0", "a-1", "b-0", "b-1"]
    assert sorted(row["id"] for row in rows) == [f"{export}#{run_id}" for run_id in ids]
    assert {row["spans"] for row in rows} == {5}


def test_the_newest_is_read_as_it_is_by_its_name(single: Path, tmp_path: Path) -> None:
    export = write(tmp_path / "out" / "spans.jsonl", exported(single / "a-0.jsonl"))
    assert read_one(find(None, export.parent)).id == read_one(find(str(export), single)).id == "a-0"


def test_an_export_whose_first_line_is_torn_is_several_runs(single: Path, tmp_path: Path) -> None:
    first, *rest = exported(single / "a-0.jsonl", single / "a-1.jsonl")
    export = write(tmp_path / "torn.jsonl", [first[len(first) // 2 :], *rest])
    assert [run.id for run in read(find(str(export), single))] == ["a-0", "a-1"]


def test_an_export_that_rotates_away_meanwhile_is_left_out(single: Path, tmp_path: Path) -> None:
    old = write(single / "old.jsonl", exported(single / "b-0.jsonl"))
    group = find_group([str(single)], single)
    old.unlink()
    assert sum(map(bool, group.sizes())) == 4
    assert len(digests_of([group])[0]) == 4


@pytest.fixture(params=["export", "run files"])
def mixed(request: pytest.FixtureRequest, single: Path, tmp_path: Path) -> Path:
    """A folder with one file, in which runs of both labels are."""
    files = sorted(single.glob("*.jsonl"))
    if request.param == "export":
        return write(tmp_path / "mixed" / "all.jsonl", exported(*files)).parent
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    return write(tmp_path / "mixed" / "all.jsonl", lines).parent


def test_a_label_is_of_a_run_not_of_a_file(single: Path, mixed: Path) -> None:
    assert ids_of(read_group("label=v1", folder=mixed)) == ["a-0", "a-1"]
    assert ids_of(read_group("label=v2", folder=mixed)) == ["b-0", "b-1"]
    with pytest.raises(RunFileError, match=r"has the label v3\. Type label= and one of v1, v2$"):
        find_group(["label=v3"], mixed)
    told = [
        compare(folder, "label=v1", "--with", "label=v2", "--format", "json")
        for folder in (single, mixed)
    ]
    assert [done.returncode for done in told] == [0, 0], told
    assert told[0].stdout == told[1].stdout


def test_labels_of_damaged_files_are_those_that_can_be_read(single: Path) -> None:
    good = exported(single / "a-0.jsonl")
    strange = ["[]", "{", '{"resourceSpans": 1}', '{"resourceSpans": [{"resource": "\ud800"}]}']
    path = single / "odd.jsonl"
    path.write_text("\n".join([*strange, *good]), "utf-8", errors="surrogatepass")
    assert ids_of(read_group("label=v1", folder=single)) == ["a-0", "a-1"]


def parts_of(lines: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """Write lines into two files, as a Collector rotates them: the run's own span ends last."""
    middle = len(lines) // 2
    first = write(folder / "traces-1.json", lines[:middle])
    return first, write(folder / "traces-2.json", lines[middle:])


def test_a_run_whose_spans_are_in_two_files_is_one(single: Path, tmp_path: Path) -> None:
    lines = exported(single / "a-0.jsonl")
    whole = write(tmp_path / "whole.json", lines)
    parts = parts_of(lines, tmp_path)
    told: list[str] = []
    group = find_group([str(part) for part in parts], single)
    assert digests_of([group], tell=told.append) == [read_group(whole)]
    assert told == [
        "A run counts once, with all that files hold of it. Put together: a-0 in"
        f" {parts[0]} and {parts[1]}"
    ]


def test_only_what_is_cut_by_a_rotation_is_put_together(single: Path, tmp_path: Path) -> None:
    lines = exported(*sorted(single.glob("*.jsonl")))
    cut = [write(tmp_path / f"{n}.json", some) for n, some in enumerate((lines[:7], lines[7:]))]
    assert read_group(*cut) == read_group(write(tmp_path / "whole.json", lines))


def test_parts_of_a_run_on_both_sides_are_refused(single: Path, tmp_path: Path) -> None:
    parts = parts_of(exported(single / "a-0.jsonl"), tmp_path)
    sides = [find_group([str(part)], single) for part in parts]
    with pytest.raises(RunFileError) as error:
        digests_of(sides)
    assert str(error.value) == (
        f"the run a-0 is on both sides: leave it out of one; it is in {parts[0]} and {parts[1]}"
    )


def test_of_copies_no_file_is_read_twice(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = write(tmp_path / "copy.jsonl", (single / "a-0.jsonl").read_text("utf-8").splitlines())
    monkeypatch.setattr("otel_orchestrator.sources.same.read_together", pytest.fail)
    assert ids_of(read_group(copy, single / "a-0.jsonl")) == ["a-0"]


def test_what_an_export_lost_may_be_of_any_run_in_it(single: Path, tmp_path: Path) -> None:
    lines = exported(single / "a-0.jsonl", single / "a-1.jsonl")
    torn = [*lines[:2], lines[2][:40], *lines[3:], '{"resourceLogs": []}', ""]
    export = write(tmp_path / "torn.json", torn)
    lost = ("line 3 is not OTLP JSON; it is left out",)
    assert [run.lost for run in read(find(str(export), single))] == [lost, lost]
    assert all(set(lost) <= set(digest.warnings) for digest in read_group(export))
    assert read_one(find(f"{export}#a-1", single)).lost == lost


def test_a_last_line_that_a_collector_is_writing_is_not_lost(single: Path, tmp_path: Path) -> None:
    lines = exported(single / "a-0.jsonl", single / "a-1.jsonl")
    export = write(tmp_path / "live.json", lines)
    with export.open("a", encoding="utf-8") as writing:
        writing.write(lines[0][:40])
    assert [run.lost for run in read(find(str(export), single))] == [(), ()]


def test_spans_of_an_export_that_make_no_sense_are_lost(single: Path, tmp_path: Path) -> None:
    senseless = '{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]}'
    export = write(tmp_path / "odd.json", [*exported(single / "a-0.jsonl"), senseless])
    lost = ("1 spans of a line make no sense; they are left out",)
    assert read_one(find(str(export), single)).lost == lost


def test_run_files_put_together_lost_what_each_of_them_did(single: Path, tmp_path: Path) -> None:
    first, second = (single / f"a-{n}.jsonl" for n in range(2))
    full = '{"resourceSpans":[],"runFile":{"version":1,"full":true}}'
    both = [*first.read_text().splitlines(), full, *second.read_text().splitlines()]
    lost = ("the run file reached its size limit: later spans are missing",)
    for run in read(find(str(write(tmp_path / "both.jsonl", both)), single)):
        assert run.lost == run.warnings == lost

"""Groups of runs whose files are pruned while they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.errors import RunFileError
from otel_orchestrator.sources import groups
from otel_orchestrator.sources.groups import digests_of, find_group
from otel_orchestrator.sources.runfiles import RunFile, list_runs

from .test_cli import write_groups


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

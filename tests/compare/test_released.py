"""Files of every version that was ever released can be read, and say what they said then.

A new version adds its files to `released`; those that are there never change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator import run_file_header
from otel_orchestrator.analysis.comparing.comparison import compare
from otel_orchestrator.analysis.comparing.digest import digest_of
from otel_orchestrator.analysis.comparing.rules import DECLARED
from otel_orchestrator.reports.compare import json as json_report
from otel_orchestrator.sources import baselines, runfiles
from otel_orchestrator.sources.groups import digests_of, find_group

RELEASED = Path(__file__).parent / "released"


@pytest.mark.parametrize("version", range(1, run_file_header.VERSION + 1))
def test_run_files(version: int) -> None:
    file = runfiles.find_run(str(RELEASED / f"run-{version}.jsonl"), RELEASED)
    digest = digest_of(runfiles.read_run(file))
    assert digest.warnings == ()
    assert (digest.spans, digest.wall_us, digest.waiting_us) == (20, 1_000_000, 98_000)
    assert {path.path[-1] for path in digest.paths} >= {"chat gpt-4o", "git commit", "wait queue"}


@pytest.mark.parametrize("version", range(1, baselines.FORMAT + 1))
def test_baselines(version: int) -> None:
    path = RELEASED / f"baseline-{version}.json"
    read = baselines.read_baseline(path)
    assert [(d.run_id, d.wall_us, d.waiting_us) for d in read] == [("run-1", 1_000_000, 98_000)]
    if version == baselines.FORMAT:
        assert baselines.encode(read) == path.read_text("utf-8")


@pytest.mark.parametrize("version", [json_report.FORMAT])
def test_json_keeps_every_field_of_its_version(version: int, tmp_path: Path) -> None:
    again = (RELEASED / "run-1.jsonl").read_text("utf-8").replace(f"{1:032x}", f"{2:032x}")
    (tmp_path / "again.jsonl").write_text(again, "utf-8")
    groups = [find_group([str(p)], tmp_path)
              for p in (RELEASED / "run-1.jsonl", tmp_path / "again.jsonl")]  # fmt: skip
    before, after = digests_of(groups)
    comparison = compare(before, after, DECLARED, trusted=False)
    now = json.loads(json_report.render(comparison, strict=False, jaeger_url="http://jaeger"))
    then = json.loads((RELEASED / f"compare-{version}.json").read_text("utf-8"))
    assert set(fields(then)) <= set(fields(now))
    assert then["metrics"] == now["metrics"]


def fields(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name of every field with its type; those of a list's items once for all."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from fields(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, f"{name}[]")
    elif value is not None:
        yield name, "number" if isinstance(value, int | float) else type(value).__name__

"""Numbers that are none, ids that are no ids, and files that would overwrite each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.digest import Digest
from otel_orchestrator.analysis.comparing.rules import DECLARED, parse_rule
from otel_orchestrator.errors import OrchestratorError, RunFileError
from otel_orchestrator.reports.compare import json as json_report
from otel_orchestrator.reports.compare import markdown, text
from otel_orchestrator.reports.html.comparison import document
from otel_orchestrator.sources.baselines import encode, read_baseline

from .commands import compare as command
from .made import in_turns

JAEGER = "http://localhost:16686"
EVIL = "x>) ![p](https://evil.example/t.png) **Approved** [a](<y"


@pytest.mark.parametrize("limit", [f"{'9' * 400}%", f"{'9' * 400}s", f"5%,{'9' * 305}s"])
def test_a_limit_that_is_no_number_is_said(limit: str) -> None:
    with pytest.raises(OrchestratorError, match="the limit of wall is too large") as refused:
        parse_rule(f"wall>+{limit}")
    assert len(str(refused.value)) < 100


def test_a_limit_that_is_no_number_is_no_regression(same: Path) -> None:
    done = command(same, "a-0", "--with", "b-0", "--fail-on", f"wall>+{'9' * 400}%")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def numbers_in(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [p for key, item in items for p in numbers_in(item, (*place, key))]
    return [place] if isinstance(value, int | float) else []


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "5", "9" * 30, True, None, 1e300, -1])
def test_a_baseline_with_numbers_that_are_none_is_damaged(tmp_path: Path, number: Any) -> None:
    [digest], _ = in_turns([{}], [{}])
    run = json.loads(encode([digest]))["runs"][0]
    places = numbers_in(run)
    assert len(places) > 20
    path = tmp_path / "b.json"
    for *above, key in places:
        document = json.loads(encode([digest]))
        inner = document["runs"][0]
        for name in above:
            inner = inner[name]
        inner[key] = number
        path.write_text(json.dumps(document), "utf-8")
        with pytest.raises(RunFileError, match="is damaged: its runs are not as they were"):
            read_baseline(path)


def rendered(found: Comparison) -> list[str]:
    page = json.dumps(document(found, JAEGER)["links"])
    plain = text.render(found, width=100, colour=False, jaeger_url=JAEGER)
    told = json.loads(json_report.render(found, strict=False, jaeger_url=JAEGER))["links"]
    return [markdown.render(found, JAEGER), plain, page, json.dumps(told)]


def with_id(digests: Sequence[Digest], trace_id: str) -> list[Digest]:
    return [
        replace(
            digest,
            trace_id=trace_id,
            paths=tuple(
                replace(p, worst=replace(p.worst, trace_id=trace_id)) for p in digest.paths
            ),
        )
        for digest in digests
    ]


@pytest.mark.parametrize("trace_id", [EVIL, "", "../../api", "0a b", "0a\n"])
def test_only_ids_are_linked_to(trace_id: str) -> None:
    base, candidate = in_turns([{"llm": [100]}] * 4, [{"llm": [200]}] * 4)
    for found in rendered(compare(base, candidate, DECLARED, trusted=False)):
        assert f"{JAEGER}/trace/" in found
    bad = compare(base, with_id(candidate, trace_id), DECLARED, trusted=False)
    for found in rendered(bad):
        assert f"{JAEGER}/trace/" not in found
        assert "evil" not in found
        assert "In Jaeger" not in found


@pytest.mark.parametrize("other", ["same.json", "folder/../same.json", "link.json"])
def test_a_baseline_and_a_report_are_two_files(same: Path, tmp_path: Path, other: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "same.json")
    words = ["a-0", "--with", "b-0", "--save-baseline", "same.json", "--output", other, "--force"]
    done = command(same, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "otel-orchestrator: same.json cannot be both the baseline and a report: give one another"
        " name\n"
    )
    assert not (tmp_path / "same.json").exists()

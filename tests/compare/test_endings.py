"""Paths that end alike can be told apart, in every report and in rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.digest import Digest
from otel_orchestrator.analysis.comparing.measures import endings_of, measure_of
from otel_orchestrator.analysis.comparing.rules import DECLARED
from otel_orchestrator.errors import OrchestratorError
from otel_orchestrator.reports.compare import json as json_report
from otel_orchestrator.reports.compare.links import links
from otel_orchestrator.reports.compare.tables import tables
from otel_orchestrator.reports.compare.words import row_name
from otel_orchestrator.reports.html.comparison import document

from .made import in_turns

Path = tuple[str, ...]
ROOT = "invoke_workflow w"
ALIKE = [(ROOT, f"node {name}", "chat m", "POST") for name in ("director", "strategist", "worker")]


def with_paths(paths: Iterable[Path], factor: float = 1.0) -> list[Digest]:
    """Return runs that have these paths, besides nothing else."""
    base, _ = in_turns([{}] * 5, [{}] * 5)
    one = replace(base[0].paths[0], key=("working", "http"))
    amount = replace(one.amount, total_us=round(one.amount.total_us * factor))
    made = tuple(replace(one, path=path, amount=amount) for path in paths)
    return [replace(d, paths=made, categories=()) for d in base]


def compared(paths: Sequence[Path]) -> Comparison:
    return compare(with_paths(paths), with_paths(paths, 2.0), DECLARED, trusted=True)


@pytest.mark.parametrize(
    ("paths", "endings"),
    [
        ([("a", "b", "c")], [("b", "c")]),
        ([("a",), ("b",)], [("a",), ("b",)]),
        (ALIKE, [path[1:] for path in ALIKE]),
        ([("a", "b"), ("x", "a", "b")], [("a", "b"), ("x", "a", "b")]),
        ([("a", "m/b", "c"), ("a", "b", "c")], [("m/b", "c"), ("a", "b", "c")]),
        ([("x",) * n for n in range(1, 4)], [("x",) * n for n in range(1, 4)]),
    ],
)
def test_ends_are_as_long_as_they_have_to_be(paths: list[Path], endings: list[Path]) -> None:
    assert [endings_of(paths, 2)[path] for path in paths] == endings


def test_no_two_rows_are_called_alike_in_any_report() -> None:
    found = compared(ALIKE)
    [table] = [t for t in tables(found) if t.title == "Paths"]
    names = {row[0] for row in table.rows}
    assert names == {f"node {n} / chat m / POST" for n in ("director", "strategist", "worker")}
    [shown] = [t for t in document(found, "http://jaeger")["tables"] if t["title"] == "Paths"]
    assert {row[0] for row in shown["rows"]} == names
    linked = {link.text.partition(",")[0] for link in links(found, "http://jaeger")[1:]}
    assert linked == {f"the longest {name}" for name in names}
    told = json.loads(json_report.render(found, strict=False, jaeger_url="http://jaeger"))
    assert [tuple(path["path"]) for path in told["paths"]] == [r.path for r in found.paths]


def hint(name: str, digests: Sequence[Digest]) -> str:
    """Return what the program says is to be typed."""
    with pytest.raises(OrchestratorError, match="paths end with") as refused:
        measure_of(name, digests)
    hinted = re.search(r"type more of it, such as (.*)$", str(refused.value), re.DOTALL)
    assert hinted is not None
    return hinted[1]


def test_what_the_hint_says_can_be_typed() -> None:
    digests = with_paths(ALIKE)
    said = hint("POST.mean", digests)
    assert said == "node director/chat m/POST"
    assert hint("chat m / POST.mean", digests) == said
    assert measure_of(f"{said}.mean", digests).value(digests[0]) is not None


names = st.sampled_from(["a", "b", "m/a", "m / b", " a"])


@given(st.sets(st.lists(names, min_size=1, max_size=4).map(tuple), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_whatever_a_row_is_called_can_be_judged(paths: set[Path]) -> None:
    """But for paths that only differ in where a name with a slash ends."""
    digests = with_paths(sorted(paths))
    typed = {path: "/".join(p.strip() for p in "/".join(path).split("/")) for path in paths}
    for row in compared(sorted(paths)).paths:
        assert row.path is not None
        if list(typed.values()).count(typed[row.path]) > 1:
            with pytest.raises(OrchestratorError, match="are all called"):
                measure_of(f"{typed[row.path]}.count", digests)
        else:
            measure_of(f"{row_name(row)}.count", digests)

"""Why: what only one side has, or has no spans of its own, is a reason like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from otel_orchestrator.analysis.comparing.causes import Cause, causes_of
from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.digest import Digest
from otel_orchestrator.analysis.comparing.rules import DECLARED
from otel_orchestrator.reports.compare.links import links
from otel_orchestrator.reports.compare.words import because

from .made import in_turns

Kinds = list[tuple[str, str, bool, bool | None]]


def compared(base: Sequence[Digest], candidate: Sequence[Digest]) -> Comparison:
    return compare(base, candidate, DECLARED, trusted=False)


def kinds(causes: Sequence[Cause]) -> Kinds:
    return [(c.kind, c.category, c.is_growth, c.is_clear) for c in causes]


def runs(git: Sequence[float], compute: float, count: int = 5) -> list[dict[str, Any]]:
    return [{"llm": [], "git": git, "compute": compute + n} for n in range(count)]


@pytest.mark.parametrize(
    ("compute", "also"),
    [(1_000, []), (2_500, [("slower", "compute", True, True)])],
    ids=["alone", "beside slower nodes"],
)
def test_a_new_category_is_a_reason_and_so_is_one_that_is_gone(compute: float, also: Kinds) -> None:
    without, with_git = in_turns(runs([], 1_000), runs([1_000] * 6, compute))
    found = compared(without, with_git)
    assert kinds(causes_of(found)) == [("more", "git", True, True), *also]
    assert because(causes_of(found)[0]).startswith("More git commands: 0 → 6 commands, each ")
    assert not any("chance" in because(cause) for cause in causes_of(found))
    back = kinds(causes_of(compared(with_git, without)))
    assert [(kind, is_clear) for kind, category, _, is_clear in back if category == "git"] == [
        ("more", True)
    ]
    assert len(back) == 1 + len(also)


def test_what_git_did_inside_of_a_command_is_no_command() -> None:
    """Only one side's git says what it did: its commands are as many, and slower."""
    traced = [{**said, "traces_git": True} for said in runs([800], 1_000)]
    found = compared(*in_turns(runs([500], 1_000), traced))
    assert kinds(causes_of(found)) == [("slower", "git", True, True)]
    assert because(causes_of(found)[0]).startswith("Slower git commands: 1 → 1 commands, each ")


@pytest.mark.parametrize("compute", [1_000, 1_200], ids=["alone", "beside slower nodes"])
def test_the_framework_is_a_reason_though_it_has_no_spans(compute: float) -> None:
    base, candidate = in_turns(runs([], 1_000), runs([], compute))
    key = "working", "framework"
    slow = [
        replace(d, wall_us=d.wall_us + 10**6, on_wall={**d.on_wall, key: 10**6}) for d in candidate
    ]
    first, *others = causes_of(compared(base, slow))
    assert kinds([first]) == [("slower", "framework", True, True)]
    assert because(first) == (
        "Slower code between the nodes, LangGraph's or the run's own: 1.00 s more of the wall"
        " clock."
    )
    assert [cause.category for cause in others] == (["compute"] if compute > 1_000 else [])


def test_one_run_without_a_category_hides_no_reason() -> None:
    """Its number is the same by the medians, so it is the calls that got slower."""
    base = [{"llm": [], "git": [100 + n] * 6} for n in range(10)]
    candidate = [{"llm": [], "git": [1_000 + n] * (6 if n else 0)} for n in range(10)]
    found = causes_of(compared(*in_turns(base, candidate)))
    assert kinds(found) == [("slower", "git", True, True)]


def test_what_only_some_runs_have_is_clear_only_if_its_number_is() -> None:
    base: list[dict[str, Any]] = [{} for _ in range(5)]
    candidate = [{"names": ["new", "rare"] if n == 0 else ["new"]} for n in range(5)]
    found = compared(*in_turns(base, candidate))
    clear = {row.path[-1] for row in found.paths if row.path and row.is_lead}
    assert "new" in clear
    assert "rare" not in clear
    assert causes_of(compared(*in_turns(base, base))) == ()


def test_the_longest_of_what_is_new_is_linked_to() -> None:
    base = [{"llm": [100 + n]} for n in range(5)]
    candidate = [{"llm": [150 + n], "git": [20] * 9, "names": ["new"]} for n in range(5)]
    told = [link.text for link in links(compared(*in_turns(base, candidate)), "http://jaeger")]
    assert [text.partition(",")[0] for text in told[1:]] == [
        "the longest node worker / git commit",
        "the longest node worker / chat m",
    ]

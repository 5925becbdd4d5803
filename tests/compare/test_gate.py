"""What fails a build: rules, thresholds, families of metrics, and where nothing can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import expm1

import pytest

from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.gate import judge
from otel_orchestrator.analysis.comparing.measures import measure_of
from otel_orchestrator.analysis.comparing.rules import DECLARED, Rule, parse_rule, rules_with
from otel_orchestrator.errors import OrchestratorError

from .made import in_turns

STEADY = [100, 101, 102, 103, 104]
NOISY = [100, 120, 140, 160, 180]


def standing(base: Sequence[float], candidate: Sequence[float], rule: Rule) -> str:
    """Judge one of three metrics, of which the runs have these values in milliseconds."""
    groups = in_turns([{"llm": [ms]} for ms in base], [{"llm": [ms]} for ms in candidate])
    measure = measure_of(rule.metric, groups[0])
    return judge(measure, rule, *groups, Fraction(1, 60)).standing


@pytest.mark.parametrize(
    ("base", "candidate", "limits", "expected"),
    [
        (STEADY, [ms * 1.2 for ms in STEADY], (0.05, 10), "regression"),
        (STEADY, [ms * 1.04 for ms in STEADY], (0.05, 0), "undecided"),
        (STEADY, [ms * 1.02 for ms in STEADY], (0.05, 0), "undecided"),
        (STEADY, STEADY, (0.05, 0), "no regression"),
        (STEADY, [ms * 0.5 for ms in STEADY], (0.05, 0), "no regression"),
        (NOISY, NOISY, (0.05, 0), "undecided"),
        (NOISY, [ms * 1.2 for ms in NOISY], (0.05, 0), "undecided"),
        (NOISY, [ms * 1.9 for ms in NOISY], (0.05, 0), "regression"),
        # Past one of the limits only.
        (STEADY, [ms * 1.2 for ms in STEADY], (0.05, 30), "no regression"),
        (STEADY, [ms * 1.2 for ms in STEADY], (0.30, 1), "no regression"),
        # Three against three can never be told from chance at 1/60.
        (STEADY[:3], [ms * 9 for ms in STEADY[:3]], (0.05, 0), "too few runs"),
        (STEADY[:4], [ms * 1.2 for ms in STEADY[:4]], (0.05, 0), "regression"),
    ],
)
def test_the_decision(
    base: list[float], candidate: list[float], limits: tuple[float, float], expected: str
) -> None:
    share, ms = limits
    assert standing(base, candidate, Rule("llm.mean", share, ms * 1e3)) == expected


def compared(n: int, factor: float, *rules: str) -> Comparison:
    base = [{"llm": [ms], "git": [ms], "lock": ms} for ms in range(100, 100 + n)]
    candidate = [{"llm": [ms * factor], "git": [ms], "lock": ms} for ms in range(100, 100 + n)]
    judged = rules_with(parse_rule(rule) for rule in rules)
    return compare(*in_turns(base, candidate), judged, trusted=False)


def test_wall_mean_llm_call_and_waiting_are_judged() -> None:
    found = compared(5, 1.5)
    assert [(g.rule.metric, g.standing) for g in found.gates] == [
        ("wall", "regression"),
        ("llm.mean", "regression"),
        ("waiting", "no regression"),
    ]
    assert found.exit_code(strict=False) == 1


def test_git_that_got_slower_fails_nothing_unless_a_rule_says_so() -> None:
    """Its path is a lead; the wall does not notice 10 ms of a second."""
    base = [{"llm": [900], "git": [10 + n / 10]} for n in range(5)]
    candidate = [{"llm": [900], "git": [20 + n / 10]} for n in range(5)]
    groups = in_turns(base, candidate)
    found = compare(*groups, DECLARED, trusted=False)
    assert found.exit_code(strict=True) == 0
    assert [row.is_lead for row in found.paths if row.path and row.path[-1] == "git commit"] == [
        True
    ]
    rules = rules_with([parse_rule("git commit.mean>+50%")])
    assert compare(*groups, rules, trusted=False).exit_code(strict=False) == 1


def test_another_metric_joins_the_family_and_needs_more_runs() -> None:
    assert compared(4, 1.5).standing == "regression"
    four_metrics = compared(4, 1.5, "git.mean>+10%")
    assert four_metrics.standing == "too few runs"
    assert four_metrics.exit_code(strict=False) == 0
    assert compared(5, 1.5, "git.mean>+10%").standing == "regression"


def test_all_metrics_together_err_in_no_more_than_five_of_a_hundred() -> None:
    for n in range(4, 12):
        for rules in ((), ("git.mean>+10%",), ("git.mean>+10%", "git.p95>+10%", "git.count>+9%")):
            assert 0 <= compared(n, 1.5, *rules).false_alarms <= 0.05


def test_a_rule_for_a_declared_metric_changes_its_limits_and_not_the_family() -> None:
    found = compared(4, 1.5, "llm.mean>+60%")
    assert len(found.gates) == 3
    assert found.gate("llm.mean").standing == "no regression"


def test_below_four_against_four_nothing_is_judged_however_different() -> None:
    found = compared(3, 9)
    assert {g.standing for g in found.gates} == {"too few runs"}
    assert (found.exit_code(strict=False), found.exit_code(strict=True)) == (0, 3)


def test_many_runs_against_three_are_not_judged_either() -> None:
    groups = in_turns(
        [{"llm": [100 + n]} for n in range(12)], [{"llm": [900 + n]} for n in range(12)]
    )
    found = compare(groups[0][:3], groups[1], DECLARED, trusted=False)
    assert found.standing == "too few runs"


def test_undecided_says_what_so_many_runs_would_have_found() -> None:
    base = [{"llm": [ms]} for ms in NOISY]
    found = compare(*in_turns(base, base), DECLARED, trusted=False)
    gate = found.gate("llm.mean")
    assert gate.standing == "undecided"
    assert gate.smallest_found is not None
    assert gate.values.shift is not None
    more = expm1(gate.smallest_found) + 1.001
    slower = [{"llm": [ms * more]} for ms in NOISY]
    again = compare(*in_turns(base, slower), DECLARED, trusted=False)
    assert again.gate("llm.mean").standing == "regression"
    assert found.exit_code(strict=False) == 0
    assert found.exit_code(strict=True) == 3


def test_runs_without_llm_calls_are_judged_by_the_rest() -> None:
    quiet = [{"llm": [], "git": [100 + n], "lock": 50} for n in range(5)]
    found = compare(*in_turns(quiet, quiet), DECLARED, trusted=False)
    assert found.gate("llm.mean").standing == "not measured"
    assert found.standing == "no regression"


def test_a_metric_that_only_some_runs_have_is_undecided() -> None:
    base = [{"llm": [100 + n]} for n in range(5)]
    candidate = [{"llm": [100 + n] if n else []} for n in range(5)]
    found = compare(*in_turns(base, candidate), DECLARED, trusted=False)
    assert found.gate("llm.mean").standing == "undecided"
    assert found.gate("llm.mean").smallest_found is None


@pytest.mark.parametrize(
    ("base", "candidate", "rule", "expected"),
    [
        (0, 1, "wait lock.count>+300%", "regression"),
        (0, 1, "wait lock.count>+100000%", "regression"),
        (1, 0, "wait lock.count>+300%", "no regression"),
        (0, 0, "wait lock.count>+0%", "no regression"),
        (1, 1, "wait lock.count>+0%", "no regression"),
    ],
)
def test_a_share_of_nothing_is_nothing(
    base: float, candidate: float, rule: str, expected: str
) -> None:
    groups = in_turns([{"lock": base}] * 5, [{"lock": candidate}] * 5)
    # So that the category is known where no run of either side has it.
    first = [{"lock": 1}] if not base + candidate else []
    measure = measure_of("wait lock.count", (*groups[0], *groups[1], *in_turns(first, first)[0]))
    assert judge(measure, parse_rule(rule), *groups, Fraction(1, 60)).standing == expected


@pytest.mark.parametrize(
    ("base", "candidate", "is_better"),
    [(15, 8, False), (50, 39, True), (50, 41, False), (1000, 940, True), (1000, 960, False)],
)
def test_a_fall_is_better_past_the_same_limits(
    base: float, candidate: float, is_better: bool
) -> None:
    groups = in_turns([{"llm": [base]}] * 5, [{"llm": [candidate]}] * 5)
    gate = compare(*groups, DECLARED, trusted=False).gate("llm.mean")
    assert (gate.standing, gate.is_better) == ("no regression", is_better)


def test_waiting_from_nothing_is_a_regression() -> None:
    base = [{"lock": 0} for _ in range(5)]
    candidate = [{"lock": 500 + n} for n in range(5)]
    found = compare(*in_turns(base, candidate), DECLARED, trusted=False)
    assert found.gate("waiting").standing == "regression"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("wall>+5%", Rule("wall", 0.05, 0)),
        ("wall > 5 %", Rule("wall", 0.05, 0)),
        ("llm.mean>+10%,50ms", Rule("llm.mean", 0.1, 50_000)),
        ("waiting.barrier>+2s", Rule("waiting.barrier", 0, 2_000_000)),
        ("waiting.count>+2s", Rule("waiting.count", 0, 2_000_000)),
        ("llm.count>+10%", Rule("llm.count", 0.1, 0)),
        ("a/b>c.p95>+2.5%,250us", Rule("a/b>c.p95", 0.025, 250)),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "wall", "wall>", ">+5%", "wall>-5%", "wall>5", "wall>5%,6%", "wall>1s,2ms", "wall<5%"],
)
def test_what_is_no_rule_is_said(text: str) -> None:
    with pytest.raises(OrchestratorError, match="is no rule"):
        parse_rule(text)


@pytest.mark.parametrize("text", ["llm.count>+1s", "a/git commit.count > 10%, 5ms", "x.count>+0us"])
def test_a_limit_in_time_on_a_number_is_said(text: str) -> None:
    """It would be met by any growth at all."""
    with pytest.raises(OrchestratorError, match=r"count is a number, and has no limit in time"):
        parse_rule(text)


def test_two_rules_for_one_metric_are_one_too_many() -> None:
    with pytest.raises(OrchestratorError, match="two rules for wall"):
        rules_with([Rule("wall", 0.1), Rule("wall", 0.2)])


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("speed>+5%", "speed is nothing to compare"),
        ("git.best>+5%", "git.best is nothing to compare"),
        ("http.mean>+5%", "no category and no path http"),
        ("node worker/git push.mean>+5%", "no category and no path node worker/git push"),
        ("commit.mean>+5%", "no category and no path commit"),
        ("waiting.barier>+1%", "no waits barier. Type waiting. and one of barrier, checkpoint"),
        ("waiting.git>+1%", "no waits git"),
    ],
)
def test_a_rule_for_what_no_run_has_is_said(metric: str, problem: str) -> None:
    with pytest.raises(OrchestratorError, match=problem):
        compared(5, 1, metric)


def test_categories_that_are_too_many_to_list_are_counted() -> None:
    [digest], _ = in_turns([{}], [{}])
    one = digest.categories[0]
    many = replace(
        digest, categories=tuple(replace(one, key=("working", f"c{n}")) for n in range(11))
    )
    with pytest.raises(OrchestratorError, match=r"c0, c1, c10, c2, .*, … and 3 more; --format"):
        measure_of("http.mean", [many])


def test_waits_that_no_run_has_but_any_may_have_are_judged() -> None:
    assert compared(5, 1, "waiting.barrier>+1%").gate("waiting.barrier").standing == "no regression"


@pytest.mark.parametrize(
    "name",
    ["git commit.mean", "node worker/git commit.p95", "invoke_workflow w / superstep.total",
     "llm.count", "waiting.lock", "wait lock.mean", "chat m.median"],
)  # fmt: skip
def test_categories_waits_and_ends_of_paths_can_be_judged(name: str) -> None:
    assert compared(6, 1, f"{name}>+50%").gate(name).standing == "no regression"

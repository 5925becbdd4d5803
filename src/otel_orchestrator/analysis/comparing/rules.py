"""What is to fail a build, declared before anything is looked at: `llm.mean>+10%,50ms`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Final

from ...errors import OrchestratorError
from .measures import LLM_MEAN, WAITING, WALL, is_count

_LIMIT: Final = re.compile(r"\+?(\d+(?:\.\d+)?)\s*(%|us|µs|ms|s)")
_MICROSECONDS: Final = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_SHARE: Final = 0.05
_LEAST_US: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class Rule:
    """By how much something may grow; it has to be past both limits to count.

    Attributes:
        metric: the name of a measure.
        share: as a share of the base: 0.05 is 5 %.
        us: in microseconds.
    """

    metric: str
    share: float = _SHARE
    us: float = _LEAST_US


DECLARED: Final = (Rule(WALL), Rule(LLM_MEAN), Rule(WAITING))
"""What every comparison is judged by."""


def parse_rule(text: str) -> Rule:
    """Read a rule such as `wall>+5%`, `llm.mean>+10%,50ms` or `node worker/git commit.p95>+1s`.

    Raises:
        OrchestratorError: it is none.
    """
    metric, _, limits = (part.strip() for part in text.rpartition(">"))
    found = [_LIMIT.fullmatch(limit.strip()) for limit in limits.split(",")]
    units = [match[2] if match else "" for match in found]
    is_share = [unit == "%" for unit in units]
    if not metric or not all(units) or is_share.count(True) > 1 or is_share.count(False) > 1:
        raise OrchestratorError(
            f"--fail-on {text!r} is no rule. Type a metric, > and one or two limits:"
            " 'wall>+5%', 'llm.mean>+10%,50ms'"
        )
    if is_count(metric) and False in is_share:
        raise OrchestratorError(
            f"--fail-on {text!r}: {metric} is a number, and has no limit in time. Type a share:"
            f" '{metric}>+10%'"
        )
    share = us = 0.0
    for match in found:
        assert match is not None
        if match[2] == "%":
            share = float(match[1]) / 100
        else:
            us = float(match[1]) * _MICROSECONDS[match[2]]
    if not isfinite(share) or not isfinite(us):
        raise OrchestratorError(f"--fail-on: the limit of {metric} is too large to be a number")
    return Rule(metric, share, us)


def rules_with(named: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the declared rules, changed or joined by others.

    Raises:
        OrchestratorError: two are for one metric.
    """
    rules = {rule.metric: rule for rule in DECLARED}
    seen: set[str] = set()
    for rule in named:
        if rule.metric in seen:
            raise OrchestratorError(f"there are two rules for {rule.metric}: leave one out")
        seen.add(rule.metric)
        rules[rule.metric] = rule
    return tuple(rules.values())

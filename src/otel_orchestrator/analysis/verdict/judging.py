"""The verdict: which of the four suspects takes the time, how much, and what to do about it.

The suspects are told apart like this, so that slowing one of them moves only its own measure:

- *LLM latency* is judged by the typical worker: the median of what LLM calls take of a job's time
  besides git. One straggler, a slow Director and slow git leave the median where it is.
- *git* is judged by its share of the wall, whoever runs it: workers, and the Strategist who merges.
- *superstep blocking* is judged by the slot time that held tasks cost while workers are at work:
  the time of Director and Strategist is no part of that whole, nor are slots that never had work.
- the *sequential cycle* is judged by the share of the wall in which Director and Strategist, or an
  agent that hands out work, run between and after workers and no worker can: their LLM calls
  included, their git not. The plan
  that the run opens with does not count: nothing could have run before it.

Where a slow LLM makes up nearly everything, the cycle's share tends to what the calls of Director
and Strategist are of all calls in sequence: with few calls for each worker, both are supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ... import semconv
from ..accounting.views import Accounting
from ..per_cent import per_cent
from ..phases import Phases, phases_of
from ..tally import Breakdown
from ..whatif.estimates import WhatIf, what_if
from . import hypotheses
from .findings import CANNOT_BE_TOLD, MATERIAL, SUPPORTED, Case, Finding, unsure_of
from .hypotheses import (
    CYCLE_SHARE_OF_WALL,
    GIT_SHARE_OF_WALL,
    HELD_SHARE_OF_SLOTS,
    LLM_SHARE_OF_TASK,
    in_llm,
)
from .largest import Largest, largest_of

EXPLANATIONS: Final[Mapping[str, str]] = {
    "llm": (
        "Supported if LLM calls, with rate limits and waits for a connection, take at least"
        f" {per_cent(LLM_SHARE_OF_TASK)} of what the typical (median) worker's job takes besides"
        f" git, and at least {per_cent(MATERIAL)} of the wall or of slot time. Shares count the"
        " calls of workers: those of Director and Strategist belong to the sequential cycle. Of the"
        " wall: along each superstep's straggler, and where that queued, along what ran in its slot"
        " before."
    ),
    "git": (
        f"Supported if git takes at least {per_cent(GIT_SHARE_OF_WALL)} of the wall, the upper end"
        " of the bet: that of workers along the straggler as above, and that of Director and"
        " Strategist."
    ),
    "superstep": (
        "Supported if tasks that could have started but for a barrier (held) cost at least"
        f" {per_cent(HELD_SHARE_OF_SLOTS)} of the time of the slots that had work at all, while"
        f" workers are at work, and at least {per_cent(MATERIAL)} of all of their time. Its share"
        " of slot time is that of all slots. Its share of the wall is 1 - (wall without barriers /"
        " wall), with as many calls of Director and Strategist as there were: what those cost is"
        " the cycle's. Where dependencies are not known, idle slots before a barrier are an upper"
        " bound: instrument(tasks_key=..., task_fields=...) says where the graph's state holds"
        " them."
    ),
    "cycle": (
        "Supported if Director and Strategist, or the agent that hands out the work, after the"
        f" first workers, take at least {per_cent(CYCLE_SHARE_OF_WALL)} of the wall, without their"
        " git. Its share of slot time: their own slot, which an agent has not, and the slots that"
        " were idle meanwhile."
    ),
    "bets": (
        "What was expected is what people bet on before anything was measured. Shares of slot time"
        " (slots x wall) of the whole run: llm and git wherever they ran, held"
        " and barrier as superstep synchronisation, and the rest, idle slots included."
    ),
}
"""How each finding is made, by its key."""


@dataclass(frozen=True, slots=True)
class Bet:
    """A share that was bet on before anything was measured, and what was measured: slot time."""

    key: str
    low: float
    high: float
    measured: float

    @property
    def holds(self) -> bool:
        """Whether what was measured is within the bet."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the run says of the four hypotheses.

    Attributes:
        doubt: why nothing can be told from this run, if so.
        findings: in the order llm, git, superstep, cycle.
        bets: llm, git, superstep, rest.
        superstep_share: held and barrier in slot time.
        superstep_share_of_used: the same of the slots that had work at all, for the rule that more
            than `HELD_SHARE_OF_SLOTS` makes continuous dispatch worth it.
        is_continuous_worth_it: whether that rule says so, or this run would save as large a share
            of its wall; None where that cannot be told.
        largest: the largest part of the wall, where none of the four is supported and nothing is
            missing.
    """

    doubt: str | None
    findings: tuple[Finding, ...]
    bets: tuple[Bet, ...]
    superstep_share: float
    superstep_share_of_used: float
    is_continuous_worth_it: bool | None
    largest: Largest | None

    def of(self, key: str) -> Finding:
        """Return the finding on one hypothesis."""
        return next(f for f in self.findings if f.key == key)


def verdict(
    accounting: Accounting, estimates: WhatIf | None = None, phases: Phases | None = None
) -> Verdict:
    """Judge a run.

    Args:
        accounting: of the run.
        estimates, phases: of the run, if they have been worked out already.
    """
    outline = accounting.outline
    phases = phases or phases_of(outline)
    case = Case(accounting, phases, estimates or what_if(outline, phases), unsure_of(outline))
    slots, used = accounting.slots.total, accounting.slots.used
    superstep = _superstep_share(slots)
    blocking = hypotheses.superstep(case)
    findings = (hypotheses.llm(case), hypotheses.git(case), blocking, hypotheses.sequence(case))
    is_open = all(f.standing != SUPPORTED for f in findings)
    return Verdict(
        doubt=case.doubt(),
        findings=findings,
        bets=_bets(slots, superstep),
        superstep_share=superstep,
        superstep_share_of_used=_superstep_share(used),
        is_continuous_worth_it=_is_worth_it(used, blocking),
        largest=largest_of(case) if is_open and not case.doubt_about_spans() else None,
    )


def _superstep_share(slots: Breakdown) -> float:
    return slots.share(semconv.HELD, semconv.BARRIER, state=semconv.WAITING)


_BETS: Final = (("llm", 0.60, 0.80), ("git", 0.10, 0.20), ("superstep", 0.05, 0.10))


def _bets(slots: Breakdown, superstep: float) -> tuple[Bet, ...]:
    measured = {
        "llm": in_llm(slots) / slots.whole_ns if slots.whole_ns else 0.0,
        "git": slots.share(semconv.GIT, state=semconv.WORKING),
        "superstep": superstep,
    }
    rest = max(0.0, 1 - sum(measured.values())) if slots.whole_ns else 0.0
    bets = (Bet(key, low, high, measured[key]) for key, low, high in _BETS)
    return (*bets, Bet("rest", 0.05, 0.10, rest))


def _is_worth_it(used: Breakdown, blocking: Finding) -> bool | None:
    held = used.share(semconv.HELD, state=semconv.WAITING)
    if blocking.standing == CANNOT_BE_TOLD or held <= HELD_SHARE_OF_SLOTS < _superstep_share(used):
        return None
    return max(held, blocking.share_of_wall or 0.0) > HELD_SHARE_OF_SLOTS

"""What a change would save, before anybody makes it: each as a band, with what it assumes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ... import semconv
from ...semconv import Attr
from ..calls import Called
from ..intervals import Interval, length, without
from ..jobs import Job, Superstep, by_start, outermost
from ..outline import Outline
from ..per_cent import per_cent
from ..phases import Phases, phases_of
from ..prompts import equal_prompts
from .continuous import dispatched
from .paper import MARGIN, SERVICE_SPREAD, Band, Estimate, Paper, Times, unknown

_PARALLEL_CALLS: Final = 2
_LLM: Final = (semconv.LLM, semconv.RATE_LIMIT, semconv.RETRY_BACKOFF, semconv.POOL)
"""What LLM calls do and wait for."""

EXPLANATION: Final = (
    "Measured service times, placed again on the slots: the order in which jobs are ready is what"
    " is expected; the band also takes the longest chain first, service times up to"
    f" {per_cent(SERVICE_SPREAD)} off, the bound that no order can beat, and {per_cent(MARGIN)}"
    " more on either side. What is no job takes as long as it took. Of more than 5 000 jobs of"
    " workers, some turns of every length stand for all."
)
"""How estimates are made."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """All estimates for a run whose wall clock was `wall_ns`."""

    wall_ns: int
    estimates: tuple[Estimate, ...]

    def named(self, name: str) -> Estimate:
        """Return one of them."""
        return next(e for e in self.estimates if e.name == name)


def what_if(outline: Outline, phases: Phases | None = None) -> WhatIf:
    """Estimate what each change would lead to."""
    model = Paper(outline, phases or phases_of(outline))
    estimates = (
        *dispatched(model),
        *_workers(model),
        *_llm(model),
        *_git(model),
        _prompts_cached(model),
        _director_overlapped(model),
    )
    return WhatIf(outline.wall_ns, estimates)


def _workers(model: Paper) -> list[Estimate]:
    slots = model.outline.slots
    changes = (
        ("workers_minus_1", "One worker fewer", slots - 1),
        ("workers_plus_1", "One worker more", slots + 1),
        ("workers_times_2", "Twice as many workers", slots * 2),
    )
    estimates = []
    for name, title, count in changes:
        if count < 1:
            estimates.append(unknown(name, title, "there was only one worker"))
            continue
        told = f"{title}: {count} instead of {slots}"
        if count > slots and model.outline.limit is None:
            reason = "the number of workers was not limited, so nothing waited for a slot"
            estimates.append(unknown(name, told, reason))
        else:
            assumptions = (
                "the plan stays the same, and so does what runs in which superstep",
                "tasks take as long as they took: neither the LLM nor the machine gets slower",
            )
            estimates.append(model.estimate(name, told, model.measured, count, assumptions))
    return estimates


def _llm(model: Paper) -> list[Estimate]:
    name, title = "llm_twice_as_fast", "LLM calls twice as fast"
    if not model.phases.any_did(semconv.LLM, state=semconv.WORKING):
        reason = "no LLM call was recorded"
        parallel = f"{_PARALLEL_CALLS} LLM calls of a node in parallel"
        return [unknown(name, title, reason), unknown("llm_parallel", parallel, reason)]
    called_ns = model.served_ns(semconv.LLM, state=semconv.WORKING)
    faster = model.estimate(
        name,
        title,
        model.less([ns // 2 for ns in called_ns], *_LLM),
        model.outline.slots,
        ("every LLM call takes half as long, the Director's too", "back-off stays what it was"),
    )
    return [faster, _llm_parallel(model)]


def _llm_parallel(model: Paper) -> Estimate:
    def saved(ns: int, longest_ns: int) -> int:
        return ns - max(-(-ns // _PARALLEL_CALLS), longest_ns)

    in_row = [called.llm_in_row for called in model.called]
    expected = model.estimate(
        "llm_parallel",
        f"{_PARALLEL_CALLS} LLM calls of a node in parallel",
        model.less([saved(calls.ns, calls.longest_row_ns) for calls in in_row], *_LLM),
        model.outline.slots,
        (
            "expected: the calls of one agent wait for each other, those of different agents and"
            " those outside of agents do not",
            "low: no call waits for another; high: every call waits for the one before it",
        ),
    )
    best = model.less([saved(calls.ns, calls.longest_ns) for calls in in_row], *_LLM)
    return _widened(model, expected, best, model.measured)


def _git(model: Paper) -> list[Estimate]:
    slots = model.outline.slots
    if not model.phases.any_did(semconv.GIT):
        reason = "no git command was recorded"
        return [
            unknown("git_free", "git takes no time", reason),
            unknown("git_batched", "git commands batched", reason),
        ]
    free = model.estimate(
        "git_free",
        "git takes no time",
        model.less(model.served_ns(semconv.GIT), semconv.GIT),
        slots,
        ("an upper bound for every way of making git faster",),
    )
    in_row = [called.git_in_row for called in model.called]
    batched = model.estimate(
        "git_batched",
        "git commands batched",
        model.less([commands.but_longest_ns for commands in in_row], semconv.GIT),
        slots,
        (
            "git commands that follow on each other become one that takes as long as the longest",
            "low: all git commands of a node become one; high: batching gains nothing",
        ),
    )
    at_best = [commands.ns - commands.longest_ns for commands in in_row]
    best = model.less(at_best, semconv.GIT)
    return [free, _widened(model, batched, best, model.measured)]


def _prompts_cached(model: Paper) -> Estimate:
    name, title = "prompts_cached", "Answers to equal prompts out of a cache"
    asked = {
        call.span_id: call
        for did in model.phases.did.values()
        for call in did.calls.llm
        if call.is_hashed
    }
    if not asked:
        return unknown(name, title, "no LLM call carries a hash of its prompt")
    groups = equal_prompts(call for call in asked.values() if call.same)
    saved = {one.span_id for g in groups for one in g.repeated}
    at_best = saved | {one.span_id for g in groups for one in g.meanwhile}
    ids = [[call.span_id for call in called.llm] for called in model.called]

    def less(cached: Set[str]) -> Times:
        saved_ns = [
            0 if cached.isdisjoint(of_job) else _saved(called.calls, cached)
            for called, of_job in zip(model.called, ids, strict=True)
        ]
        return model.less(saved_ns, *_LLM)

    expected = model.estimate(
        name,
        f"{title} ({len(saved)} of {len(asked)} calls)",
        less(saved),
        model.outline.slots,
        (
            "a call whose prompt was answered before, in this run, takes no time",
            "low: one whose prompt is just being answered takes none either",
        ),
    )
    return _widened(model, expected, less(at_best))


def _saved(calls: Sequence[Sequence[Called]], cached: Set[str]) -> int:
    """Return what a job saves if some of its calls, or of those inside of them, take no time."""
    whole = sorted([call[0].interval for call in calls])
    if all(end <= start for (_, end), (start, _) in pairwise(whole)):
        # One after the other, as nearly always: what each saves adds up.
        return sum([_saved_of(call, cached) for call in calls])
    left = [stretch for call in calls for stretch in _left_of(call, cached)]
    return length(whole) - length(left)


def _saved_of(call: Sequence[Called], cached: Set[str]) -> int:
    outer = call[0]
    if outer.span_id in cached:
        return outer.took_ns
    if len(call) == 1:
        return 0
    return outer.took_ns - sum([end - start for start, end in _left_of(call, cached)])


def _left_of(call: Sequence[Called], cached: Set[str]) -> list[Interval]:
    """Return when a call goes on if some calls, it or those inside of it, take no time."""
    gone = [c.interval for c in call if c.span_id in cached]
    return without(call[0].interval, gone) if gone else [call[0].interval]


def _director_overlapped(model: Paper) -> Estimate:
    name, title = "director_overlapped", "The Director looks while workers work"
    if (reason := model.why_not()) is not None:
        return unknown(name, title, reason)
    if not model.phases.middle:
        return unknown(name, title, "no Director ran between workers")
    head = _head(model.outline)
    expected = careful = best = 0
    for turn, alone in _turns_and_what_follows(model):
        heads = model.took(j for j in alone if j.name == head)
        start, end = turn.window
        expected += min(heads, end - start)
        careful += min(heads, end - min(j.ended_ns for j in turn.slot_jobs))
        best += model.took(alone)
    wall = model.outline.wall_ns
    return model.told(
        name,
        title,
        wall - expected,
        [wall - careful, wall - best],
        (
            f"{head} between two turns of workers runs beside the turn before it",
            "low: the Strategist does, too; high: only while that turn's straggler still runs",
            "what it decides does not change for not having seen everything",
        ),
    )


def _turns_and_what_follows(model: Paper) -> list[tuple[Superstep, list[Job]]]:
    """Return each turn but the last with the jobs between it and the next."""
    middle = sorted(model.phases.middle, key=by_start)
    starts = [j.started_ns for j in middle]
    return [
        (here, middle[bisect_left(starts, here.end_ns) : bisect_left(starts, there.start_ns)])
        for here, there in pairwise(model.phases.turns)
    ]


def _head(outline: Outline) -> str:
    """Return the name of the node that opens a loop."""
    for loop in outermost(outline.top, semconv.LOOP):
        if (head := loop.span.text(Attr.LOOP_HEAD)) is not None:
            return head
    return outline.supersteps[0].jobs[0].name if outline.supersteps[0].jobs else ""


def _widened(model: Paper, estimate: Estimate, *services: Times) -> Estimate:
    """Let the band reach to what other service times would lead to."""
    if estimate.band is None:
        return estimate
    bands = [
        e.band
        for e in (model.estimate("", "", times, model.outline.slots, ()) for times in services)
        if e.band is not None
    ]
    band = Band(
        min(estimate.band.low_ns, *(b.low_ns for b in bands)),
        estimate.band.expected_ns,
        max(estimate.band.high_ns, *(b.high_ns for b in bands)),
    )
    return Estimate(
        estimate.name, estimate.title, band, estimate.saves, estimate.assumptions, estimate.reason
    )

"""The four hypotheses, each with a measure that only its own cause moves; see `judging`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from statistics import median
from typing import Final

from ... import semconv
from ..accounting.barriers import Barrier
from ..accounting.exclusive import exclusive
from ..accounting.views import of_jobs_on_path
from ..calls import is_call
from ..examples import Example, example
from ..intervals import Interval, union
from ..tally import Breakdown, together
from .findings import MATERIAL, Case, Finding, Number, finding

LLM_SHARE_OF_TASK: Final = 0.50
GIT_SHARE_OF_WALL: Final = 0.20
HELD_SHARE_OF_SLOTS: Final = 0.30
CYCLE_SHARE_OF_WALL: Final = 0.30
_EXAMPLES: Final = 3

_LLM_WAITS: Final = (semconv.RATE_LIMIT, semconv.POOL)


def in_llm(did: Breakdown) -> int:
    """Return what LLM calls took, and what they waited for; not a wait that a user calls `llm`."""
    called = did.ns(semconv.LLM, state=semconv.WORKING)
    return called + did.ns(*_LLM_WAITS, state=semconv.WAITING)


def llm(case: Case) -> Finding:
    """Judge LLM latency by what the typical worker does."""
    services = [case.service(j) for j in case.workers]
    called = [in_llm(s) for s in services]
    # What never started, or came out of a cache, says nothing of what workers do.
    ratios = [
        _ratio(ns, s.whole_ns - s.ns(semconv.GIT))
        for ns, s in zip(called, services, strict=True)
        if s.whole_ns
    ]
    total = sum(called)
    on_wall = sum(in_llm(case.service(j)) for j in case.chain)
    if not case.outline.supersteps:
        on_wall = in_llm(of_jobs_on_path(case.outline, case.workers))
    calls = case.calls.llm
    shares = case.of_wall(on_wall), case.of_slots(total)
    return finding(
        case,
        key="llm",
        title="LLM latency: workers spend their time in LLM calls",
        concerns=(semconv.LLM, *_LLM_WAITS),
        doubt=None
        if calls.count
        else "no worker's LLM call was recorded: none was made, or none is traced",
        measure=median(ratios) if ratios else None,
        threshold=LLM_SHARE_OF_TASK,
        told="of what the typical worker does besides git is LLM calls",
        shares=shares,
        is_material=max(shares) >= MATERIAL,
        numbers=(
            Number("LLM calls of workers", calls.count, "count"),
            Number("in LLM calls, all workers", total, "ns"),
            Number("in LLM calls, on the wall", on_wall, "ns"),
            Number("of which rate limits", _sum(services, semconv.RATE_LIMIT), "ns"),
            Number("of which waits for a connection", _sum(services, semconv.POOL), "ns"),
        ),
        examples=calls.longest,
        advice=(
            "Use a faster or smaller model for simple tasks, and ask for shorter answers: output"
            " tokens are what takes the time.",
            "Cache: the provider's prompt cache for long common prefixes, an own cache for equal"
            " prompts (see what-if).",
            "Ask in parallel what does not wait for other answers, and raise the number of workers"
            " while neither slots' queue nor rate limits grow.",
        ),
    )


def git(case: Case) -> Finding:
    """Judge git by its share of the wall."""
    cycle = (*case.phases.opening, *case.phases.cycle)
    by_workers = sum(case.service(j).ns(semconv.GIT) for j in case.chain)
    by_cycle = case.phases.total(cycle, semconv.GIT)
    on_wall = by_workers + by_cycle
    if not case.outline.supersteps:
        on_wall = case.accounting.wall.ns(semconv.GIT)
    total = case.accounting.slots.total.ns(semconv.GIT, state=semconv.WORKING)
    commands = case.calls.git
    return finding(
        case,
        key="git",
        title="File I/O in worktrees: git is slow",
        concerns=(semconv.GIT,),
        doubt=None
        if commands.count
        else "no git command was recorded: none was run, or git is not traced",
        measure=case.of_wall(on_wall),
        threshold=GIT_SHARE_OF_WALL,
        told="of the wall is git",
        shares=(case.of_wall(on_wall), case.of_slots(total)),
        numbers=(
            Number("git commands", commands.count, "count"),
            Number("in git, all slots", total, "ns"),
            Number("in git, on the wall, workers", by_workers, "ns"),
            Number("in git, on the wall, Director and Strategist", by_cycle, "ns"),
        ),
        examples=commands.longest,
        advice=(
            "Batch commits, and merge several branches at once instead of one after the other.",
            "Use git worktree less: keep a pool of worktrees and reset them instead of adding and"
            " removing one for each task.",
            "Look at the worst commands: hooks, a cold file system cache, large checkouts"
            " (sparse-checkout, --no-checkout) and lock contention are the usual causes.",
        ),
    )


def superstep(case: Case) -> Finding:
    """Judge barriers by the slot time that held tasks cost while workers are at work."""
    view = case.accounting.slots
    windows = [t.window for t in case.phases.turns]
    # A limit that is higher than anything ever runs at once makes no barrier shorter.
    whole = len(view.slots) * sum(end - start for start, end in windows)
    held = view.used_idle_within(windows, semconv.HELD)
    unknown = view.used_idle_within(windows, semconv.BARRIER)
    measure = _ratio(held, whole)
    at_most = _ratio(held + unknown, whole)
    all_held = view.total.share(semconv.HELD, state=semconv.WAITING)
    doubt = None
    if not case.phases.turns:
        doubt = "no superstep with workers was recorded"
    elif measure < HELD_SHARE_OF_SLOTS <= at_most:
        doubt = (
            "what tasks depend on is not known: idle slots before barriers are"
            f" {at_most:.0%} of the time of the slots that had work, an upper bound. If the graph's"
            " state says it, say where: instrument(tasks_key=..., task_fields=...)"
        )
    kept = "kept idle by barriers"
    if unknown:
        kept = f"known to be {kept}, {at_most:.0%} at most: what tasks depend on is not known"
    estimate = case.estimates.named("no_barrier")
    barriers = case.accounting.barriers
    return finding(
        case,
        key="superstep",
        title="Superstep blocking: tasks wait for a barrier that does not concern them",
        concerns=(semconv.HELD, semconv.BARRIER),
        doubt=doubt,
        measure=measure,
        threshold=HELD_SHARE_OF_SLOTS,
        told=f"of the time of the slots that had work, while workers are at work, is {kept}",
        shares=(
            None if estimate.saves is None else max(0.0, estimate.saves),
            all_held if not unknown else None,
        ),
        is_material=view.used.share(semconv.HELD, state=semconv.WAITING) >= MATERIAL,
        numbers=(
            Number("slot time that held tasks cost", held, "ns"),
            Number("idle before barriers, dependencies unknown (upper bound)", unknown, "ns"),
            Number("tasks that were held", sum(len(b.held) for b in barriers), "count"),
            Number("what they waited, together", sum(b.held_ns for b in barriers), "ns"),
            Number("what results waited for stragglers", _result_waits(barriers), "ns"),
        ),
        examples=_stragglers(barriers),
        advice=(
            "Dispatch continuously: start each task when its own dependencies are done (see"
            " what-if for what it saves).",
            "Split the stragglers, or start them first: their superstep lasts as long as they do.",
            "Put tasks that do not need each other into branches of their own, as subgraphs.",
        ),
    )


def sequence(case: Case) -> Finding:
    """Judge the cycle by the share of the wall in which it runs and no worker can."""
    cycle = _agent_cycle(case) if case.outline.between_agents else _superstep_cycle(case)
    on_wall = sum(cycle.by_name.values()) - cycle.git_ns
    idle = case.accounting.slots.idle_within(cycle.going_round, semconv.CYCLE)
    return finding(
        case,
        key="cycle",
        title=f"Sequential cycle: workers wait for {cycle.who}",
        concerns=(),
        doubt=cycle.doubt,
        measure=case.of_wall(on_wall),
        threshold=CYCLE_SHARE_OF_WALL,
        told=f"of the wall is {cycle.who}, between and after workers",
        shares=(case.of_wall(on_wall), case.of_slots(idle + cycle.takes_slots * on_wall)),
        numbers=(
            Number("turns of workers", cycle.turns, "count"),
            *(Number(f"in {name}", ns, "ns") for name, ns in sorted(cycle.by_name.items())),
            Number("in their LLM calls", cycle.llm_ns, "ns"),
            Number("idle slots meanwhile", idle, "ns"),
        ),
        examples=cycle.examples,
        advice=cycle.advice,
    )


@dataclass(frozen=True, slots=True)
class _Cycle:
    """What comes around between workers.

    Attributes:
        who: runs then.
        turns: of workers.
        by_name: how long it took, by the names of those who ran.
        git_ns, llm_ns: what of that was git, and LLM calls.
        takes_slots: as nodes do; an agent that hands out work is none of its own workers.
        going_round: from the first workers to the run's end: while the plan is made no slot waits
            for the cycle, that comes before all of it.
        doubt: why it cannot be judged, if so.
    """

    who: str
    turns: int
    by_name: Mapping[str, int]
    git_ns: int
    llm_ns: int
    takes_slots: bool
    going_round: tuple[Interval, ...]
    examples: tuple[Example, ...]
    advice: tuple[str, ...]
    doubt: str | None = None


def _superstep_cycle(case: Case) -> _Cycle:
    jobs, turns = case.phases.cycle, case.phases.turns
    by_name: dict[str, int] = {}
    for job in jobs:
        by_name[job.name] = by_name.get(job.name, 0) + case.service(job).whole_ns
    doubt = None
    if not turns:
        doubt = "no superstep with workers was recorded"
    elif not jobs:
        doubt = "nothing ran between or after the workers"
    worst = nsmallest(_EXAMPLES, jobs, key=lambda j: (j.started_ns - j.ended_ns, j.span_id))
    return _Cycle(
        who="Director and Strategist",
        turns=len(turns),
        by_name=by_name,
        git_ns=case.phases.total(jobs, semconv.GIT),
        llm_ns=sum(in_llm(case.service(j)) for j in jobs),
        takes_slots=True,
        going_round=tuple((turn.window[0], case.outline.wall[1]) for turn in turns[:1]),
        examples=tuple(example(j.span, j.task_id, case.service(j).whole_ns) for j in worst),
        advice=(
            "Let the Director look while workers still work, and only when something changed (see"
            " what-if).",
            "Give Director and Strategist a faster model and a shorter prompt: what is new, not the"
            " whole plan.",
            "Go around less often: larger turns, or continuous dispatch with one look at the end.",
        ),
        doubt=doubt,
    )


def _agent_cycle(case: Case) -> _Cycle:
    outline = case.outline
    began = min(job.started_ns for job in outline.jobs)
    name = outline.root.name.partition(" ")[2]
    who = "the agent" if name in ("", "agent") else f"the agent {name}"
    own_turns = [gap for gap in outline.between_agents if gap[0] >= began]
    did = together(exclusive(outline, outline.top, turn) for turn in own_turns)
    calls = [ran for ran in outline.top.inside if is_call(ran.span) and ran.start_ns >= began]
    worst = nsmallest(_EXAMPLES, calls, key=lambda ran: (-ran.took_ns, ran.span.span_id))
    return _Cycle(
        who=who,
        turns=len(union(job.busy for job in outline.jobs)),
        by_name={who: did.whole_ns},
        git_ns=did.ns(semconv.GIT),
        llm_ns=in_llm(did),
        takes_slots=False,
        going_round=((began, outline.wall[1]),),
        examples=tuple(example(ran.span, None, ran.took_ns) for ran in worst),
        advice=(
            "Hand out more at once: agents that are called in one answer work beside each other.",
            f"Give {who} a faster model and a shorter prompt, and let those that it hands work to"
            " answer shortly: all that they answer is read again in every call.",
            "Go around less often: larger tasks, with what is needed for the next one in the same"
            " answer.",
        ),
    )


def _result_waits(barriers: Sequence[Barrier]) -> int:
    return sum(b.result_wait_ns for b in barriers)


def _stragglers(barriers: Sequence[Barrier]) -> tuple[Example, ...]:
    worst = sorted(barriers, key=lambda b: -b.held_ns)[:_EXAMPLES]
    return tuple(
        example(
            b.straggler.span,
            b.straggler.task_id,
            b.straggler.ended_ns - b.straggler.started_ns,
            f"that {', '.join(h.job.task_id or h.job.name for h in b.held)} waited for it",
            b.held_ns,
        )
        for b in worst
        if b.straggler is not None and b.held
    )


def _sum(services: Sequence[Breakdown], category: str) -> int:
    return sum(s.ns(category) for s in services)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole > 0 else 0.0

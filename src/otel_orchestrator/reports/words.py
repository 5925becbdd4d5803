"""What a report says in sentences, for every kind of report that people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from .. import semconv
from ..analysis.accounting.views import Accounting
from ..analysis.advice import pieces as kinds
from ..analysis.advice.pieces import Advice
from ..analysis.examples import Example
from ..analysis.per_cent import per_cent
from ..analysis.study import Study
from ..analysis.verdict.findings import CANNOT_BE_TOLD, SUPPORTED, Finding
from ..analysis.verdict.hypotheses import HELD_SHARE_OF_SLOTS
from ..analysis.verdict.judging import Bet, Verdict
from .units import count, duration, plural, share

NOTHING_TO_DO: Final = f"Nothing was seen that would save {per_cent(kinds.LEAST_SHARE)} of the wall"

BETS: Final = (
    "What people bet on before anything was measured, as shares of slot time (slots x wall). All"
    " calls and all git count here, those of Director and Strategist too"
)
"""What the table of bets is about, which is not what the findings above it measure."""

_SUSPECTS: Final = {
    "llm": "LLM calls of workers",
    "git": "git",
    "superstep": "barriers",
    "cycle": "the cycle between workers",
}
_PARTS: Final = {
    semconv.LLM: "LLM calls",
    semconv.TOOL: "tools",
    semconv.HTTP: "HTTP requests",
    semconv.COMPUTE: "your own code",
    semconv.FRAMEWORK: "what lies between the nodes",
}
_BETS: Final = {
    "llm": "LLM calls",
    "git": "git",
    "superstep": "superstep synchronisation",
    "rest": "everything else",
}

WAITS: Final[Mapping[str, str]] = {
    semconv.DEPENDENCY: (
        "A task that it needs is not done yet: the plan's own order. Split tasks, or make them"
        " depend on less."
    ),
    semconv.HELD: (
        "What it needs is done, but the superstep's slowest task is not. Continuous dispatch, or"
        " tasks of like size, would help."
    ),
    semconv.CYCLE: "Director and Strategist take their turn. Make them faster, or call them less.",
    semconv.QUEUE: "It is scheduled, but no slot is free. More workers would help.",
    semconv.BARRIER: "It is done, but its superstep's slowest task is not.",
    semconv.RATE_LIMIT: "The server refused the call with a 429, and the client backs off.",
    semconv.RETRY_BACKOFF: "An attempt failed, and the next one has not begun yet.",
    semconv.POOL: "No HTTP connection is free. A larger connection pool would help.",
    semconv.CHECKPOINT: "The checkpointer stores the state. A faster store would help.",
    semconv.CONSUMER: "Whoever reads the graph's stream holds it. Read faster.",
    semconv.HUMAN: "A person has to answer: no part of the run's wall clock.",
}
"""What each kind of wait means, and what helps, by its category."""


def judged(finding: Finding) -> str:
    """Say what shares a suspect has, and why it stands as it does."""
    why = f"{finding.why[:1].upper()}{finding.why[1:]}."
    is_known = finding.standing != CANNOT_BE_TOLD or finding.share_of_wall
    shares = shares_of(finding) if is_known else ""
    return f"{shares}. {why}" if shares else why


def supported_first(finding: Finding) -> float:
    """Return what suspects are sorted by: of those supported, what takes most of the wall."""
    return -(finding.share_of_wall or 0.0) if finding.standing == SUPPORTED else 1.0


def shares_of(finding: Finding) -> str:
    """Say which shares of the wall and of slot time a suspect has."""
    shares = (("the wall", finding.share_of_wall), ("slot time", finding.share_of_slots))
    return " and ".join(f"{share(value)} of {what}" for what, value in shares if value is not None)


def all_shares(told: Verdict) -> str:
    """Say what was measured of all suspects, where nothing can be concluded from it."""
    measured = (f for f in told.findings if (f.share_of_wall or 0) + (f.share_of_slots or 0) > 0)
    return " · ".join(f"{_SUSPECTS[f.key]}: {shares_of(f)}" for f in measured)


def numbers(finding: Finding) -> str:
    """Say the numbers behind a finding."""
    told = []
    for number in finding.numbers:
        if not number.value:
            continue
        if number.unit == "ns":
            value = duration(number.value)
        else:
            value = share(number.value) if number.unit == "share" else count(round(number.value))
        told.append(f"{number.label} {value}")
    return " · ".join(told)


def bets(told: Verdict) -> Iterator[tuple[str, Bet | None]]:
    """Yield what each bet is on, with what came of it, None where that cannot be told."""
    unknown = {f.key for f in told.findings if f.standing == CANNOT_BE_TOLD}
    for bet in told.bets:
        is_unknown = bet.key in unknown or (bet.key == "rest" and unknown)
        yield _BETS.get(bet.key, bet.key), None if is_unknown else bet


def came_of(bet: Bet | None) -> str:
    """Say what came of a bet."""
    if bet is None:
        return "cannot be told"
    return "as expected" if bet.holds else "less" if bet.measured < bet.low else "more"


def rule(told: Verdict) -> str:
    """Say what the rule of thumb makes of superstep synchronisation."""
    blocking = told.of("superstep")
    if blocking.standing == CANNOT_BE_TOLD:
        return "Whether continuous dispatch would pay cannot be told: see superstep blocking."
    if not told.superstep_share:
        return "No slot waited for a barrier: there is nothing that continuous dispatch could save."
    measured = f"{share(told.superstep_share_of_used)} of the time of those that had work"
    if blocking.share_of_slots is None:
        measured = f"at most {measured}, because dependencies are not known"
    gain = "What this run itself would gain is not known."
    if blocking.share_of_wall is not None:
        gain = (
            f"This run itself would gain {share(blocking.share_of_wall)} of its wall, as what if"
            " says, and that counts for more."
        )
    return (
        "By rule of thumb, continuous dispatch pays where superstep synchronisation takes more than"
        f" {per_cent(HELD_SHARE_OF_SLOTS)} of the slots' time. Here it takes {measured}. {gain}"
    )


def largest(told: Verdict) -> str | None:
    """Say what takes most of the wall where that says more than the four suspects do."""
    part = told.largest
    if part is None:
        return None
    what = _PARTS.get(part.category, part.category)
    if part.state == semconv.WAITING:
        what = f"wait {part.category}"
    elif part.category == semconv.COMPUTE and CANNOT_BE_TOLD in {
        told.of(key).standing for key in ("llm", "git")
    }:
        what += " or calls that are not traced"
    where = f", mostly in node {part.node}" if part.node else ""
    so_far = "" if told.doubt else "None of the four is supported. "
    return f"{so_far}The largest part of the wall is {what}{where}: {share(part.share_of_wall)}."


def what_to_do(one: Advice) -> str:
    """Say what could be done."""
    n = count(one.count)
    if one.kind == kinds.EQUAL_PROMPTS:
        calls = "LLM call asks" if one.count == 1 else "LLM calls ask"
        return f"Cache answers: {n} {calls} {one.subject} what it had answered before"
    if one.kind == kinds.SEQUENTIAL_CALLS:
        return f"Check whether these LLM calls need each other: {n} in a row in {one.subject}"
    if one.kind == kinds.BATCH_COMMITS:
        return f"Commit less often: {n} commits where a node made several in one worktree"
    if one.kind == kinds.REUSE_WORKTREES:
        return f"Keep worktrees and reset them: {n} were made and thrown away again"
    if one.kind == kinds.HOOKS_DOMINATE:
        ran = "1 time" if one.count == 1 else f"{n} times"
        of = share(one.saved_at_most_ns / one.spent_ns) if one.spent_ns else "most"
        took = f"took {of} of the commands that ran it"
        return f"Make the hook {one.subject} faster: it ran {ran} and {took}"
    return f"Let git take turns: {plural(one.count, 'command')} failed on the lock {one.subject}"


def what_it_saves(one: Advice, study: Study) -> str:
    """Say how much a piece of advice is about."""
    most = duration(one.saved_at_most_ns)
    if one.kind == kinds.LOCK_CONTENTION:
        return f"{most} went by until the same was tried again, summed over tasks."
    told = f"Saves at most {most}, summed over tasks"
    if one.kind == kinds.EQUAL_PROMPTS:
        return f"{told}, where the same answer will do.{_of_the_wall(study)}"
    if one.kind == kinds.SEQUENTIAL_CALLS:
        return f"{told}. Nothing recorded says that one needs the answer of the one before."
    return f"{told}."


def took(example: Example) -> str:
    """Say how long the span of an example took, and what else it stands for."""
    own, about_ns = duration(example.duration_ns), example.about_ns
    if about_ns is None:
        return f"{own} {example.note}".rstrip()
    return f"{own}, {duration(about_ns)} {example.note}"


def _of_the_wall(study: Study) -> str:
    saves = study.estimates.named("prompts_cached").saves
    return "" if saves is None else f" On the wall: {share(max(0.0, saves))} (see what if)."


def views(accounting: Accounting) -> dict[str, str]:
    """Say what each of the four views is about, by its name."""
    along, task, seen = (
        "each superstep's straggler",
        "scheduled to barrier",
        "the Director sees the result",
    )
    if not accounting.outline.supersteps:
        along, task, seen = (
            "the critical path",
            "their spans, start to end",
            "the next loop, or the end",
        )
    return {
        "wall": f"wall: along {along}",
        "slots": f"slots: {plural(accounting.slots.count, 'worker')}, busy or idle",
        "tasks": f"tasks: {task}",
        "lifecycle": f"lifecycle: planned until {seen}",
    }

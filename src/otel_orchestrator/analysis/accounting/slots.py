"""What each worker slot did: busy with a job, or idle for one reason at a time.

slot 0  ├── worker b ───────────────────────┤
slot 1  ├── worker a ──┤░░░ held: c ░░░░░░░░░   c could have started here
slot 2  ├─ worker d ─┤░░░ dependency ░░░░░░░░   e needs b
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Final

from msgspec import Struct

from ... import semconv
from ..clip import Key, Ran
from ..intervals import Interval
from ..outline import Outline
from ..tally import IDLE, NO_WORK, Breakdown, breakdown_of, together
from .assignment import Spell, assign
from .exclusive import did

_COUNTED: Final[tuple[Key, ...]] = tuple(
    (semconv.WAITING, category)
    for category in (semconv.QUEUE, semconv.CONSUMER, semconv.HELD, semconv.CYCLE)
)
"""Each task that waits for one of these keeps one idle slot from being used; in this order."""

_NO_SLOT: Final = -1
_SEVERAL: Final = 2

# What an instant may be, besides: whether any task has open dependencies, and so on.
_OPEN: Final = "open dependencies"
_UNKNOWN: Final = "barrier, dependencies unknown"
_CONTROL: Final = "a node that runs alone, or an agent between those that it hands work to"
_CHAIN: Final = "a job that had to wait for others"
_JOBS: Final = "any job"
_CHECKPOINT: Final = "checkpoint between jobs"
_READER: Final = "consumer between jobs"
_BETWEEN: Final = (
    (semconv.WAITING, semconv.CHECKPOINT),
    (semconv.WAITING, semconv.CONSUMER),
)


class Idle(Struct, frozen=True, gc=False):
    """A stretch in which a number of slots were idle for one reason."""

    start_ns: int
    end_ns: int
    state: str
    category: str
    slots: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot over the run's wall clock; its breakdown adds up to the wall."""

    number: int
    spells: tuple[Spell, ...]
    breakdown: Breakdown

    @property
    def worked(self) -> float:
        """The share of the time in which it worked: framework around jobs is no work of a slot."""
        idle = (s for s in self.spells if s.job is None and s.state == semconv.WORKING)
        worked_ns = self.breakdown.of_state(semconv.WORKING) - sum(
            s.end_ns - s.start_ns for s in idle
        )
        return worked_ns / self.breakdown.whole_ns if self.breakdown.whole_ns else 0.0


@dataclass(frozen=True, slots=True)
class SlotView:
    """All slots.

    Attributes:
        total: adds up to slots x wall.
        count: how many slots there are.
        slots: those that were busy at least once, in order.
        unused: all the others, together.
        idle: why how many slots were idle when, by time.
    """

    total: Breakdown
    count: int
    slots: tuple[Slot, ...]
    unused: Breakdown
    idle: tuple[Idle, ...]

    @property
    def used(self) -> Breakdown:
        """What the slots add up to that were busy at least once."""
        return together(slot.breakdown for slot in self.slots)

    def idle_within(self, windows: Sequence[Interval], *categories: str) -> int:
        """Return the idle slot time of some categories within disjoint intervals."""
        return _within(windows, (i for i in self.idle if i.category in categories))

    def used_idle_within(self, windows: Sequence[Interval], *categories: str) -> int:
        """Return the same of the slots that were busy at least once."""
        spells = chain.from_iterable(slot.spells for slot in self.slots)
        idle = (
            Idle(spell.start_ns, spell.end_ns, spell.state, spell.category, 1)
            for spell in spells
            if spell.job is None and spell.category in categories
        )
        return _within(windows, idle)


def _within(windows: Sequence[Interval], idle: Iterable[Idle]) -> int:
    ordered = sorted(windows)
    ends = [end for _, end in ordered]
    slot_ns = 0
    for one in idle:
        near = range(bisect_right(ends, one.start_ns), bisect_left(ordered, (one.end_ns,)))
        for start, end in (ordered[n] for n in near):
            slot_ns += one.slots * (min(end, one.end_ns) - max(start, one.start_ns))
    return slot_ns


def slot_view(outline: Outline) -> SlotView:
    """Say of every slot at every instant what it did, or why it was idle."""
    busy = assign(outline)
    idle, unused, reasons = _idle(outline, busy)
    slots = tuple(
        _slot(outline, number, spells, idle[number]) for number, spells in enumerate(busy)
    )
    rest = breakdown_of(unused)
    total = together((*(s.breakdown for s in slots), rest))
    return SlotView(total, outline.slots, slots, rest, reasons)


def _slot(outline: Outline, number: int, busy: list[Spell], idle: list[Spell]) -> Slot:
    amounts: dict[Key, int] = {}
    for spell in idle:
        key = spell.state, spell.category
        amounts[key] = amounts.get(key, 0) + spell.end_ns - spell.start_ns
    worked = (did(outline, spell.job).served for spell in busy if spell.job is not None)
    spells = tuple(sorted((*busy, *idle), key=attrgetter("start_ns")))
    return Slot(number, spells, together((*worked, breakdown_of(amounts))))


def _idle(
    outline: Outline, busy: list[list[Spell]]
) -> tuple[list[list[Spell]], dict[Key, int], tuple[Idle, ...]]:
    """Return the idle spells of each slot, what the slots that were never busy add up to, and why
    how many slots were idle when."""
    idle: list[list[Spell]] = [[] for _ in busy]
    unused: dict[Key, int] = {}
    reasons: list[Idle] = []
    never_busy = outline.slots - len(busy)
    numbers = range(len(busy))
    for start, end, now, occupied in _segments(outline, busy):
        free = [number for number in numbers if number not in occupied]
        if not free and not never_busy:
            continue
        given = _reasons(now, len(free) + never_busy)
        reasons += [Idle(start, end, *key, count) for key, count in _each_once(given)]
        # The first of them are for the slots that are busy at another time.
        at = 0
        for key, count in given:
            used = free[at : at + count]
            for number in used:
                _extend(idle[number], start, end, *key)
            at += count
            if rest := count - len(used):
                unused[key] = unused.get(key, 0) + rest * (end - start)
    return idle, unused, tuple(reasons)


def _each_once(given: list[tuple[Key, int]]) -> Iterable[tuple[Key, int]]:
    if len(given) < _SEVERAL:
        return given
    slots: dict[Key, int] = {}
    for key, count in given:
        slots[key] = slots.get(key, 0) + count
    return slots.items()


def _extend(spells: list[Spell], start: int, end: int, state: str, category: str) -> None:
    if spells:
        last = spells[-1]
        if last.end_ns == start and last.category == category and last.state == state:
            spells.pop()
            start = last.start_ns
    spells.append(Spell(start, end, None, state, category))


def _reasons(now: dict[str, int], slots: int) -> list[tuple[Key, int]]:
    """Return for how many slots there is which reason: so many of each, and one for the rest."""
    given: list[tuple[Key, int]] = []
    for key in _COUNTED:
        if there := now.get(key[1]):
            taken = there if there < slots else slots
            given.append((key, taken))
            slots -= taken
            if not slots:
                return given
    given.append((_rest(now), slots))
    return given


def _rest(now: dict[str, int]) -> Key:
    for condition, reason in (
        (_OPEN, semconv.DEPENDENCY),
        (_UNKNOWN, semconv.BARRIER),
        (_CONTROL, semconv.CYCLE),
        (_CHECKPOINT, semconv.CHECKPOINT),
        (_READER, semconv.CONSUMER),
        # The end of the plan: what still runs had to wait for others, and nothing else is left.
        (_CHAIN, semconv.DEPENDENCY),
    ):
        if now.get(condition):
            return semconv.WAITING, reason
    return (IDLE, NO_WORK) if now.get(_JOBS) else (semconv.WORKING, semconv.FRAMEWORK)


def _segments(
    outline: Outline, busy: list[list[Spell]]
) -> Iterator[tuple[int, int, dict[str, int], set[int]]]:
    """Yield the stretches in which nothing changes: what goes on, and which slots are busy.

    What is yielded is changed by the next step.
    """
    changes: list[tuple[int, int, str, int]] = []
    earliest, latest = outline.wall
    conditions = ((name, interval, _NO_SLOT) for name, interval in _conditions(outline))
    spells = (
        ("", (spell.start_ns, spell.end_ns), number)
        for number, of_slot in enumerate(busy)
        for spell in of_slot
    )
    for name, interval, slot in chain(conditions, spells):
        start, end = interval
        if start >= end:
            continue
        start = start if start > earliest else earliest
        end = end if end < latest else latest
        if start < end:
            changes += ((start, 1, name, slot), (end, -1, name, slot))
    now: dict[str, int] = {}
    occupied: set[int] = set()
    at_ns = earliest
    # Of one slot, what ends comes before what starts at that instant, as its spells do.
    changes.sort(key=itemgetter(0))
    for instant, change, name, slot in (*changes, (latest, 0, "", _NO_SLOT)):
        if instant > at_ns:
            yield at_ns, instant, now, occupied
            at_ns = instant
        if slot >= 0 and change > 0:
            occupied.add(slot)
        elif slot >= 0:
            occupied.discard(slot)
        else:
            now[name] = now.get(name, 0) + change


def _conditions(outline: Outline) -> Iterator[tuple[str, Interval]]:
    for job in outline.jobs:
        if job.dependency_ns or job.held_ns or job.cycle_ns:
            yield _OPEN, (job.planned_ns, job.deps_done_ns)
            yield semconv.HELD, (job.deps_done_ns, job.released_ns)
            yield semconv.CYCLE, (job.released_ns, job.scheduled_ns)
        yield _JOBS, (job.scheduled_ns, job.barrier_ns)
        if not job.is_worker:
            yield _CONTROL, job.busy
        if job.depends_on:
            yield _CHAIN, job.busy
        for kept in job.kept_by_reader:
            yield semconv.CONSUMER, kept
        for queued in job.queued:
            yield semconv.QUEUE, queued
    for gap in outline.between_agents:
        yield _CONTROL, gap
    for superstep in outline.supersteps:
        if not superstep.knows_dependencies and len(superstep.jobs) > 1:
            ends = [j.ended_ns for j in superstep.jobs if j.started_ns < j.ended_ns]
            if ends:
                yield _UNKNOWN, (min(ends), max(ends))
    for wait in between_jobs(outline.top):
        yield _CHECKPOINT if wait.key[1] == semconv.CHECKPOINT else _READER, wait.interval


def between_jobs(top: Ran) -> Iterator[Ran]:
    """Yield the waits that are directly below the run, its loops and its supersteps."""
    stack = [top]
    while stack:
        for child in stack.pop().inside:
            if child.span.operation in (semconv.LOOP, semconv.SUPERSTEP):
                stack.append(child)
            elif child.key in _BETWEEN:
                yield child

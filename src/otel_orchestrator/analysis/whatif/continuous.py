"""Continuous dispatch on paper: every task starts when its own dependencies are done.

supersteps   director │ a ──┤ ░░░░░░ │ strategist  director │ c ──┤ │ strategist  director
                      │ b ─────────┤ │                      │       │
continuous   director │ a ──┤ c ──┤  │ strategist  director
                      │ b ─────────┤ │
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from ... import semconv
from ..jobs import Job, by_start
from ..phases import Phases
from .paper import Estimate, Paper, Placed, needs_of, unknown


@dataclass(frozen=True, slots=True)
class _Round:
    """Workers that can run without anything in between: retried tasks come in a later round."""

    jobs: tuple[Job, ...]
    needs: tuple[tuple[int, ...], ...]
    release_ns: tuple[int, ...]


def _rounds(phases: Phases, *, retries_apart: bool) -> list[_Round]:
    """Return the workers in rounds; in a single one where retried tasks do not come apart."""
    jobs = sorted(phases.workers, key=by_start)
    needs = [set(needed) for needed in needs_of(jobs)]
    number: list[int] = []
    attempts: dict[str, list[int]] = {}
    for n, job in enumerate(jobs):
        before = attempts.setdefault(job.task_id, []) if job.task_id is not None else []
        earlier = _last_attempts(jobs, before, job.started_ns) if before else []
        needs[n].update(earlier)
        again = [number[m] + 1 for m in earlier] if retries_apart else []
        number.append(max([0, *again, *(number[m] for m in needs[n])]))
        before.append(n)
    by_number: dict[int, list[int]] = {}
    for n, wanted in enumerate(number):
        by_number.setdefault(wanted, []).append(n)
    worked = _Worked(phases)
    rounds: list[_Round] = []
    for wanted, chosen in sorted(by_number.items()):
        index = {n: i for i, n in enumerate(chosen)}
        rounds.append(
            _Round(
                tuple(jobs[n] for n in chosen),
                tuple(tuple(sorted([index[m] for m in needs[n] if m in index])) for n in chosen),
                tuple(0 if wanted else worked.before(jobs[n].planned_ns) for n in chosen),
            )
        )
    return rounds


def _last_attempts(jobs: Sequence[Job], before: list[int], started_ns: int) -> list[int]:
    """Return the attempts that a task made last before an instant, and forget those before them.

    a ├──┤                 What comes next waits for c and d; that a and b came before c is known
    b   ├───┤              from c.
    c        ├────┤
    d      ├───┤       │ started
    """
    earlier = [m for m in before if jobs[m].ended_ns <= started_ns]
    last_ns = max((jobs[m].started_ns for m in earlier), default=0)
    gone = {m for m in earlier if jobs[m].ended_ns <= last_ns and jobs[m].started_ns < last_ns}
    if gone:
        before[:] = [m for m in before if m not in gone]
    return [m for m in earlier if m not in gone]


class _Worked:
    """How long workers had been at work until an instant: one turn after the other."""

    def __init__(self, phases: Phases) -> None:
        self._turns = [turn.window for turn in phases.turns]
        self._until = [0, *accumulate(end - start for start, end in self._turns)]

    def before(self, planned_ns: int) -> int:
        """Return how long that was when a job was planned: it cannot start before."""
        at = bisect_left(self._turns, (planned_ns,)) - 1
        if at < 0:
            return 0
        start, end = self._turns[at]
        return self._until[at] + min(end, planned_ns) - start


def _why_not_continuous(model: Paper) -> str | None:
    if (reason := model.why_not()) is not None:
        return reason
    if any(t.is_dispatched for t in model.phases.turns):
        return "a node of this run already dispatches its workers itself"
    unknown = sum(1 for j in model.phases.workers if j.depends_on is None)
    if unknown:
        return f"what {unknown} of {len(model.phases.workers)} jobs depended on is not known"
    return None


_CONTINUOUS: Final = "Continuous dispatch: a task starts when its dependencies are done"
_CONTINUOUS_ASSUMPTIONS: Final = (
    "tasks take as long as they took, also when others run beside them",
    "a task starts as soon as the workers of its dependencies have ended and a slot is free",
)


def dispatched(model: Paper) -> tuple[Estimate, Estimate]:
    """Return what continuous dispatch leads to: with one look at the end, and with every look."""
    names = (
        ("continuous", f"{_CONTINUOUS}, Director and Strategist only before and after"),
        ("no_barrier", f"{_CONTINUOUS}; Director and Strategist cost what they cost"),
    )
    if (reason := _why_not_continuous(model)) is not None:
        one, other = (unknown(name, title, reason) for name, title in names)
        return one, other
    apart = _rounds(model.phases, retries_apart=True)
    joined = apart if len(apart) == 1 else _rounds(model.phases, retries_apart=False)
    placed = _place(model, apart)
    same = placed if joined is apart else _place(model, joined)
    return _continuous(model, *names[0], placed, len(apart)), _no_barrier(model, *names[1], same)


def _place(model: Paper, rounds: Sequence[_Round]) -> Placed:
    batches = [model.batch(r.jobs, r.needs, r.release_ns) for r in rounds]
    return model.place(batches, model.measured, model.outline.slots)


def _continuous(model: Paper, name: str, title: str, placed: Placed, rounds: int) -> Estimate:
    """Director once, workers without a pause, Strategist once, the Director's last look."""
    opening = model.phases.turns[0].window[0] - model.outline.wall[0]
    least, mean, most = _closing(model, rounds)
    return model.told(
        name,
        title,
        opening + placed.expected_ns + mean,
        [
            opening + min(placed.expected_ns, *placed.others_ns) + least,
            opening + max(placed.expected_ns, *placed.others_ns) + most,
        ],
        (
            *_CONTINUOUS_ASSUMPTIONS,
            "the Director plans once; the Strategist looks once, when all workers have ended, and"
            " does there all the git work that it did; then the Director looks a last time",
            "their calls take as long as one of the calls that they made: the shortest, the mean,"
            " the longest",
            "a task that failed is tried again in a round of its own",
        ),
    )


def _closing(model: Paper, rounds: int) -> tuple[int, int, int]:
    """Return the least, expected and most that comes after the workers, of all rounds together."""
    phases = model.phases
    overhead = _overhead(model)
    least = mean = most = rounds * overhead
    for name in dict.fromkeys(j.name for j in phases.closing):
        calls = [phases.service(j) for j in phases.cycle if j.name == name]
        git = sum(c.ns(semconv.GIT) for c in calls)
        others = [c.whole_ns - c.ns(semconv.GIT) for c in calls]
        least += git + rounds * (overhead + min(others))
        mean += git + rounds * (overhead + sum(others) // len(others))
        most += git + rounds * (overhead + max(others))
    return least, mean, most


def _overhead(model: Paper) -> int:
    """Return what a superstep costs besides its jobs, on average."""
    jobs = model.measured_turns_ns + model.measured_alone_ns
    return max(0, model.outline.wall_ns - jobs) // len(model.outline.supersteps)


def _no_barrier(model: Paper, name: str, title: str, placed: Placed) -> Estimate:
    """Only the barrier goes; Director and Strategist are called as often as they were."""
    rest = model.outline.wall_ns - model.measured_turns_ns
    return model.told(
        name,
        title,
        rest + placed.expected_ns,
        [rest + other for other in placed.others_ns],
        (
            *_CONTINUOUS_ASSUMPTIONS,
            "Director and Strategist are called as often as they were, and nothing runs meanwhile",
        ),
    )

"""The LLM calls and git commands below a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import chain, count
from typing import Final

from msgspec import Struct

from .. import semconv
from ..model import Span
from ..semconv import Attr
from .clip import Ran
from .examples import Example
from .intervals import Interval
from .jobs import Job
from .prompts import Asked, same_of

_LONGEST: Final = 3


def is_call(span: Span) -> bool:
    """Whether a span is an LLM call."""
    return span.category == semconv.LLM and span.state == semconv.WORKING


def model_of(call: Span) -> str:
    """Return the model that a call asked for."""
    return call.text(Attr.REQUEST_MODEL) or call.name.partition(" ")[2]


def tokens_of(call: Span, kind: str) -> int | None:
    """Return the tokens of a kind, an attribute; None where a call does not say."""
    value = call.attributes.get(kind)
    return value if isinstance(value, int) else None


class Called(Asked, frozen=True, gc=False, array_like=True):
    """An LLM call or a git command of a job, as it counts: within its parents.

    Attributes:
        same: as in `Asked`; empty for what no cache could have answered, or has.
        name: of its span.
        task_id: of the application's task, where the span itself says so.
        is_hashed: of an LLM call, it is known what it asked.
    """

    name: str
    task_id: str | None
    is_hashed: bool

    @property
    def interval(self) -> Interval:
        """When it ran."""
        return self.start_ns, self.end_ns

    def example(self, job: Job) -> Example:
        """Point to it, as a part of its job."""
        trace_id, task_id = job.ran.span.trace_id, self.task_id or job.task_id
        return Example(self.name, task_id, trace_id, self.span_id, self.took_ns)


class InRow(Struct, frozen=True, gc=False, array_like=True):
    """What calls took that may follow on each other; those that ran at once count as one.

    Attributes:
        ns: all of them.
        longest_row_ns: those which follow on each other, where they took longest.
        longest_ns: the longest call.
        but_longest_ns: those which follow on each other, but for the longest of them; everywhere.
    """

    ns: int
    longest_row_ns: int
    longest_ns: int
    but_longest_ns: int


class JobCalls(Struct, frozen=True, gc=False, array_like=True):
    """What a job called.

    Attributes:
        calls: its LLM calls, each with those inside of it.
        git: its git commands, without what git did inside of them.
        llm_in_row: its LLM calls, without calls inside of calls: those of one agent follow on each
            other, others on none.
        git_in_row: its git commands.
    """

    calls: tuple[tuple[Called, ...], ...]
    git: tuple[Called, ...]
    llm_in_row: InRow
    git_in_row: InRow

    @property
    def llm(self) -> tuple[Called, ...]:
        """All LLM calls."""
        return tuple(chain.from_iterable(self.calls))


class _Found(Struct, frozen=True, gc=False, array_like=True):
    """Calls or commands of some jobs.

    Attributes:
        count: how many.
        longest: the longest of them, the longest first.
    """

    count: int
    longest: tuple[Example, ...]


class CallsFound(Struct, frozen=True, gc=False, array_like=True):
    """What the jobs of a run, or of a part of it, called.

    Attributes:
        llm: LLM calls, of workers.
        git: git commands, of workers and of what runs alone between them.
    """

    llm: _Found
    git: _Found


def calls_found(
    workers: Sequence[tuple[Job, JobCalls]], others: Sequence[tuple[Job, JobCalls]]
) -> CallsFound:
    """Count what jobs called, and point to the longest.

    Args:
        workers, others: jobs, each with what it called.
    """
    return CallsFound(
        _found([(call, job) for job, calls in workers for call in calls.llm]),
        _found([(call, job) for job, calls in (*workers, *others) for call in calls.git]),
    )


def calls_together(parts: Sequence[CallsFound]) -> CallsFound:
    """Join what was found in all parts of a run."""
    return CallsFound(_together([p.llm for p in parts]), _together([p.git for p in parts]))


def _found(called: Sequence[tuple[Called, Job]]) -> _Found:
    # Of very many only those that may be among them are put in order.
    least_ns = min(nlargest(_LONGEST, [call.took_ns for call, _ in called]), default=0)
    long = [one.example(job) for one, job in called if one.took_ns >= least_ns]
    return _Found(len(called), _longest(long))


def _together(parts: Sequence[_Found]) -> _Found:
    longest = chain.from_iterable(part.longest for part in parts)
    return _Found(sum(part.count for part in parts), _longest(longest))


def _longest(examples: Iterable[Example]) -> tuple[Example, ...]:
    return tuple(sorted(examples, key=lambda e: (-e.duration_ns, e.span_id))[:_LONGEST])


def calls_of(inside: Sequence[Ran]) -> JobCalls:
    """Return the calls of a job, in what is directly below it and in all below that."""
    walk = _Walk()
    walk.stack.append((inside, 0, None, False))
    while walk.stack:
        walk.visit(*walk.stack.pop())
    calls = tuple([tuple(call) for call in walk.calls])
    return JobCalls(calls, tuple(walk.git), _in_row(walk.chained), _in_row(walk.batched))


def _called(ran: Ran) -> Called:
    span = ran.span
    attributes = span.attributes
    same = same_of(span)
    return Called(
        span.span_id,
        ran.start_ns,
        ran.end_ns,
        same,
        bool(same) and span.outcome == semconv.OK,
        span.name,
        span.text(Attr.TASK_ID),
        Attr.PROMPT_HASH in attributes,
    )


_NONE: Final = InRow(0, 0, 0, 0)
_Numbered = tuple[Interval, int]
"""When a call ran, and the number of the chain or batch that it belongs to."""


def _in_row(numbered: Iterable[_Numbered]) -> InRow:
    """Add up how long calls took, by their number; those that overlap are one call of the first.

    chain 1  ├──────┤        ├──┤
    chain 2     ├──────┤  ├┤         →  chain 1: 11 + 4, chain 2: 2
    """
    ordered = sorted(numbered)
    rows: dict[int, tuple[int, int]] = {}
    n = 0
    while n < len(ordered):
        (start, end), number = ordered[n]
        n += 1
        while n < len(ordered) and ordered[n][0][0] < end:
            end = max(end, ordered[n][0][1])
            n += 1
        ns, longest_ns = rows.get(number, (0, 0))
        took = end - start
        rows[number] = ns + took, took if took > longest_ns else longest_ns
    if not rows:
        return _NONE
    all_ns, all_longest = zip(*rows.values(), strict=True)
    ns = sum(all_ns)
    return InRow(ns, max(all_ns), max(all_longest), ns - sum(all_longest))


class _Walk:
    """Gathers the calls below a job."""

    def __init__(self) -> None:
        # Children of one span, and what they are in: the chain of calls that is an agent's, or 0;
        # the outermost LLM call; whether a git command.
        self.stack: list[tuple[Sequence[Ran], int, list[Called] | None, bool]] = []
        self.calls: list[list[Called]] = []
        self.git: list[Called] = []
        self.chained: list[_Numbered] = []
        self.batched: list[_Numbered] = []
        self._numbers = count(1)

    def visit(
        self, children: Sequence[Ran], agent: int, call: list[Called] | None, is_in_git: bool
    ) -> None:
        """Look at the children of one span."""
        batch = next(self._numbers)
        for child in children:
            span = child.span
            category = span.category
            inner, within_call, within_git = agent, call, is_in_git
            if category == semconv.GIT:
                if not semconv.is_git_part(span.attributes):
                    self.git.append(_called(child))
                within_git = True
                if not is_in_git:
                    self.batched.append((child.interval, batch))
            else:
                batch = next(self._numbers)
            if category == semconv.LLM and is_call(span):
                if within_call is None:
                    within_call = []
                    self.calls.append(within_call)
                    self.chained.append((child.interval, agent or next(self._numbers)))
                within_call.append(_called(child))
            elif child.inside and call is None and span.operation == semconv.INVOKE_AGENT:
                inner = next(self._numbers)
            if child.inside:
                self.stack.append((child.inside, inner, within_call, within_git))

"""The LLM calls and git commands below a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count

from .. import semconv
from ..model import Span
from ..semconv import Attr
from .clip import Ran
from .intervals import Interval
from .jobs import Job
from .outline import Outline


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


@dataclass(frozen=True, slots=True)
class JobCalls:
    """What a job called.

    Attributes:
        calls: its LLM calls, each with those inside of it.
        git: its git commands, with what git did inside of them.
        chains: the durations of LLM calls: those of one agent together, others alone; without calls
            inside of calls. Calls that ran at once count as one.
        batches: the durations of git commands, those that follow on each other together. Commands
            that ran at once count as one.
    """

    calls: tuple[tuple[Ran, ...], ...]
    git: tuple[Ran, ...]
    chains: tuple[tuple[int, ...], ...]
    batches: tuple[tuple[int, ...], ...]

    @property
    def llm(self) -> tuple[Ran, ...]:
        """All LLM calls."""
        return tuple(chain.from_iterable(self.calls))


def calls_of(outline: Outline, job: Job) -> JobCalls:
    """Return the calls below a job."""
    walk = _Walk()
    walk.stack.append((outline.inside(job), 0, None, False))
    while walk.stack:
        walk.visit(*walk.stack.pop())
    calls = tuple([tuple(call) for call in walk.calls])
    return JobCalls(calls, tuple(walk.git), _one_by_one(walk.chained), _one_by_one(walk.batched))


_Numbered = tuple[Interval, int]
"""When a call ran, and the number of the chain or batch that it belongs to."""


def _one_by_one(found: Iterable[_Numbered]) -> tuple[tuple[int, ...], ...]:
    """Return how long calls took, by their number; those that overlap are one call of the first.

    chain 1  ├──────┤        ├──┤
    chain 2     ├──────┤  ├┤         →  chain 1: (11, 4), chain 2: (2,)
    """
    ordered = sorted(found)
    durations: dict[int, list[int]] = {}
    n = 0
    while n < len(ordered):
        (start, end), number = ordered[n]
        n += 1
        while n < len(ordered) and ordered[n][0][0] < end:
            end = max(end, ordered[n][0][1])
            n += 1
        durations.setdefault(number, []).append(end - start)
    return tuple(map(tuple, durations.values()))


class _Walk:
    """Gathers the calls below a job."""

    def __init__(self) -> None:
        # Children of one span, and what they are in: the chain of calls that is an agent's, or 0;
        # the outermost LLM call; whether a git command.
        self.stack: list[tuple[Sequence[Ran], int, list[Ran] | None, bool]] = []
        self.calls: list[list[Ran]] = []
        self.git: list[Ran] = []
        self.chained: list[_Numbered] = []
        self.batched: list[_Numbered] = []
        self._numbers = count(1)

    def visit(
        self, children: Sequence[Ran], agent: int, call: list[Ran] | None, is_in_git: bool
    ) -> None:
        """Look at the children of one span."""
        batch = next(self._numbers)
        for child in children:
            span = child.span
            category = span.category
            inner, within_call, within_git = agent, call, is_in_git
            if category == semconv.GIT:
                self.git.append(child)
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
                within_call.append(child)
            elif child.inside and call is None and span.operation == semconv.INVOKE_AGENT:
                inner = next(self._numbers)
            if child.inside:
                self.stack.append((child.inside, inner, within_call, within_git))

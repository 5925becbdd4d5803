"""The LLM calls and git commands below a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .. import semconv
from ..model import Span
from ..semconv import Attr
from .clip import Ran
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
        llm: its LLM calls.
        git: its git commands, with what git did inside of them.
        chains: the durations of LLM calls: those of one agent together, others alone; without calls
            inside of calls.
        batches: the durations of git commands, those that follow on each other together.
    """

    llm: tuple[Ran, ...]
    git: tuple[Ran, ...]
    chains: tuple[tuple[int, ...], ...]
    batches: tuple[tuple[int, ...], ...]


def calls_of(outline: Outline, job: Job) -> JobCalls:
    """Return the calls below a job."""
    walk = _Walk()
    strangers = outline.not_of(job)
    walk.visit(
        [c for c in job.top.inside if c.span.span_id not in strangers],
        _Around(None, is_in_llm=False, is_in_git=False),
    )
    while walk.stack:
        ran, around = walk.stack.pop()
        walk.visit(ran.inside, around)
    chains = tuple(tuple(chain) for chain in walk.chains if chain)
    return JobCalls(tuple(walk.llm), tuple(walk.git), chains, tuple(walk.batches))


class _Around(NamedTuple):
    """What a span is in: the calls of an agent, an LLM call, a git command."""

    chain: list[int] | None
    is_in_llm: bool
    is_in_git: bool


class _Walk:
    """Gathers the calls below a job."""

    def __init__(self) -> None:
        self.stack: list[tuple[Ran, _Around]] = []
        self.llm: list[Ran] = []
        self.git: list[Ran] = []
        self.chains: list[list[int]] = []
        self.batches: list[tuple[int, ...]] = []

    def visit(self, children: Iterable[Ran], around: _Around) -> None:
        """Look at the children of one span."""
        batch: list[int] = []
        for child in children:
            span, inside = child.span, around
            category = span.category
            if category == semconv.GIT:
                inside = self._git(child, around, batch)
            elif batch:
                self.batches.append(tuple(batch))
                batch = []
            if category == semconv.LLM and is_call(span):
                inside = self._llm(child, inside)
            elif span.operation == semconv.INVOKE_AGENT and not inside.is_in_llm:
                inside = _Around(self._new_chain(), is_in_llm=False, is_in_git=inside.is_in_git)
            if child.inside:
                self.stack.append((child, inside))
        if batch:
            self.batches.append(tuple(batch))

    def _git(self, command: Ran, around: _Around, batch: list[int]) -> _Around:
        self.git.append(command)
        if around.is_in_git:
            return around
        batch.append(command.took_ns)
        return _Around(around.chain, around.is_in_llm, is_in_git=True)

    def _llm(self, call: Ran, around: _Around) -> _Around:
        self.llm.append(call)
        if around.is_in_llm:
            return around
        if around.chain is None:
            self.chains.append([call.took_ns])
        else:
            around.chain.append(call.took_ns)
        return _Around(around.chain, is_in_llm=True, is_in_git=around.is_in_git)

    def _new_chain(self) -> list[int]:
        self.chains.append([])
        return self.chains[-1]

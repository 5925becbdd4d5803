"""The LLM calls and git commands below a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    walk.stack.append((outline.inside(job), None, False, False))
    while walk.stack:
        walk.visit(*walk.stack.pop())
    chains = tuple([tuple(chain) for chain in walk.chains if chain])
    return JobCalls(tuple(walk.llm), tuple(walk.git), chains, tuple(walk.batches))


class _Walk:
    """Gathers the calls below a job."""

    def __init__(self) -> None:
        # Children of one span, and what they are in: an agent with the chain of its calls, an LLM
        # call, a git command.
        self.stack: list[tuple[Sequence[Ran], list[int] | None, bool, bool]] = []
        self.llm: list[Ran] = []
        self.git: list[Ran] = []
        self.chains: list[list[int]] = []
        self.batches: list[tuple[int, ...]] = []

    def visit(
        self, children: Sequence[Ran], chain: list[int] | None, is_in_llm: bool, is_in_git: bool
    ) -> None:
        """Look at the children of one span."""
        batch: list[int] = []
        for child in children:
            span = child.span
            category = span.category
            inner, within_llm, within_git = chain, is_in_llm, is_in_git
            if category == semconv.GIT:
                self.git.append(child)
                within_git = True
                if not is_in_git:
                    batch.append(child.took_ns)
            elif batch:
                self.batches.append(tuple(batch))
                batch = []
            if category == semconv.LLM and is_call(span):
                self.llm.append(child)
                within_llm = True
                if not is_in_llm:
                    self._put(child, chain)
            elif child.inside and not is_in_llm and span.operation == semconv.INVOKE_AGENT:
                inner = []
                self.chains.append(inner)
            if child.inside:
                self.stack.append((child.inside, inner, within_llm, within_git))
        if batch:
            self.batches.append(tuple(batch))

    def _put(self, call: Ran, chain: list[int] | None) -> None:
        if chain is None:
            self.chains.append([call.took_ns])
        else:
            chain.append(call.took_ns)

"""What could be done, seen in one run: what its pieces of advice are made of. Data, no words.

Each says how much time it is about and how much could be saved *at most*: summed over all tasks,
which is not time of the run. What the run would gain is for what-if to say.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import Final, Literal

from msgspec import Struct

from ... import semconv
from ...model import Run, Span
from ...semconv import Attr
from ..calls import is_call
from ..examples import Example
from ..per_cent import per_cent
from ..roots import root_of
from ..tree import Forest, forest_of

Kind = Literal[
    "equal_prompts",
    "sequential_calls",
    "batch_commits",
    "reuse_worktrees",
    "hooks_dominate",
    "lock_contention",
]
EQUAL_PROMPTS: Final = "equal_prompts"
SEQUENTIAL_CALLS: Final = "sequential_calls"
BATCH_COMMITS: Final = "batch_commits"
REUSE_WORKTREES: Final = "reuse_worktrees"
HOOKS_DOMINATE: Final = "hooks_dominate"
LOCK_CONTENTION: Final = "lock_contention"

LEAST_SHARE: Final = 0.01
"""Advice that saves less than this share of the wall is not worth reading; locks always are."""
LEAST_COMMITS: Final = 3
"""So many commits of one node in one worktree, and they could have been one."""
LEAST_WORKTREES: Final = 3
HOOKS_SHARE: Final = 0.3
"""Hooks dominate where they take this share of the commands that run them."""
EXAMPLES: Final = 5

EXPLANATIONS: Final[Mapping[Kind, str]] = {
    EQUAL_PROMPTS: (
        "LLM calls with the same prompt, model, tools and other options (by their hash) as one that"
        " had been answered before they were made. Prompts of different processes cannot be"
        " compared, and whether the same answer would do again is not recorded."
    ),
    SEQUENTIAL_CALLS: (
        "LLM calls of one node, but of no agent, that follow one after another with no tool, git or"
        " other recorded work between them. Where a prompt is large enough to hold the prompt and"
        " the answer before it, asks the same again, or follows on a failure, it counts as one"
        " conversation with that call. Whether one needs the other's answer is not recorded. Saved"
        " at most: all but the longest conversation."
    ),
    BATCH_COMMITS: (
        "Three or more commits of one node in one worktree. Saved at most: all but the longest."
    ),
    REUSE_WORKTREES: (
        "Three or more worktrees that were added and removed again. Saved at most: all but as many"
        " as were in use at once, the dearest."
    ),
    HOOKS_DOMINATE: (
        f"A hook that takes {per_cent(HOOKS_SHARE)} or more of the git commands that run it (seen"
        " with Trace2 only). Saved at most: the hook."
    ),
    LOCK_CONTENTION: (
        "git commands that failed because somebody else held a lock. Saved at most: until the same"
        " worker tried the same again."
    ),
}
"""How each kind of advice comes about."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that could be done.

    Attributes:
        kind: what.
        subject: the model, the node's span, the hook, the lock, or "".
        count: repeated calls, calls that follow on each other, commits, worktrees, runs of the
            hook, or failures.
        spent_ns: the time that it is about, summed over all tasks.
        saved_at_most_ns: the part of it that could go away.
        examples: the worst first.
    """

    kind: Kind
    subject: str
    count: int
    spent_ns: int
    saved_at_most_ns: int
    examples: tuple[Example, ...]


class Pointed(Struct, frozen=True, gc=False, array_like=True):
    """A span that an example may point to.

    Attributes:
        took_ns: how long it took.
        task_id: of the application's task that it works for.
    """

    span_id: str
    trace_id: str
    name: str
    task_id: str | None
    start_ns: int
    took_ns: int

    def example(self, note: str = "", about_ns: int | None = None) -> Example:
        """Point to it."""
        return Example(
            self.name, self.task_id, self.trace_id, self.span_id, self.took_ns, note, about_ns
        )


class Worst(Struct, frozen=True, gc=False, array_like=True):
    """A span that is among the worst of its part of a run.

    Attributes:
        ns: the time that it stands for.
        note: what that is; "" for how long the span took.
    """

    ns: int
    note: str
    span: Pointed


def worst_of(found: Iterable[Worst]) -> tuple[Worst, ...]:
    """Return those that stand for most time: of parts of a run, those of the whole."""
    return tuple(nsmallest(EXAMPLES, found, lambda w: (-w.ns, w.span.start_ns, w.span.span_id)))


def examples_of(found: Iterable[Iterable[Worst]]) -> tuple[Example, ...]:
    """Point to the worst of all parts of a run."""
    worst = worst_of(chain.from_iterable(found))
    return tuple(w.span.example(w.note, w.ns if w.note else None) for w in worst)


class Look:
    """A run as advice looks at it: what is above and below each span, and how long spans took.

    Attributes:
        run: or a part of one, see `parts`.
        forest: its spans, and of a part also the run's own.
        root: the outermost graph; None where there is none.
        calls: the LLM calls, by start.
        git: the git commands and what is known of their insides, by start.
    """

    def __init__(self, run: Run, forest: Forest | None = None) -> None:
        self.run = run
        self.forest: Forest = forest or forest_of(run.spans)
        self.root = root_of(self.forest)
        self._tasks: dict[str, str | None] = {}
        self.calls: list[Span] = []
        self.git: list[Span] = []
        for span in run.spans:
            if is_call(span):
                self.calls.append(span)
            if span.operation == semconv.GIT:
                self.git.append(span)

    def above(self, span: Span) -> Iterator[Span]:
        """Yield what a span is below, the nearest first."""
        by_id = self.forest.by_id
        seen = {span.span_id}
        above = by_id.get(span.parent_id or "")
        while above is not None and above.span_id not in seen:
            seen.add(above.span_id)
            yield above
            above = by_id.get(above.parent_id or "")

    def below_root(self) -> Sequence[Span]:
        """Return what this part of the run has right below the outermost graph."""
        return () if self.root is None else self.forest.children(self.root)

    def nearest(self, span: Span, operations: Container[str]) -> Span | None:
        """Return the nearest span above that does one of these, None where there is none."""
        return next((a for a in self.above(span) if a.operation in operations), None)

    def total(self, spans: Iterable[Span]) -> int:
        """Return how long spans took together."""
        return sum(map(self.run.duration_of, spans))

    def longest(self, spans: Iterable[Span]) -> tuple[Worst, ...]:
        """Return the longest spans."""
        return self.worst((s, self.run.duration_of(s), "") for s in spans)

    def worst(self, found: Iterable[tuple[Span, int, str]]) -> tuple[Worst, ...]:
        """Return of spans, each with the time it stands for and what that is, the worst."""
        worst = nsmallest(EXAMPLES, found, lambda f: (-f[1], f[0].start_ns, f[0].span_id))
        return tuple(Worst(ns, note, self.pointed(span)) for span, ns, note in worst)

    def pointed(self, span: Span) -> Pointed:
        """Return what an example says of a span."""
        return Pointed(
            span.span_id,
            span.trace_id,
            span.name,
            self.task_of(span),
            span.start_ns,
            self.run.duration_of(span),
        )

    def task_of(self, span: Span) -> str | None:
        """Return the id of the task that a span works for: its own, or the nearest above."""
        task_id = span.text(Attr.TASK_ID)
        return self._task_at(span.parent_id or "") if task_id is None else task_id

    def _task_at(self, span_id: str) -> str | None:
        # Remembered for all that is passed: siblings ask the same.
        tasks, passed = self._tasks, list[str]()
        found = None
        while span_id not in tasks:
            span = self.forest.by_id.get(span_id)
            if span is None:
                break
            tasks[span_id] = None  # until it is known, and for spans that are above each other
            passed.append(span_id)
            found = span.text(Attr.TASK_ID)
            if found is not None:
                break
            span_id = span.parent_id or ""
        else:
            found = tasks[span_id]
        for one in passed:
            tasks[one] = found
        return found


def worth_reading(took_ns: int, found: Iterable[Advice]) -> tuple[Advice, ...]:
    """Return the advice that saves enough of what a run took, what saves most first."""
    least_ns = LEAST_SHARE * took_ns
    worth = [a for a in found if a.kind == LOCK_CONTENTION or a.saved_at_most_ns > least_ns]
    return tuple(sorted(worth, key=lambda a: (-a.saved_at_most_ns, a.kind, a.subject)))

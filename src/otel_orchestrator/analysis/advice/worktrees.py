"""Worktrees that were added and removed again: how many would have done.

a  add ├─┤ … remove ├─┤
b            add ├─┤ … remove ├─┤
c                                   add ├─┤ … remove ├─┤    three, two of them in use at once
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import chain
from operator import attrgetter
from typing import Final

from msgspec import Struct

from ...model import Span
from ...semconv import OK, Attr
from ..examples import Example
from ..in_flight import peak
from .pieces import EXAMPLES, LEAST_WORKTREES, REUSE_WORKTREES, Advice, Look, Pointed

_ADD: Final = "git worktree add"
_REMOVE: Final = "git worktree remove"

Place = tuple[str | None, str | None]
"""A repository and a worktree of it, as far as they are known."""


def place_of(command: Span) -> Place:
    """Return where a git command ran."""
    return command.text(Attr.REPOSITORY_NAME), command.text(Attr.WORKTREE)


class Worktree(Struct, frozen=True, gc=False, array_like=True):
    """A command that added or removed a worktree."""

    start_ns: int
    span_id: str
    end_ns: int
    is_added: bool
    place: Place
    trace_id: str
    task_id: str | None

    @property
    def took_ns(self) -> int:
        """How long it took."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def pointed(self) -> Pointed:
        """What an example says of it."""
        name = _ADD if self.is_added else _REMOVE
        return Pointed(self.span_id, self.trace_id, name, self.task_id, self.start_ns, self.took_ns)


def worktrees_seen(look: Look, by_name: Mapping[str, Sequence[Span]]) -> tuple[Worktree, ...]:
    """Return what was added or removed in a part of a run.

    Args:
        look: at the part.
        by_name: its git commands, by their spans' name.
    """
    return tuple(
        [
            Worktree(
                span.start_ns,
                span.span_id,
                look.run.end_of(span),
                name == _ADD,
                place_of(span),
                span.trace_id,
                look.task_of(span),
            )
            for name in (_ADD, _REMOVE)
            for span in by_name.get(name, ())
            if span.outcome == OK
        ]
    )


def reuse_worktrees(commands: Iterable[Worktree]) -> Iterator[Advice]:
    """Yield what could be done about all that was added or removed in a run."""
    # added, removed: both of one folder, which is gone at the run's end
    pairs: list[tuple[Worktree, Worktree]] = []
    open_: dict[Place, Worktree] = {}
    for command in sorted(commands, key=attrgetter("start_ns", "span_id")):
        if command.is_added:
            open_[command.place] = command
        elif (added := open_.pop(command.place, None)) is not None:
            pairs.append((added, command))
    needed = peak((added.start_ns, removed.end_ns) for added, removed in pairs)
    if len(pairs) < LEAST_WORKTREES or needed >= len(pairs):
        return
    # As many as were in use at once have to be made; the dearest might be among them.
    costs = sorted([added.took_ns + removed.took_ns for added, removed in pairs])
    yield Advice(
        REUSE_WORKTREES,
        "",
        len(pairs),
        sum(costs),
        sum(costs[: len(pairs) - needed]),
        _longest(chain.from_iterable(pairs)),
    )


def _longest(commands: Iterable[Worktree]) -> tuple[Example, ...]:
    longest = nsmallest(EXAMPLES, commands, lambda c: (-c.took_ns, c.start_ns, c.span_id))
    return tuple(command.pointed.example() for command in longest)

"""What could be done about git: what could be fewer, what is thrown away, what holds it up."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter

from msgspec import Struct

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..groups import grouped
from .pieces import (
    BATCH_COMMITS,
    HOOKS_DOMINATE,
    HOOKS_SHARE,
    LEAST_COMMITS,
    LOCK_CONTENTION,
    Advice,
    Look,
    Pointed,
    Worst,
    examples_of,
    worst_of,
)
from .worktrees import Worktree, place_of, reuse_worktrees, worktrees_seen


class Commits(Struct, frozen=True, gc=False, array_like=True):
    """Commits of one node in one worktree, or several times those.

    Attributes:
        kept_ns: how long the longest of each took.
    """

    count: int
    spent_ns: int
    kept_ns: int
    worst: tuple[Worst, ...]


class Hooks(Struct, frozen=True, gc=False, array_like=True):
    """The runs of one hook.

    Attributes:
        commands_ns: how long the commands took that ran it.
        hooks_ns: how long it took itself.
    """

    name: str
    count: int
    commands_ns: int
    hooks_ns: int
    worst: tuple[Worst, ...]


class Locks(Struct, frozen=True, gc=False, array_like=True):
    """The failures for one lock.

    Attributes:
        spent_ns: how long the commands took that failed.
        lost_ns: the time until the same was tried again.
    """

    lock: str
    count: int
    spent_ns: int
    lost_ns: int
    worst: tuple[Worst, ...]


class GitSeen(Struct, frozen=True, gc=False):
    """What a part of a run tells of git.

    Attributes:
        commits: of all nodes with enough of them in one worktree.
        worktrees: what was added or removed, by start.
        hooks: by name.
        locks: what failed, by lock.
    """

    commits: Commits
    worktrees: tuple[Worktree, ...]
    hooks: tuple[Hooks, ...]
    locks: tuple[Locks, ...]


_ByName = Mapping[str, Sequence[Span]]
"""The commands of a part of a run, by their spans' name and start."""
_Worker = Callable[[Span], str]


def git_seen(look: Look) -> GitSeen:
    """Look at git in a run, or in a part of it."""
    by_name: defaultdict[str, list[Span]] = defaultdict(list)
    hooks: list[Span] = []
    locked: set[str] = set()
    for span in look.git:
        attributes = span.attributes
        if not semconv.is_git_part(attributes):
            by_name[span.name].append(span)
            if Attr.GIT_LOCK in attributes:
                locked.add(span.name)
        elif attributes[Attr.GIT_PART] == "hook":
            hooks.append(span)
    worker_of = _workers(look)
    return GitSeen(
        _commits_seen(look, by_name.get("git commit", ()), worker_of),
        worktrees_seen(look, by_name),
        tuple(_hooks_seen(look, hooks)),
        tuple(_locks_seen(look, [by_name[name] for name in locked], worker_of)),
    )


def git_advice(parts: Sequence[GitSeen]) -> Iterator[Advice]:
    """Yield what could be done about git in a run of which these are the parts."""
    yield from _batch_commits(parts)
    yield from reuse_worktrees(chain.from_iterable([part.worktrees for part in parts]))
    yield from _hooks_dominate(parts)
    yield from _lock_contention(parts)


def _workers(look: Look) -> _Worker:
    """Return what tells the node that a span works for; its parent where there is no node."""
    known: dict[str | None, str] = {}

    def worker_of(span: Span) -> str:
        worker = known.get(span.parent_id)
        if worker is None:
            node = look.nearest(span, (semconv.NODE,))
            worker = (span.parent_id or "") if node is None else node.span_id
            known[span.parent_id] = worker
        return worker

    return worker_of


# --- commits ---


def _commits_seen(look: Look, commits: Iterable[Span], worker_of: _Worker) -> Commits:
    ended_well = [s for s in commits if s.outcome == OK]
    groups = grouped(ended_well, lambda s: (worker_of(s), place_of(s)))
    enough = [group for group in groups.values() if len(group) >= LEAST_COMMITS]
    spent = list(chain.from_iterable(enough))
    # One commit has to stay, and it may be the longest.
    kept_ns = sum([max(map(look.run.duration_of, group)) for group in enough])
    return Commits(len(spent), look.total(spent), kept_ns, look.longest(spent))


def _batch_commits(parts: Sequence[GitSeen]) -> Iterator[Advice]:
    commits = [part.commits for part in parts]
    if count := sum([one.count for one in commits]):
        spent_ns = sum([one.spent_ns for one in commits])
        kept_ns = sum([one.kept_ns for one in commits])
        worst = examples_of([one.worst for one in commits])
        yield Advice(BATCH_COMMITS, "", count, spent_ns, spent_ns - kept_ns, worst)


# --- hooks ---


def _hooks_seen(look: Look, hooks: Sequence[Span]) -> Iterator[Hooks]:
    known = [(s, command) for s in hooks if (command := _command_of(look, s)) is not None]
    for name, found in grouped(known, lambda pair: pair[0].name).items():
        runs = [part for part, _ in found]
        run_it = {command.span_id: command for _, command in found}.values()
        yield Hooks(name, len(runs), look.total(run_it), look.total(runs), look.longest(runs))


def _command_of(look: Look, part: Span) -> Span | None:
    """Return the command of which git's own events tell a part, None where it is missing."""
    around = next((a for a in look.above(part) if not semconv.is_git_part(a.attributes)), None)
    return around if around is not None and around.operation == semconv.GIT else None


def _hooks_dominate(parts: Sequence[GitSeen]) -> Iterator[Advice]:
    every = chain.from_iterable([part.hooks for part in parts])
    for name, found in sorted(grouped(every, attrgetter("name")).items()):
        spent_ns = sum([one.commands_ns for one in found])
        hooks_ns = sum([one.hooks_ns for one in found])
        if hooks_ns >= HOOKS_SHARE * spent_ns:
            count = sum([one.count for one in found])
            worst = examples_of([one.worst for one in found])
            subject = name.removeprefix("git hook ")
            yield Advice(HOOKS_DOMINATE, subject, count, spent_ns, hooks_ns, worst)


# --- locks ---


def _locks_seen(
    look: Look, by_name: Iterable[Sequence[Span]], worker_of: _Worker
) -> Iterator[Locks]:
    lost: defaultdict[str, list[Worst]] = defaultdict(list)
    for commands in by_name:
        for attempts in grouped(commands, lambda s: (place_of(s), worker_of(s))).values():
            starts = [s.start_ns for s in attempts]
            for failed in (s for s in attempts if Attr.GIT_LOCK in s.attributes):
                lost[str(failed.text(Attr.GIT_LOCK))].append(_lost(look.pointed(failed), starts))
    for lock, found in lost.items():
        spent_ns = sum([one.span.took_ns for one in found])
        yield Locks(lock, len(found), spent_ns, sum([one.ns for one in found]), worst_of(found))


def _lost(failed: Pointed, starts: Sequence[int]) -> Worst:
    """Return the time until the same was tried again; if it was not, what it took itself."""
    later = bisect_right(starts, failed.start_ns)
    until_ns = failed.took_ns if later == len(starts) else starts[later] - failed.start_ns
    is_retried = until_ns != failed.took_ns
    return Worst(until_ns, "until the same was tried again" if is_retried else "", failed)


def _lock_contention(parts: Sequence[GitSeen]) -> Iterator[Advice]:
    every = chain.from_iterable([part.locks for part in parts])
    for lock, of_lock in sorted(grouped(every, attrgetter("lock")).items()):
        yield Advice(
            LOCK_CONTENTION,
            lock,
            sum([one.count for one in of_lock]),
            sum([one.spent_ns for one in of_lock]),
            sum([one.lost_ns for one in of_lock]),
            examples_of([one.worst for one in of_lock]),
        )

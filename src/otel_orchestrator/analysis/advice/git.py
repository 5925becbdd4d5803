"""What could be done about git: what could be fewer, what is thrown away, what holds it up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..groups import grouped
from ..in_flight import peak
from .pieces import (
    BATCH_COMMITS,
    HOOKS_DOMINATE,
    HOOKS_SHARE,
    LEAST_COMMITS,
    LEAST_WORKTREES,
    LOCK_CONTENTION,
    REUSE_WORKTREES,
    Advice,
    Look,
)

_ADD: Final = "git worktree add"
_REMOVE: Final = "git worktree remove"
_ByName = Mapping[str, Sequence[Span]]
"""The commands of a run, by their spans' name and start."""


def git_advice(look: Look) -> Iterator[Advice]:
    """Yield what could be done about git in a run."""
    commands: list[Span] = []
    hooks: list[Span] = []
    for span in look.git:
        if not semconv.is_git_part(span.attributes):
            commands.append(span)
        elif span.attributes[Attr.GIT_PART] == "hook":
            hooks.append(span)
    by_name = grouped(commands, attrgetter("name"))
    yield from _batch_commits(look, by_name)
    yield from _reuse_worktrees(look, by_name)
    yield from _hooks_dominate(look, hooks)
    yield from _lock_contention(look, by_name)


def _place(span: Span) -> tuple[str | None, str | None]:
    return span.text(Attr.REPOSITORY_NAME), span.text(Attr.WORKTREE)


def _worker_of(look: Look, span: Span) -> str:
    """Return the id of the node that a span works for; of its parent where there is no node."""
    node = look.nearest(span, (semconv.NODE,))
    return (span.parent_id or "") if node is None else node.span_id


def _command_of(look: Look, part: Span) -> Span | None:
    """Return the command of which git's own events tell a part, None where it is missing."""
    around = next((a for a in look.above(part) if not semconv.is_git_part(a.attributes)), None)
    return around if around is not None and around.operation == semconv.GIT else None


def _batch_commits(look: Look, by_name: _ByName) -> Iterator[Advice]:
    commits = [s for s in by_name.get("git commit", ()) if s.outcome == OK]
    groups = [
        group
        for group in grouped(commits, lambda s: (_worker_of(look, s), _place(s))).values()
        if len(group) >= LEAST_COMMITS
    ]
    if groups:
        spent = [s for group in groups for s in group]
        # One commit has to stay, and it may be the longest.
        kept_ns = sum(max(map(look.run.duration_of, group)) for group in groups)
        spent_ns = look.total(spent)
        yield Advice(
            BATCH_COMMITS, "", len(spent), spent_ns, spent_ns - kept_ns, look.longest(spent)
        )


def _reuse_worktrees(look: Look, by_name: _ByName) -> Iterator[Advice]:
    commands = [*by_name.get(_ADD, ()), *by_name.get(_REMOVE, ())]
    # added, removed: both of one folder, which is gone at the run's end
    pairs: list[tuple[Span, Span]] = []
    open_: dict[object, Span] = {}
    for span in sorted(commands, key=attrgetter("start_ns", "span_id")):
        if span.outcome != OK:
            continue
        if span.name == _ADD:
            open_[_place(span)] = span
        elif (added := open_.pop(_place(span), None)) is not None:
            pairs.append((added, span))
    needed = peak((added.start_ns, look.run.end_of(removed)) for added, removed in pairs)
    if len(pairs) < LEAST_WORKTREES or needed >= len(pairs):
        return
    spans = [s for pair in pairs for s in pair]
    # As many as were in use at once have to be made; the dearest might be among them.
    costs = sorted(map(look.total, pairs))
    yield Advice(
        REUSE_WORKTREES,
        "",
        len(pairs),
        sum(costs),
        sum(costs[: len(pairs) - needed]),
        look.longest(spans),
    )


def _hooks_dominate(look: Look, hooks: Sequence[Span]) -> Iterator[Advice]:
    known = [(s, command) for s in hooks if (command := _command_of(look, s)) is not None]
    for name, found in sorted(grouped(known, lambda pair: pair[0].name).items()):
        run_it = {command.span_id: command for _, command in found}.values()
        spent_ns, hooks_ns = look.total(run_it), look.total(part for part, _ in found)
        if hooks_ns >= HOOKS_SHARE * spent_ns:
            worst = look.longest(part for part, _ in found)
            subject = name.removeprefix("git hook ")
            yield Advice(HOOKS_DOMINATE, subject, len(found), spent_ns, hooks_ns, worst)


def _lock_contention(look: Look, by_name: _ByName) -> Iterator[Advice]:
    def same(span: Span) -> tuple[object, str]:
        return _place(span), _worker_of(look, span)

    failed: list[Span] = []
    until_retried: dict[str, int] = {}
    for commands in by_name.values():
        locked = [s for s in commands if Attr.GIT_LOCK in s.attributes]
        attempts = grouped(commands, same) if locked else {}
        for span in locked:
            until_retried[span.span_id] = _until_next(look, span, attempts[same(span)])
        failed += locked
    for lock, spans in sorted(grouped(failed, lambda s: str(s.text(Attr.GIT_LOCK))).items()):
        lost_ns = sum(until_retried[s.span_id] for s in spans)
        worst = look.worst((s, ns := until_retried[s.span_id], _told(look, s, ns)) for s in spans)
        yield Advice(LOCK_CONTENTION, lock, len(spans), look.total(spans), lost_ns, worst)


def _told(look: Look, failed: Span, until_ns: int) -> str:
    is_retried = until_ns != look.run.duration_of(failed)
    return "until the same was tried again" if is_retried else ""


def _until_next(look: Look, failed: Span, attempts: Sequence[Span]) -> int:
    # If the same was not tried again, what it took itself.
    later = bisect_right(attempts, failed.start_ns, key=lambda s: s.start_ns)
    if later == len(attempts):
        return look.run.duration_of(failed)
    return attempts[later].start_ns - failed.start_ns

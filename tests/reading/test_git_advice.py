"""What the report can say about git: batches, worktrees, hooks, locks, each from spans alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.advice.git import git_advice, git_seen
from otel_orchestrator.analysis.advice.pieces import Advice, Look, worth_reading
from otel_orchestrator.model import Run, Span
from otel_orchestrator.semconv import Attr


class Made:
    """Spans of git below nodes, in milliseconds."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(
        self,
        name: str,
        start: int,
        end: int | None,
        parent: Span | None = None,
        *,
        worktree: str | None = None,
        **attributes: Any,
    ) -> Span:
        said = {Attr.OUTCOME: "ok", **attributes}
        if worktree is not None:
            said |= {Attr.REPOSITORY_NAME: "r", Attr.WORKTREE: worktree}
        span = Span(
            "t", f"{len(self.spans):04x}", parent.span_id if parent else None, name, 1,
            start * 10**6, None if end is None else end * 10**6, attributes=said,
        )  # fmt: skip
        self.spans.append(span)
        return span

    def advice(self) -> tuple[Advice, ...]:
        run = Run("r", tuple(sorted(self.spans, key=lambda s: s.start_ns)))
        return worth_reading(run.end_ns - run.start_ns, git_advice([git_seen(Look(run))]))

    def brief(self) -> list[tuple[str, str, int, float, float]]:
        return [
            (a.kind, a.subject, a.count, a.spent_ns / 1e6, a.saved_at_most_ns / 1e6)
            for a in self.advice()
        ]


@pytest.fixture
def made() -> Made:
    return Made()


def test_a_run_without_git_needs_no_advice(made: Made) -> None:
    made.add("node worker", 0, 10)
    assert made.advice() == ()


def test_commits_of_one_node_in_one_worktree_could_be_one(made: Made) -> None:
    for n, worktree in ((0, "a"), (1, "b")):
        node = made.add("node worker", 0, 100)
        agent = made.add("invoke_agent coder", 0, 100, node)
        for i in range(3 if n == 0 else 2):
            made.add("git commit", 10 * i, 10 * i + 4 + i, agent, worktree=worktree)
    made.add("git commit", 90, 99, node, worktree="a", **{Attr.OUTCOME: "error"})
    assert made.brief() == [("batch_commits", "", 3, 15, 9)]
    assert [e.duration_ns / 1e6 for e in made.advice()[0].examples] == [6, 5, 4]


def test_worktrees_that_are_thrown_away_could_be_used_again(made: Made) -> None:
    for i in range(4):  # two at once
        worker = made.add("node worker", 100 * i, 100 * i + 190)
        made.add("git worktree add", 100 * i, 100 * i + 20 + i, worker, worktree=f"w{i}")
        made.add("git worktree remove", 100 * i + 140, 100 * i + 150, worker, worktree=f"w{i}")
    made.add("git worktree add", 500, 600, worker, worktree="kept")
    assert made.brief() == [("reuse_worktrees", "", 4, 126, 61)]


def test_worktrees_that_are_all_in_use_at_once_are_needed(made: Made) -> None:
    for i in range(4):
        made.add("git worktree add", i, 100, worktree=f"w{i}")
        made.add("git worktree remove", 200, 210, worktree=f"w{i}")
    assert made.advice() == ()


def test_hooks_that_take_most_of_a_commit(made: Made) -> None:
    part = {Attr.GIT_PART: "hook"}
    for i in range(2):
        commit = made.add("git commit", 100 * i, 100 * i + 50, worktree="w")
        made.add("git hook pre-commit", 100 * i + 5, 100 * i + 45, commit, **part)
        made.add("git hook commit-msg", 100 * i + 46, 100 * i + 47, commit, **part)
    inner = made.add("git reset", 200, 250, made.add("git worktree add", 200, 260, worktree="w"),
                     **{Attr.GIT_PART: "process"})  # fmt: skip
    made.add("git hook post-checkout", 205, 249, inner, **part)
    assert made.brief() == [
        ("hooks_dominate", "pre-commit", 2, 100, 80),
        ("hooks_dominate", "post-checkout", 1, 60, 44),
    ]


def test_locks_cost_the_time_until_it_is_tried_again(made: Made) -> None:
    node = made.add("node worker", 0, 1000)
    lock = {Attr.OUTCOME: "error", Attr.GIT_LOCK: "index"}
    made.add("git add", 0, 2, node, worktree="w", **lock)
    made.add("git add", 100, 102, node, worktree="w", **lock)
    made.add("git add", 300, 310, node, worktree="w")
    made.add("git add", 400, 403, made.add("node worker", 350, 500), worktree="w", **lock)
    made.add("git fetch", 600, 700, node, **{Attr.OUTCOME: "error", Attr.GIT_LOCK: "ref"})
    assert made.brief() == [
        ("lock_contention", "index", 3, 7, 303),
        ("lock_contention", "ref", 1, 100, 100),
    ]


def test_advice_about_next_to_nothing_is_left_out(made: Made) -> None:
    made.add("git clone", 0, 100_000)
    for i in range(3):
        made.add("git commit", i, i + 1)
    assert made.advice() == ()


NAMES = ("node n", "git commit", "git worktree add", "git worktree remove", "git add", "git hook x")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES), st.integers(0, 50), st.one_of(st.none(), st.integers(0, 50)),
            st.integers(-1, 5), st.sampled_from(("", "hook", "process")),
            st.sampled_from(("", "index")), st.sampled_from(("ok", "error")),
        )
    )
)  # fmt: skip
def test_whatever_the_spans_nothing_is_negative_and_the_order_is_fixed(rows: list[Any]) -> None:
    made = Made()
    for name, start, length, above, part, lock, outcome in rows:
        attributes = {Attr.OUTCOME: outcome}
        attributes |= {Attr.GIT_PART: part} if part else {}
        attributes |= {Attr.GIT_LOCK: lock} if lock else {}
        parent = made.spans[above] if 0 <= above < len(made.spans) else None
        end = None if length is None else start + length
        made.add(name, start, end, parent, worktree="w", **attributes)
    advice = made.advice()
    assert all(a.spent_ns >= 0 and a.saved_at_most_ns >= 0 for a in advice)
    made.spans.reverse()
    assert advice == made.advice()

"""Groups of runs to compare: an orchestrator whose times, counts and machines a test chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from otel_orchestrator.analysis.comparing.digest import Digest, digest_of
from otel_orchestrator.model import Run, Span, changed
from otel_orchestrator.semconv import Attr

from ..reading.generated import Spans

START_NS = 1_795_500_000_000_000_000
MS = 1_000_000
GAP_NS = 5_000 * MS


def run_of(
    number: int = 0,
    *,
    llm: Sequence[float] = (100, 100),
    git: Sequence[float] = (20,),
    traces_git: bool = False,
    compute: float = 10,
    lock: float = 0,
    start_ns: int = START_NS,
    host: str = "vm",
    label: str | None = None,
    names: Sequence[str] = (),
    outcome: str = "ok",
    warnings: Sequence[str] = (),
) -> Run:
    """One node that does one thing after the other, each for so many milliseconds.

    Args:
        number: makes its ids different from those of other runs.
        llm, git: as many calls, and how long each takes.
        traces_git: whether git itself says what it did inside of each command.
        compute, lock: what the node does itself, and waits for a lock.
        start_ns: when it starts.
        host, label: of its resource.
        names: further spans of a millisecond each.
        outcome: how it ends.
        warnings: what could not be read of it.
    """
    made = Spans()
    at = start_ns

    def after(ms: float) -> int:
        nonlocal at
        at += round(ms * MS)
        return at

    root = made.add("invoke_workflow w", at, None, None, outcome=outcome)
    step = made.add("superstep", at, None, root)
    node = made.add("node worker", at, None, step, "working", "compute")
    for ms in llm:
        made.add("chat m", at, after(ms), node, "working", "llm")
    for ms in git:
        command = made.add("git commit", at, after(ms), node, "working", "git")
        if traces_git:
            made.add("git hook pre-commit", command.start_ns, at, command, "working", "git",
                     git__part="hook")  # fmt: skip
    for name in names:
        made.add(name, at, after(1), node, "working", "tool")
    if lock:
        made.add("wait lock", at, after(lock), node, "waiting", "lock", wait__on="index")
    after(compute)
    resource = {Attr.SERVICE_NAME: "svc", Attr.HOST_NAME: host}
    if label is not None:
        resource[Attr.RUN_LABEL] = label
    run_id = f"run-{number:04}"
    return Run(run_id, tuple(_named(s, number, at) for s in made.made), resource=resource,
               warnings=tuple(warnings))  # fmt: skip


def _named(span: Span, number: int, end_ns: int) -> Span:
    def of_run(span_id: str) -> str:
        return f"{number:04x}{span_id}"

    return changed(
        span,
        trace_id=f"{number:032x}",
        span_id=of_run(span.span_id),
        parent_id=None if span.parent_id is None else of_run(span.parent_id),
        end_ns=end_ns if span.end_ns is None else span.end_ns,
    )


def in_turns(
    base: Iterable[dict[str, Any]], candidate: Iterable[dict[str, Any]]
) -> tuple[list[Digest], list[Digest]]:
    """Make runs of both groups by turns, a few seconds apart, as the docs ask for."""
    groups: tuple[list[Digest], list[Digest]] = ([], [])
    number = 0
    for pair in zip(base, candidate, strict=True):
        for group, said in zip(groups, pair, strict=True):
            start_ns = START_NS + number * GAP_NS
            group.append(digest_of(run_of(number, **{"start_ns": start_ns, **said})))
            number += 1
    return groups


def renamed(run: Run, number: int, start_ns: int) -> Run:
    """Give a run ids of its own, and another start."""
    shift_ns = start_ns - run.start_ns
    spans = (_named(span, number, 0) for span in run.spans)
    moved = (
        changed(s, start_ns=s.start_ns + shift_ns, end_ns=(s.end_ns or 0) + shift_ns) for s in spans
    )
    return replace(run, id=f"run-{number:04}", spans=tuple(moved))

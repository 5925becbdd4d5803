"""What a comparison keeps of a run: a few numbers for each path and category, whatever its size.

All of them are worked out from whole microseconds, see `canonical`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ... import semconv
from ...model import Run, Value
from ...semconv import Attr
from ..accounting.views import wall_view
from ..canonical import UNIT_NS, in_microseconds
from ..clip import Key
from ..outline import Outline, outline_of
from .amounts import CategoryAmount, PathAmount, amounts_of

NOT_WAITED_FOR: Final = (semconv.DEPENDENCY, semconv.HUMAN)
"""Waits that are no fault of the orchestrator: the plan's own order, and a person."""

_CAUSES_AT_MOST: Final = 30


@dataclass(frozen=True, slots=True)
class Waited:
    """How long a run waited for one reason, all who waited together, in microseconds."""

    category: str
    on: str
    us: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What a comparison keeps of one run.

    Attributes:
        run_id, label, service, host, outcome: as recorded.
        trace_id: of the run's own span.
        start_us, wall_us: when it started, and how long it took.
        spans: how many were recorded.
        on_wall: the wall in parts that add up to it, along the straggler of each superstep.
        waits: what all waits of a category come to, its tasks' waits before they were scheduled
            included.
        waited_on: for whom, the longest first; not all are kept.
        categories, paths: what their spans came to.
        warnings: what could not be read or is missing.
    """

    run_id: str
    label: str | None
    service: str | None
    host: str | None
    outcome: str
    trace_id: str
    start_us: int
    wall_us: int
    spans: int
    on_wall: Mapping[Key, int]
    waits: Mapping[str, int]
    waited_on: tuple[Waited, ...]
    categories: tuple[CategoryAmount, ...]
    paths: tuple[PathAmount, ...]
    warnings: tuple[str, ...]

    @property
    def end_us(self) -> int:
        """When it ended."""
        return self.start_us + self.wall_us

    @property
    def waiting_us(self) -> int:
        """What it waited in all, but for the plan's own order and for people."""
        return sum(us for category, us in self.waits.items() if category not in NOT_WAITED_FOR)


def digest_of(run: Run) -> Digest:
    """Work out what a comparison keeps of a run."""
    run = in_microseconds(run)
    outline = outline_of(run)
    paths, categories = amounts_of(outline)
    return Digest(
        run_id=run.id,
        label=_text(run.resource.get(Attr.RUN_LABEL)),
        service=_text(run.resource.get(Attr.SERVICE) or run.resource.get(Attr.SERVICE_NAME)),
        host=_text(run.resource.get(Attr.HOST_NAME)),
        outcome=outline.root.outcome if outline.root.span_id else semconv.OK,
        trace_id=outline.root.trace_id or next((s.trace_id for s in run.spans), ""),
        start_us=outline.wall[0] // UNIT_NS,
        wall_us=outline.wall_ns // UNIT_NS,
        spans=len(run.spans),
        on_wall={(p.state, p.category): p.ns // UNIT_NS for p in wall_view(outline).parts},
        waits=_waits(outline),
        waited_on=_waited_on(run),
        categories=categories,
        paths=paths,
        warnings=run.warnings,
    )


def _waits(outline: Outline) -> dict[str, int]:
    ns: dict[str, int] = {}

    def add(category: str, more_ns: int) -> None:
        if more_ns:
            ns[category] = ns.get(category, 0) + more_ns

    for ran in outline.everything:
        state, category = ran.key
        if state == semconv.WAITING:
            add(category, ran.took_ns)
        for short, short_ns in ran.short:
            add(short, short_ns)
    for job in outline.jobs:
        add(semconv.DEPENDENCY, job.dependency_ns)
        add(semconv.HELD, job.held_ns)
        add(semconv.CYCLE, job.cycle_ns)
    return {category: ns[category] // UNIT_NS for category in sorted(ns)}


def _waited_on(run: Run) -> tuple[Waited, ...]:
    ns: dict[tuple[str, str], int] = {}
    for span in run.spans:
        on = span.text(Attr.WAIT_ON) if span.state == semconv.WAITING else None
        if on is not None:
            key = span.category or "", on
            ns[key] = ns.get(key, 0) + run.duration_of(span)
    longest = sorted(ns.items(), key=lambda item: (-item[1], item[0]))[:_CAUSES_AT_MOST]
    return tuple(Waited(category, on, ns // UNIT_NS) for (category, on), ns in longest)


def _text(value: Value) -> str | None:
    return None if value is None else str(value)

"""Brute force: what happens in each single nanosecond of a small run, by definition.

Written apart from `analysis` on purpose, and without looking at speed: sets of ticks instead of
sweeps, the definitions of design.md section 3 instead of data structures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property

from otel_orchestrator.analysis.tally import Breakdown
from otel_orchestrator.model import Run, Span

Key = tuple[str, str]
Shares = Counter[Key]


class Oracle:
    """A run of which every tick can be asked."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.by_id = {s.span_id: s for s in run.spans}
        workflows = [s for s in run.spans if s.name.startswith("invoke_workflow")]
        top = [s for s in workflows if s.parent_id not in self.by_id]
        self.root = min(top, key=lambda s: (s.start_ns, s.span_id))
        end = max(s.end_ns or s.start_ns for s in run.spans if s.category != "human")
        self.wall = range(self.root.start_ns, end if self.root.end_ns is None else self.root.end_ns)

    @cached_property
    def ticks(self) -> dict[str, frozenset[int]]:
        """The ticks in which each span runs, within its parents; none outside of the root."""
        found: dict[str, frozenset[int]] = {self.root.span_id: frozenset(self.wall)}

        def of(span: Span) -> frozenset[int]:
            if span.span_id not in found:
                parent = self.by_id.get(span.parent_id or "")
                around = of(parent) if parent else frozenset()
                last = max(self.wall, default=0) + 1 if span.end_ns is None else span.end_ns
                found[span.span_id] = around & frozenset(range(span.start_ns, last))
            return found[span.span_id]

        for span in self.run.spans:
            of(span)
        return found

    def ancestors(self, span: Span) -> list[Span]:
        above = []
        while (parent := self.by_id.get(span.parent_id or "")) is not None:
            above.append(parent)
            span = parent
        return above

    def children(self, span: Span) -> list[Span]:
        return [s for s in self.run.spans if s.parent_id == span.span_id]

    def never_started(self, span: Span) -> bool:
        """Whether a superstep's task was still queued when its program ended or gave it up."""
        parent = self.by_id.get(span.parent_id or "")
        is_task = span.name.startswith("task") and parent is not None and parent.name == "superstep"
        given_up = span.attributes.get("orchestrator.outcome") in ("cancelled", "interrupted")
        killed = span.end_ns is None or "orchestrator.open.age" in span.attributes
        return is_task and (given_up or killed) and not self.children(span)

    def key(self, span: Span) -> Key:
        """What a span counts as where nothing below it runs."""
        above = self.ancestors(span)
        if span.state == "waiting":
            return "waiting", str(span.category)
        if self.never_started(span):
            return "waiting", "queue"
        if span.state == "container" or (span.state is None and span.category is None):
            in_node = any(s.name.startswith("node") for s in above)
            if span.name.split()[0] in ("loop", "superstep", "task"):
                return "working", "framework"
            if in_node or span.name.split()[0] in ("node", "invoke_agent"):
                return "working", span.category or "compute"
            return "working", "framework"
        in_llm = any(s.category == "llm" and s.state != "waiting" for s in above)
        if span.category == "http" and in_llm:
            return "working", "llm"
        return "working", span.category or "compute"

    def tick(self, tick: int, top: Span, without: Iterable[Span] = ()) -> dict[str, Fraction]:
        """Return which spans count in a tick, and how much of it each gets."""
        gone = {s.span_id for s in without}
        gone |= {s.span_id for s in self.run.spans if s.name == "wait held"}
        running = [
            s
            for s in self.run.spans
            if tick in self.ticks[s.span_id]
            and s.span_id not in gone
            and (s is top or top in self.ancestors(s))
            and not gone & {a.span_id for a in self.ancestors(s)}
        ]
        leaves = [s for s in running if not any(c.parent_id == s.span_id for c in running)]
        working = [s for s in leaves if self.key(s)[0] != "waiting"]
        counting = working or leaves
        return {s.span_id: Fraction(1, len(counting)) for s in counting}

    def exclusive(self, top: Span, ticks: Iterable[int], without: Iterable[Span] = ()) -> Shares:
        """Return the exact share of every category."""
        own: Counter[str] = Counter()
        for tick in ticks:
            own.update(self.tick(tick, top, without))
        total: Shares = Counter()
        for span_id, share in own.items():
            span = self.by_id[span_id]
            left = int(share)
            for name, seconds in sorted(span.attributes.items()):
                category = name.removeprefix("orchestrator.wait.short.")
                if category != name and self.key(span)[0] == "working":
                    taken = min(left, round(float(str(seconds)) * 1e9))
                    total["waiting", category] += taken
                    total[self.key(span)] -= taken
                    left -= taken
            total[self.key(span)] += share
        return total


def agrees(breakdown: Breakdown, exact: Shares, whole: int) -> None:
    """Assert that a breakdown is the exact one, rounded to whole nanoseconds that add up."""
    assert breakdown.whole_ns == whole
    assert sum(p.ns for p in breakdown.parts) == whole
    assert all(p.ns > 0 for p in breakdown.parts)
    measured: Counter[Key] = Counter({(p.state, p.category): p.ns for p in breakdown.parts})
    for key in measured | exact:
        assert abs(measured[key] - exact[key]) < 1, (key, measured, exact)
    assert sum(exact.values()) == whole

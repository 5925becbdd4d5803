"""What the spans of a run come to, by path of names and by category.

The path is what the spans of two runs have in common, whatever their ids:

invoke_workflow orchestrator / loop / superstep / task worker / node worker / chat gpt-4o
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ... import semconv
from ...model import Span
from ..canonical import UNIT_NS
from ..clip import Key, Ran
from ..intervals import Interval, length, union, without
from ..outline import Outline
from ..summary import percentile

Path = tuple[str, ...]
"""The names of a span's ancestors, from the run's own on, and its own name."""
_DEEPEST: Final = 250


@dataclass(frozen=True, slots=True)
class Example:
    """A span to look at.

    Attributes:
        trace_id, span_id: which.
        task_id: of the application's task that it belongs to, if it says so.
        us: how long it took, in microseconds.
    """

    trace_id: str
    span_id: str
    task_id: str | None
    us: int


@dataclass(frozen=True, slots=True)
class Amount:
    """What the spans of one path or category came to in one run; durations in microseconds.

    Attributes:
        count: how many there were.
        total_us, median_us, p95_us: of their durations.
        covered_us: how long at least one of them went on.
        waited_us: how long they waited: in waits directly below them; of waits, all of it; of
            what `compute` did itself, in waits too short for a span.
    """

    count: int
    total_us: int
    median_us: float
    p95_us: float
    covered_us: int
    waited_us: int

    @property
    def mean_us(self) -> float:
        """The mean of their durations."""
        return self.total_us / self.count

    @property
    def waiting_share(self) -> float:
        """The share of their time in which they waited."""
        return self.waited_us / self.total_us if self.total_us else 0.0


@dataclass(frozen=True, slots=True)
class PathAmount:
    """One path of a run.

    Attributes:
        path: the names.
        key: what its spans count as: state and category.
        amount: what they came to.
        worst: the longest of them.
    """

    path: Path
    key: Key
    amount: Amount
    worst: Example


@dataclass(frozen=True, slots=True)
class CategoryAmount:
    """One category of work or waiting in one run.

    Attributes:
        key: state and category.
        amount: what its spans came to; of `compute`, what they did outside of their children.
    """

    key: Key
    amount: Amount


@dataclass(slots=True)
class _Gathered:
    """Spans of one path or category, as they are met."""

    key: Key
    durations: list[int] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    waited_ns: int = 0
    worst: Span | None = None
    worst_ns: int = -1

    def add(self, ran: Ran, waited_ns: int) -> None:
        start_ns, end_ns = ran.start_ns, ran.end_ns
        took = end_ns - start_ns
        self.durations.append(took)
        self.intervals.append((start_ns, end_ns))
        self.waited_ns += waited_ns
        if took > self.worst_ns:
            self.worst, self.worst_ns = ran.span, took

    def add_parts(self, own: Sequence[Interval], short_ns: int) -> None:
        took = sum([end - start for start, end in own])
        self.durations.append(took)
        self.intervals += own
        self.waited_ns += min(took, short_ns)

    def add_all(self, other: _Gathered) -> None:
        self.durations += other.durations
        self.intervals += other.intervals
        self.waited_ns += other.waited_ns
        if other.worst_ns > self.worst_ns:
            self.worst, self.worst_ns = other.worst, other.worst_ns

    def amount(self) -> Amount:
        ordered = sorted(self.durations)
        return Amount(
            count=len(ordered),
            total_us=sum(ordered) // UNIT_NS,
            median_us=percentile(ordered, 0.50) / UNIT_NS,
            p95_us=percentile(ordered, 0.95) / UNIT_NS,
            covered_us=length(self.intervals) // UNIT_NS,
            waited_us=self.waited_ns // UNIT_NS,
        )

    def example(self) -> Example:
        span = self.worst
        assert span is not None
        task_id = span.text(semconv.Attr.TASK_ID)
        return Example(span.trace_id, span.span_id, task_id, self.worst_ns // UNIT_NS)


def amounts_of(outline: Outline) -> tuple[tuple[PathAmount, ...], tuple[CategoryAmount, ...]]:
    """Return what every path and every category of a run came to, in order of their names."""
    # Paths are numbers here: hashing all of their names for every span would take longer than all
    # else. Nearly all spans of a path are alike; those that are not are gathered apart.
    paths_by_number: list[Path] = [()]
    numbers: dict[tuple[int, str], int] = {}
    alike: dict[tuple[int, Key, bool], _Gathered] = {}
    compute: dict[Key, _Gathered] = {}
    stack: list[tuple[Ran, int]] = [(outline.top, 0)]
    while stack:
        ran, number = stack.pop()
        span, key = ran.span, ran.key
        if span.name:
            above, number = number, numbers.get((number, span.name), 0)
            if not number:
                number = numbers[above, span.name] = len(paths_by_number)
                path = paths_by_number[above]
                # What is deeper than any run counts there: a path is as long as its spans are deep.
                paths_by_number.append((*path, span.name) if len(path) < _DEEPEST else path)
            waited_ns = _waited(ran)
            counts = _counts(span, key)
            gathered = alike.get((number, key, counts))
            if gathered is None:
                gathered = alike[number, key, counts] = _Gathered(key)
            gathered.add(ran, waited_ns)
            if counts and key[1] == semconv.COMPUTE:
                own = without(ran.interval, [c.interval for c in ran.inside])
                # Waits that are spans are no part of its own time.
                short_ns = sum([ns for _, ns in ran.short])
                compute.setdefault(key, _Gathered(key)).add_parts(own, short_ns)
        stack.extend([(child, number) for child in ran.inside])
    paths: dict[Path, _Gathered] = {}
    categories: dict[Key, _Gathered] = {**compute}
    for number, key, counts in sorted(alike, key=lambda a: (paths_by_number[a[0]], a[1:])):
        gathered = alike[number, key, counts]
        paths.setdefault(paths_by_number[number], _Gathered(key)).add_all(gathered)
        if counts and key not in compute:
            categories.setdefault(key, _Gathered(key)).add_all(gathered)
    return (
        tuple(PathAmount(path, g.key, g.amount(), g.example()) for path, g in paths.items()),
        tuple(CategoryAmount(key, categories[key].amount()) for key in sorted(categories)),
    )


def _waited(ran: Ran) -> int:
    """Return how long a span waited: for a wait, all of it; else while nothing below it worked.

    node worker  ├──────────────────────────┤
    wait lock      ├░░░░░░░░░┤
    chat                 ├▓▓▓▓▓▓▓▓┤              →  ░░░░ waited
    """
    if ran.key[0] == semconv.WAITING:
        return ran.took_ns
    if not ran.inside and not ran.short:  # as nearly all are
        return 0
    waited = sum([ns for _, ns in ran.short]) if ran.short else 0
    waits = [c.interval for c in ran.inside if c.key[0] == semconv.WAITING]
    if waits:
        work = [c.interval for c in ran.inside if c.key[0] != semconv.WAITING]
        waited += sum(b - a for wait in union(waits) for a, b in without(wait, work))
    return min(waited, ran.took_ns)


def _counts(span: Span, key: Key) -> bool:
    """Whether a span counts for its category: no container, no attempt of an LLM call, and nothing
    that a git command did inside."""
    state, category = span.state, span.category
    if state == semconv.CONTAINER or not (state or category):
        return False
    is_attempt = category == semconv.HTTP and key[1] == semconv.LLM
    return not is_attempt and not semconv.is_git_part(span.attributes)

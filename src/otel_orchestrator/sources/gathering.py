"""Put the documents of a store together: each span once, in order, and what is missing said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from operator import attrgetter
from typing import Any, Final, NamedTuple

from ..analysis.roots import GRAPHS, is_root
from ..model import Attributes, GaugePoint, Run, Span, Value, changed
from ..semconv import INTERRUPTED, PENDING, Attr
from .clocks import aligned
from .documents import losses_of
from .otlp import Told
from .turns import missing_turns

_WARNINGS_AT_MOST: Final = 20
_in_order = attrgetter("start_ns", "span_id")
_PENDING: Final = Attr.PENDING


class Gathering:
    """What the documents of one run have told so far.

    A span without an end is a start note: it counts only where no end of the same span comes.

    Args:
        lost: what is said already of spans that may be missing.
    """

    def __init__(self, lost: _Said | None = None) -> None:
        self._spans: dict[str, dict[str, Span]] = defaultdict(dict)  # by trace, by span
        self._points: list[GaugePoint] = []
        self._resources: dict[_Process, Attributes] = {}  # the first is of most spans
        self._process_of: dict[tuple[str, str], _Process] = {}  # spans of the others
        self._warnings = _Said()
        self._lost = _Said() if lost is None else lost

    def add(self, told: Told) -> None:
        """Add what a document tells."""
        for resource, spans in told.blocks:
            self.add_spans(spans, resource)
        self._points.extend(told.points)
        self._lost.add_all(losses_of(told))
        if not self._resources and told.resource:
            self._resources[_process(told.resource)] = told.resource

    def add_spans(self, spans: Sequence[Span], resource: Attributes) -> None:
        """Add spans of one process, each once however often it comes."""
        for span in spans:
            its = _stood_for(span) if _PENDING in span.attributes else span
            trace = self._spans[its.trace_id]
            known = trace.setdefault(its.span_id, its)
            if known is not its:
                self._add_again(its, known, trace)
        if resource:
            process = _process(resource)
            self._resources.setdefault(process, resource)
            if process != next(iter(self._resources)):
                for span in spans:
                    # One that stands for an open span is kept under that span's id.
                    span_id = str(span.attributes.get(Attr.PENDING, span.span_id))
                    self._process_of[span.trace_id, span_id] = process

    def _add_again(self, span: Span, known: Span, trace: dict[str, Span]) -> None:
        if known.end_ns is None:
            trace[span.span_id] = known if span.end_ns is None else span
        elif span.end_ns is not None and span != known:
            if known.never_ended or span.never_ended:  # it was taken for killed, and went on
                trace[span.span_id] = span if known.never_ended else known
            else:
                self._warnings.add(f"two different spans have the id {span.span_id}")

    def add_point(self, point: GaugePoint) -> None:
        """Add a point of a gauge."""
        self._points.append(point)

    def plain(self) -> Plain | None:
        """Return everything as it is, if it is all of one trace and one process, and nothing has to
        be said of it."""
        is_of_one = len(self._spans) <= 1 and len(self._resources) <= 1
        if not is_of_one or self._lost.all() or self._warnings.all():
            return None
        spans = [span for trace in self._spans.values() for span in trace.values()]
        spans.sort(key=_in_order)
        return Plain(spans, self._points, next(iter(self._resources.values()), {}))

    def run(self, run_id: str, gone_ns: int | None = None) -> Run:
        """Return everything as one run.

        Args:
            run_id: its id.
            gone_ns: the last sign of life of its program, if that was killed.
        """
        every = [span for trace in self._spans.values() for span in trace.values()]
        ids = self._ids()
        if len(ids) < len(every):
            every = _told_apart(self._spans)
            ids = {span.span_id for span in every}
        main = self._main_process(every)
        if gone_ns is not None:
            every = _closed(every, gone_ns)
        said: list[str] = []
        if len({process.host for process in self._resources}) > 1:
            every, said = aligned(every, self._host_of, main.host)
        spans = tuple(sorted(every, key=_in_order))
        lost = (*self._lost.all(), *missing_turns(spans, ids))
        warnings = (*lost, *self._warnings.all(), *said, *_missing(spans, ids))
        points = tuple(sorted(self._points, key=lambda p: p.at_ns))
        resource = self._resources.get(main, {})
        return Run(run_id, spans, points, resource, warnings, lost)

    def _main_process(self, spans: list[Span]) -> _Process:
        """Return the process whose run it is: that of the span above all others."""
        first = next(iter(self._resources), _process({}))
        if not self._process_of:
            return first
        ids = self._ids()
        tops = (s for s in spans if s.parent_id not in ids)
        top = min(tops, key=attrgetter("start_ns"), default=spans[0])
        return self._process_of.get((top.trace_id, top.span_id), first)

    def _ids(self) -> set[str]:
        return set().union(*self._spans.values())

    def _host_of(self, span: Span) -> str:
        process = self._process_of.get((span.trace_id, span.span_id))
        return (process or next(iter(self._resources))).host


class Plain(NamedTuple):
    """Documents of one process and one trace.

    Attributes:
        spans: by start; each span once.
        points: of gauges.
        resource: of the process.
    """

    spans: list[Span]
    points: list[GaugePoint]
    resource: Attributes


class _Process(NamedTuple):
    """What tells two processes apart."""

    service: str
    host: str
    pid: str


def _process(resource: Attributes) -> _Process:
    keys = Attr.SERVICE_NAME, Attr.HOST_NAME, Attr.PROCESS_PID
    return _Process(*(str(resource.get(key, "")) for key in keys))


def runs_in(documents: Iterable[Told]) -> dict[str, Run]:
    """Return every run of documents that may hold many, by its id; what is in no run is left out.

    A run has spans: of a gauge's points alone, such as in a file of metrics, none is made. Spans
    that a Collector sorted into services get their true one back (`orchestrator.service`).
    What is lost may have been of any of the runs; a last line that is not whole yet is not lost.
    """
    lost = _Said()
    gathered: dict[str, Gathering] = defaultdict(lambda: Gathering(lost))
    for document in documents:
        if not document.is_torn:  # whoever writes exports may be about to write the rest of it
            lost.add_all(losses_of(document))
        for recorded, spans in document.blocks:
            resource = _true(recorded)
            of_runs: dict[str, list[Span]] = {}
            for span in spans:
                run_id = span.text(Attr.RUN_ID)
                if run_id is not None:
                    of_runs.setdefault(run_id, []).append(span)
            for run_id, its in of_runs.items():
                gathered[run_id].add_spans(its, resource)
        for point in document.points:
            of = point.attributes.get(Attr.RUN_ID)
            if of is not None:
                gathered[str(of)].add_point(point)
    runs = (its.run(run_id) for run_id, its in gathered.items())
    return {run.id: run for run in runs if run.spans}


def _true(recorded: Attributes) -> dict[str, Any]:
    resource = dict(recorded)
    if Attr.SERVICE in resource:
        resource[Attr.SERVICE_NAME] = resource.pop(Attr.SERVICE)
    return resource


def _stood_for(pending: Span) -> Span:
    """Return the open span that one without length stands for."""
    attributes = dict(pending.attributes)
    span_id = str(attributes.pop(Attr.PENDING))
    name = pending.name.removeprefix(f"{PENDING} ")
    return changed(pending, span_id=span_id, name=name, end_ns=None, attributes=attributes)


def _told_apart(traces: Mapping[str, Mapping[str, Span]]) -> list[Span]:
    """Return all spans, with other ids for those that an earlier trace has used already.

    Everything after this knows a span by its id alone. In one run's traces none comes twice, unless
    somebody has made it so.
    """
    found: list[Span] = []
    taken: set[str] = set()
    for trace_id, spans in traces.items():
        other = {span_id: f"{trace_id}-{span_id}" for span_id in taken & spans.keys()}
        taken |= spans.keys()
        for span in spans.values():
            above = span.parent_id
            found.append(
                changed(
                    span,
                    span_id=other.get(span.span_id, span.span_id),
                    parent_id=above if above is None else other.get(above, above),
                )
                if other
                else span
            )
    return found


def _closed(spans: list[Span], gone_ns: int) -> list[Span]:
    """End what is open, as the next program with that folder does it in the file."""
    end_ns = max((s.end_ns or s.start_ns for s in spans), default=0)
    end_ns = max(end_ns, gone_ns)
    return [s if s.end_ns is not None else _cut_at(s, end_ns) for s in spans]


def _cut_at(span: Span, end_ns: int) -> Span:
    told: dict[str, Value] = {
        Attr.OUTCOME: INTERRUPTED,
        Attr.OPEN_AGE: (end_ns - span.start_ns) / 1e9,
    }
    return changed(span, end_ns=end_ns, attributes={**span.attributes, **told})


def _missing(spans: Sequence[Span], ids: Set[str]) -> Iterator[str]:
    """Yield what is to be said of spans that are incomplete, or whose parents are not there."""
    lost = {s.parent_id for s in spans if s.parent_id not in ids} - {None, ""}
    # A run may well be below a span of the caller's, which is in no run and so not here.
    has_orphans = lost and any(s.parent_id in lost and s.operation not in GRAPHS for s in spans)
    unended = [span for span in spans if span.never_ended]
    still_open = [span for span in unended if span.end_ns is None]
    cut = [span for span in unended if span.end_ns is not None]
    if has_orphans:
        yield "some spans have a parent that is missing: they are shown as roots"
    if still_open:
        yield _no_end(still_open, ids)
    if cut:
        yield _cut_off(cut)


def _cut_off(spans: list[Span]) -> str:
    have = "1 span was" if len(spans) == 1 else f"{len(spans)} spans were"
    return f"{have} open when the program ended or was killed: interrupted then"


def _no_end(spans: list[Span], ids: Set[str]) -> str:
    have = "1 span has" if len(spans) == 1 else f"{len(spans)} spans have"
    if any(is_root(s, ids) for s in spans):
        return f"{have} no end: the run is still going on, or it was killed"
    return f"{have} no end: taken to last as long as what it is part of"


class _Said:
    """Warnings, the first of them: nobody reads a million, nor is there room for them."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._count = 0

    def add(self, warning: str) -> None:
        self._count += 1
        if len(self._first) < _WARNINGS_AT_MOST:
            self._first.append(warning)

    def add_all(self, warnings: Iterable[str]) -> None:
        for warning in warnings:
            self.add(warning)

    def all(self) -> list[str]:
        more = self._count - len(self._first)
        return [*self._first, f"... and {more} warnings more"] if more else list(self._first)

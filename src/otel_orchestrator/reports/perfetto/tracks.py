"""What stands on which track: the run, its worker slots, its tasks, and numbers over time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from ... import semconv
from ...analysis.calls import is_call
from ...analysis.clip import Ran
from ...analysis.in_flight import in_flight
from ...analysis.intervals import Interval
from ...analysis.jobs import Job
from ...analysis.outline import Outline
from ...analysis.study import Study
from ...analysis.whatif.paper import needs_of
from ...model import Span, Value
from ...semconv import Attr
from .. import words
from ..left_out import MESSAGES
from .slices import Slice, Track

_TOLD_ELSEWHERE = {Attr.RUN_ID, Attr.STATE, Attr.CATEGORY}


@dataclass(frozen=True, slots=True)
class Flow:
    """An arrow from one slice to another, by their keys."""

    source: str
    target: str


def tracks_of(study: Study) -> Track:
    """Return all tracks of a run, as one that holds them."""
    outline = study.accounting.outline
    below = [Track("Run", list(_structure(outline)))]
    if slots := list(_slots(study)):
        below.append(Track("Worker slots", tracks=slots))
    if tasks := list(_tasks(study)):
        below.append(Track("Tasks", tracks=tasks))
    if beside := list(_outside(study)):
        below.append(Track("Outside of the run", beside))
    below += _counters(study)
    return Track(f"{study.summary.name} {study.summary.run_id}", tracks=below)


def flows_of(study: Study) -> list[Flow]:
    """Return who was dispatched by whom, and who needed whom."""
    jobs = study.accounting.outline.jobs
    # Of jobs that end together the first counts: it comes last here.
    alone = sorted((job.ended_ns, -n) for n, job in enumerate(jobs) if not job.is_worker)
    flows = []
    for job, needs in zip(jobs, needs_of(jobs), strict=True):
        at = bisect_left(alone, (job.scheduled_ns + 1,))
        if job.is_worker and at:
            flows.append(Flow(_key(jobs[-alone[at - 1][1]]), _key(job)))
        flows += [Flow(_key(jobs[n]), _key(job)) for n in needs]
    return flows


def _key(job: Job) -> str:
    return job.span_id


def _structure(outline: Outline) -> Iterator[Slice]:
    """Yield the run with loops, supersteps and waits between them, but without its jobs."""
    jobs = {ran.span.span_id for job in outline.jobs for ran in (job.ran, *outline.inside(job))}
    yield from _with_inside(outline.top, outline.wall, jobs)


def _with_inside(top: Ran, window: Interval, without: Collection[str] = ()) -> Iterator[Slice]:
    """Yield a span with all that ran inside of it, cut to a window; nothing if it lies outside."""
    # Parents before children, then from the last to the first: no recursion, however deep it is.
    ordered: list[tuple[Ran, int]] = []
    stack = [(top, -1)]
    while stack:
        one, parent = stack.pop()
        if one.span.span_id in without or not _is_in(one, window):
            continue
        ordered.append((one, parent))
        stack.extend((child, len(ordered) - 1) for child in reversed(one.inside))
    inside: list[list[Slice]] = [[] for _ in ordered]
    for n in range(len(ordered) - 1, -1, -1):
        one, parent = ordered[n]
        start, end = max(one.start_ns, window[0]), min(one.end_ns, window[1])
        made = _slice(one.span, start, end, tuple(inside[n][::-1]))
        if parent < 0:
            yield made
        else:
            inside[parent].append(made)


def _is_in(ran: Ran, window: Interval) -> bool:
    return ran.start_ns < window[1] and ran.end_ns > window[0]


def _slice(span: Span, start: int, end: int, inside: tuple[Slice, ...] = ()) -> Slice:
    categories = tuple(c for c in (span.state, span.category) if c)
    facts = {
        k: v for k, v in span.attributes.items() if k not in _TOLD_ELSEWHERE and k not in MESSAGES
    }
    facts |= {"span id": span.span_id, "trace id": span.trace_id}
    return Slice(span.name, start, end, categories, facts, "", inside)


def _slots(study: Study) -> Iterator[Track]:
    outline = study.accounting.outline
    for slot in study.accounting.slots.slots:
        slices = []
        for spell in slot.spells:
            window = (spell.start_ns, spell.end_ns)
            if spell.job is not None:
                slices.append(_busy(outline, spell.job, window))
            elif spell.category != semconv.FRAMEWORK:
                meaning = words.WAITS.get(spell.category, "")
                told = "no work" if spell.state != semconv.WAITING else spell.category
                facts = {"meaning": meaning} if meaning else {}
                slices.append(Slice(f"idle: {told}", *window, (spell.state, spell.category), facts))
        yield Track(f"slot {slot.number + 1}", slices)


def _busy(outline: Outline, job: Job, window: Interval) -> Slice:
    inside = tuple(piece for child in outline.inside(job) for piece in _with_inside(child, window))
    facts: dict[str, Value] = {"node": job.name, "span id": job.span_id}
    if job.depends_on is not None:
        facts["depends on"] = job.depends_on
    return Slice(job.task_id or job.name, *window, (semconv.WORKING,), facts, _key(job), inside)


def _tasks(study: Study) -> Iterator[Track]:
    """Yield a track for each task's life, from planned to seen by the Director."""
    times = study.accounting.lifecycle.jobs or study.accounting.task.jobs
    for time in times:
        job = time.job
        waits = (
            (time.start_ns, job.deps_done_ns, semconv.DEPENDENCY),
            (job.deps_done_ns, job.released_ns, semconv.HELD),
            (job.released_ns, job.scheduled_ns, semconv.CYCLE),
            *((*kept, semconv.CONSUMER) for kept in job.kept_by_reader),
            *((*queued, semconv.QUEUE) for queued in job.queued),
            *((a[1], b[0], semconv.RETRY_BACKOFF) for a, b in pairwise(job.attempts)),
            (job.ended_ns, job.barrier_ns, semconv.BARRIER),
            (job.barrier_ns, time.end_ns, semconv.CYCLE),
        )
        slices = [
            Slice(f"wait {reason}", start, end, (semconv.WAITING, reason))
            for start, end, reason in waits
            if start < end
        ]
        slices += [Slice("works", a, b, (semconv.WORKING,)) for a, b in job.worked if a < b]
        yield Track(job.task_id or job.name, slices)


def _outside(study: Study) -> Iterator[Slice]:
    """Yield what is not below the run, such as a wait for a person between two runs."""
    run, outline = study.run, study.accounting.outline
    inside = {ran.span.span_id for ran in outline.everything}
    for span, _ in study.forest.walk():
        is_held = span.category == semconv.HELD and span.state == semconv.WAITING
        if span.span_id not in inside and not is_held:
            yield _slice(span, span.start_ns, run.end_of(span))


def _counters(study: Study) -> Iterator[Track]:
    queue = study.summary.queue
    for state in ("active", "ready", "waiting"):
        if queue:
            steps = [(p.at_ns, int(getattr(p, state))) for p in queue]
            yield Track(f"Queue: {state}", steps=steps, unit="tasks")
    run = study.run
    calls = [(s.start_ns, run.end_of(s)) for s in run.spans if is_call(s)]
    if calls:
        yield Track("LLM calls at once", steps=in_flight(calls), unit="calls")

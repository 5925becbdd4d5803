"""A large run in parts: what is kept of each, and the run put together out of that.

invoke_workflow
├─ loop ┐
├─ loop ┘ a part: whole children of the run, with all that is below them
├─ loop ┐
├─ loop ┘ another
└─ …

Of a part its jobs are kept, with what they did added up, and of all the rest a few numbers: so
parts can be looked at by several processes, each while it fits into a processor's cache. What
is told of the run is the same as if it had been looked at as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

from msgspec import Struct, structs

from ..model import Run, Span
from ..semconv import Attr
from .accounting.exclusive import added_up, take_short_waits
from .accounting.slots import between_jobs
from .accounting.views import beside_stragglers
from .calls import CallsFound, calls_together
from .clip import Key, Ran, clip
from .did import Did
from .digests import Digests, digests_of
from .jobs import Job, Superstep, in_order
from .outline import Outline, outline_of, outline_with
from .phases import phases_of
from .tally import Breakdown, Tally
from .tree import Forest

_KEPT: Final = (
    Attr.STATE,
    Attr.CATEGORY,
    Attr.TASK_ID,
    Attr.LOOP_INDEX,
    Attr.LOOP_HEAD,
    Attr.SUPERSTEP_INDEX,
)


class Part(Struct, frozen=True, gc=False, array_like=True):
    """What is kept of a part of a run.

    Attributes:
        start_ns, end_ns: when its first span started, and the last one ended.
        children: those of the run's own span, without what is below them.
        loops: when each turn of the cycle started.
        waits: those that are in no job.
        supersteps: of the outermost graph; `slot_jobs` are left out where they are the `jobs`.
        did: what each job did, by the id of its span.
        alone, shared: what the children did for the wall; see `Tally`.
        calls: what its jobs called.
        digests: what all other analyses keep.
    """

    start_ns: int
    end_ns: int
    children: tuple[Ran, ...]
    loops: tuple[int, ...]
    waits: tuple[Ran, ...]
    supersteps: tuple[Superstep, ...]
    did: dict[str, Did]
    alone: dict[Key, int]
    shared: dict[tuple[Key, int], int]
    calls: CallsFound
    digests: Digests


@dataclass(frozen=True, slots=True)
class RunInParts:
    """A run that was looked at in parts.

    Attributes:
        run: what is shown of it: not all of its spans.
        root: its own span.
        parts: all of them, in any order.
    """

    run: Run
    root: Span
    parts: tuple[Part, ...]


def part_of(run: Run, forest: Forest) -> Part:
    """Return what is kept of a part of a run.

    Args:
        run: its spans; the run's own is in one of the parts.
        forest: these spans, and in any case the run's own, linked.
    """
    outline = outline_of(run, forest, is_part=True)
    children = outline.top.inside
    on_wall = added_up(
        outline,
        [(child.start_ns, child.end_ns, child) for child in children],
        beside_stragglers(outline),
    )
    phases = phases_of(outline)
    return Part(
        start_ns=run.start_ns,
        end_ns=run.end_ns,
        children=tuple(map(_bare, children)),
        loops=outline.loops,
        waits=tuple(map(_bare, between_jobs(outline.top))),
        supersteps=tuple(map(_bare_superstep, outline.supersteps)),
        did={span_id: _bare_did(did) for span_id, did in phases.did.items()},
        alone=on_wall.alone,
        shared=on_wall.shared,
        calls=phases.calls_of(phases.workers),
        digests=digests_of(run, forest, outline.root),
    )


def put_together(whole: RunInParts) -> Outline | None:
    """Return the outline of a run; None where that takes all of its spans."""
    root, parts = whole.root, whole.parts
    children = sorted(chain.from_iterable(p.children for p in parts), key=in_order)
    supersteps = [_with_slots(s) for part in parts for s in part.supersteps]
    if not _are_one_by_one(children) or not any(s.is_of_workers for s in supersteps):
        return None
    (top,) = clip(root, {}, max(part.end_ns for part in parts))
    waits = chain.from_iterable(p.waits for p in parts)
    top.inside = tuple(sorted((*children, *waits), key=in_order))
    return outline_with(
        whole.run,
        Forest((root,), {}, {root.span_id: root}),
        (top,),
        loops=tuple(sorted(chain.from_iterable(p.loops for p in parts))),
        supersteps=tuple(sorted(supersteps, key=lambda s: in_order(s.ran))),
        jobs=chain.from_iterable(s.slot_jobs for s in supersteps),
        did={span_id: did for part in parts for span_id, did in part.did.items()},
        on_wall=_on_wall(top, children, parts),
        calls=calls_together([part.calls for part in parts]),
    )


def _are_one_by_one(children: Sequence[Ran]) -> bool:
    ids = {child.span.span_id for child in children}
    return len(ids) == len(children) and all(a.end_ns <= b.start_ns for a, b in pairwise(children))


def _on_wall(top: Ran, children: Iterable[Ran], parts: Iterable[Part]) -> Breakdown:
    own_ns = top.took_ns - sum(child.took_ns for child in children)
    tally = Tally()
    tally.add(top.key, own_ns)
    take_short_waits(tally, top, own_ns)
    for part in parts:
        tally.merge(Tally(part.alone, part.shared))
    return tally.breakdown()


def _bare(ran: Ran) -> Ran:
    """Return a span without what is below it, and without what nothing asks for later."""
    span = ran.span
    attributes = span.attributes
    kept = {key: attributes[key] for key in _KEPT if key in attributes}
    bare = Span(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start_ns,
        span.end_ns,
        span.is_error,
        kept,
    )
    return Ran(bare, ran.start_ns, ran.end_ns, ran.key)


def _bare_superstep(superstep: Superstep) -> Superstep:
    jobs, slot_jobs = superstep.jobs, superstep.slot_jobs
    return Superstep(
        _bare(superstep.ran),
        tuple(map(_bare_job, jobs)),
        () if slot_jobs == jobs else tuple(map(_bare_job, slot_jobs)),
    )


def _bare_job(job: Job) -> Job:
    return structs.replace(job, ran=_bare(job.ran), superstep=None)


def _bare_did(did: Did) -> Did:
    """Leave out the commands: they are counted already."""
    return Did(did.served, did.scheduled, structs.replace(did.calls, git=()))


def _with_slots(superstep: Superstep) -> Superstep:
    if superstep.slot_jobs:
        return superstep
    return Superstep(superstep.ran, superstep.jobs, superstep.jobs)

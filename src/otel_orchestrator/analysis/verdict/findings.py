"""What a finding is made of: the case, the numbers behind it, examples, and how it stands."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from ... import semconv
from ...model import Span
from ..accounting.views import Accounting
from ..calls import CallsFound
from ..examples import Example
from ..jobs import Job
from ..outline import Outline
from ..phases import Phases
from ..tally import Breakdown
from ..whatif.estimates import WhatIf

Standing = Literal["supported", "not supported", "cannot be told"]
SUPPORTED: Final = "supported"
NOT_SUPPORTED: Final = "not supported"
CANNOT_BE_TOLD: Final = "cannot be told"

MATERIAL: Final = 0.10
"""What takes less than this share of the wall and of slot time is not the bottleneck."""
LEAST_JOBS: Final = 3
_NAMED: Final = 3
_DECIMALS_AT_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Number:
    """A number behind a finding; `unit` is `ns`, `share` (0 to 1) or `count`."""

    label: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the run says of one hypothesis.

    Attributes:
        key: `llm`, `git`, `superstep`, `cycle`.
        title: the hypothesis in words.
        standing: what the run says of it.
        why: one sentence: the number that decided, or why it cannot be told.
        measure, threshold: what was compared; supported from the threshold up.
        share_of_wall, share_of_slots: from 0 to 1; None where not known.
        numbers: behind it.
        examples: the worst first.
        advice: what to do about it, best first; for what is not supported, none.
    """

    key: str
    title: str
    standing: Standing
    why: str
    measure: float | None
    threshold: float
    share_of_wall: float | None
    share_of_slots: float | None
    numbers: tuple[Number, ...]
    examples: tuple[Example, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """The run, and what all four findings look at.

    Attributes:
        unsure: the spans of which it is not known how long they took, or to what they belong.
    """

    accounting: Accounting
    phases: Phases
    estimates: WhatIf
    unsure: Sequence[Span]

    @property
    def outline(self) -> Outline:
        """The run, taken apart."""
        return self.accounting.outline

    @cached_property
    def workers(self) -> tuple[Job, ...]:
        """The workers; by hand, where no span says task, every job."""
        if self.outline.supersteps:
            return self.phases.workers
        jobs = self.outline.jobs
        return tuple(j for j in jobs if j.is_worker) or jobs

    @cached_property
    def calls(self) -> CallsFound:
        """What the jobs called."""
        return self.outline.calls or self.phases.calls_of(self.workers)

    def service(self, job: Job) -> Breakdown:
        """Return what a job did from its start to its end."""
        return self.phases.service(job)

    @cached_property
    def chain(self) -> list[Job]:
        """The workers on the wall: each turn's straggler and what it queued for."""
        return [j for turn in self.phases.turns for j in turn.slot_chain()]

    def of_wall(self, ns: int) -> float:
        """Return a share of the wall."""
        return ns / self.outline.wall_ns if self.outline.wall_ns else 0.0

    def of_slots(self, ns: int) -> float:
        """Return a share of slots x wall."""
        whole = self.accounting.slots.total.whole_ns
        return ns / whole if whole else 0.0

    def doubt(self) -> str | None:
        """Return why none of the four can be judged, if so."""
        if doubt := self.doubt_about_spans():
            return doubt
        if (jobs := len(self.workers)) < LEAST_JOBS:
            return f"it takes at least {LEAST_JOBS} jobs of workers; there are {jobs}"
        return None

    def doubt_about_spans(self) -> str | None:
        """Return why what was recorded is not all that happened, if so."""
        run = self.outline.run
        if not self.outline.root.span_id:
            return "no run was recorded, only spans outside of one"
        if run.lost:
            return run.lost[0]
        if self.outline.root.never_ended:
            is_known = self.outline.root.end_ns is not None
            return (
                "its program ended, or was killed, before the run was over"
                if is_known
                else _GOES_ON
            )
        return _doubt([s for s in self.unsure if s.operation in _STRUCTURE])

    def doubt_about(self, categories: Container[str]) -> str | None:
        """Return why nothing can be told of some categories, if so."""
        return _doubt([s for s in self.unsure if s.category in categories])


_GOES_ON: Final = "the run is still going on, or it was killed"
_STRUCTURE: Final = (
    semconv.INVOKE_WORKFLOW,
    semconv.LOOP,
    semconv.SUPERSTEP,
    semconv.TASK,
    semconv.NODE,
)


def unsure_of(outline: Outline) -> Sequence[Span]:
    """Return the spans of a run without an end, and those whose parent is missing: they are
    nowhere. Of what is in no run, nothing is sure anyway."""
    unsure = [s for s in outline.run.spans if s.never_ended]
    if unsure:
        counted = {ran.span.span_id for ran in outline.everything}
        unsure = [s for s in unsure if s.span_id in counted]
    forest, root = outline.forest, outline.root
    stack = [s for s in forest.roots if s.parent_id and s is not root]
    stack = [s for s in stack if s.parent_id not in forest.by_id]  # else it is below itself
    while stack:
        unsure.append(found := stack.pop())
        stack.extend(forest.children(found))
    return unsure


def _doubt(spans: Sequence[Span]) -> str | None:
    if not spans:
        return None
    names = sorted({s.name for s in spans})
    told = ", ".join(names[:_NAMED]) + (" and others" if len(names) > _NAMED else "")
    if any(s.never_ended for s in spans):
        return f"it is not known how long these took: {told}"
    return f"it is not known to what these belong: {told}"


def finding(
    case: Case,
    *,
    key: str,
    title: str,
    concerns: Container[str],
    doubt: str | None,
    measure: float | None,
    threshold: float,
    told: str,
    shares: tuple[float | None, float | None],
    numbers: Sequence[Number],
    examples: Sequence[Example],
    advice: Sequence[str],
    is_material: bool = True,
) -> Finding:
    """Compare a measure with its threshold, unless the run leaves doubt.

    Args:
        case: the run.
        concerns: the categories without which it cannot be judged.
        doubt: why else it cannot be judged.
        told: what the measure is a share of, to go on a sentence that begins with it.
        shares: of the wall and of slot time.
        is_material: there is enough of it to matter.
        key, title, measure, threshold, numbers, examples, advice: as in `Finding`.
    """
    doubt = case.doubt() or case.doubt_about(concerns) or doubt
    if doubt is not None or measure is None:
        standing: Standing = CANNOT_BE_TOLD
        why = doubt or "it was not measured"
    else:
        standing = SUPPORTED if measure >= threshold and is_material else NOT_SUPPORTED
        told = f"{_told_apart(measure, threshold)} {told}"
        why = f"{told}; {threshold:.0%} would make it the bottleneck"
        if measure >= threshold and not is_material:
            why = f"{told}, but less than {MATERIAL:.0%} of the wall and of slot time"
        elif measure >= threshold:
            why = f"{told}; {threshold:.0%} or more makes it the bottleneck"
    return Finding(
        key=key,
        title=title,
        standing=standing,
        why=why,
        measure=measure,
        threshold=threshold,
        share_of_wall=shares[0],
        share_of_slots=shares[1],
        numbers=tuple(numbers),
        examples=tuple(examples),
        advice=tuple(advice) if standing == SUPPORTED else (),
    )


def _told_apart(measure: float, threshold: float) -> str:
    """Return a share with as many decimals as it takes to tell it from its threshold."""
    shares = ((f"{measure:.{n}%}", f"{threshold:.{n}%}") for n in range(_DECIMALS_AT_MOST + 1))
    return next((one for one, other in shares if one != other), f"{measure:.0%}")

"""Everything that a report says of one run, worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr
from .accounting.views import Accounting, account
from .advice.git import git_advice
from .advice.llm import llm_advice
from .advice.models import ModelUse, models_of
from .advice.pieces import Advice, worth_reading
from .digests import Digests, digests_of
from .outline import Outline, outline_of
from .parts import RunInParts, put_together
from .phases import phases_of
from .roots import root_of
from .summary import Summary, summary_of
from .tree import Forest, forest_of
from .verdict.judging import Verdict, verdict
from .whatif.estimates import WhatIf, what_if


@dataclass(frozen=True, slots=True)
class Study:
    """A run and what follows from it.

    Attributes:
        forest: its spans, linked.
        advice: what could be done, what saves most first.
        models: what each LLM took, the one that took most first.
        remarks: what the numbers leave out, in words.
    """

    run: Run
    forest: Forest
    summary: Summary
    accounting: Accounting
    estimates: WhatIf
    verdict: Verdict
    advice: tuple[Advice, ...]
    models: tuple[ModelUse, ...]
    remarks: tuple[str, ...]


def study(run: Run) -> Study:
    """Work out everything that a report says."""
    forest = forest_of(run.spans)
    outline = outline_of(run, forest)
    digests = digests_of(run, forest, root_of(forest))
    return _told(run, run.end_ns - run.start_ns, forest, outline, [digests])


def study_of_parts(whole: RunInParts) -> Study | None:
    """Work out the same of a run that was looked at in parts; None where it takes all its spans."""
    outline = put_together(whole)
    if outline is None:
        return None
    digests = [part.digests for part in whole.parts]
    took_ns = max(p.end_ns for p in whole.parts) - min(p.start_ns for p in whole.parts)
    return _told(whole.run, took_ns, forest_of(whole.run.spans), outline, digests)


def _told(
    run: Run, took_ns: int, forest: Forest, outline: Outline, digests: Sequence[Digests]
) -> Study:
    phases = phases_of(outline)
    accounting = account(outline)
    estimates = what_if(outline, phases)
    summary = summary_of(
        run, outline.root if outline.root.span_id else None, [d.counted for d in digests]
    )
    llm, git = llm_advice([d.llm for d in digests]), git_advice([d.git for d in digests])
    return Study(
        run=run,
        forest=forest,
        summary=summary,
        accounting=accounting,
        estimates=estimates,
        verdict=verdict(accounting, estimates, phases),
        advice=worth_reading(took_ns, (*llm, *git)),
        models=models_of(d.models for d in digests),
        remarks=tuple(_remarks(summary, outline.root)),
    )


def _remarks(summary: Summary, root: Span) -> Iterator[str]:
    if root.outcome == semconv.CANCELLED:
        yield "it was cancelled: all numbers are of what ran until then"
    human_ns = sum(c.durations.total_ns for c in summary.categories if c.category == semconv.HUMAN)
    if human_ns:
        yield f"it waited {human_ns / 1e9:.1f} s for a person, which is no part of its wall clock"
    if root.attributes.get(Attr.RESUMED) and not root.links:
        yield (
            "it goes on where another run was interrupted, but that one is not known here: how long"
            " it waited for a person cannot be told"
        )

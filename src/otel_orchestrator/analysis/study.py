"""Everything that a report says of one run, worked out once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr
from .accounting.views import Accounting, account
from .advice.git import git_advice
from .advice.llm import llm_advice
from .advice.models import ModelUse, models_of
from .advice.pieces import Advice, Look, worth_reading
from .outline import outline_of
from .phases import phases_of
from .summary import Summary, summarize
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
    phases = phases_of(outline)
    accounting = account(outline)
    estimates = what_if(outline, phases)
    look = Look(run, forest)
    return Study(
        run=run,
        forest=forest,
        summary=summarize(run, forest),
        accounting=accounting,
        estimates=estimates,
        verdict=verdict(accounting, estimates, phases),
        advice=worth_reading(run, (*llm_advice(look), *git_advice(look))),
        models=models_of(look),
        remarks=tuple(_remarks(run, outline.root)),
    )


def _remarks(run: Run, root: Span) -> Iterator[str]:
    if root.outcome == semconv.CANCELLED:
        yield "it was cancelled: all numbers are of what ran until then"
    human_ns = sum(run.duration_of(s) for s in run.spans if s.category == semconv.HUMAN)
    if human_ns:
        yield f"it waited {human_ns / 1e9:.1f} s for a person, which is no part of its wall clock"
    if root.attributes.get(Attr.RESUMED) and not root.links:
        yield (
            "it goes on where another run was interrupted, but that one is not known here: how long"
            " it waited for a person cannot be told"
        )

"""The report for people, at any width, with or without colour."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.study import Study
from ...semconv import GIT
from ...urls import JAEGER_URL
from .advice import advice, models
from .explain import explanations
from .headline import headline, next_steps
from .queue import queue
from .style import console_of, section, without_blank_ends
from .time import categories, slots, slowest, supersteps, tasks, views, waterfall
from .tree import tree
from .verdict import verdict, what_if


def render(
    study: Study,
    *,
    width: int,
    colour: bool,
    everything: bool = False,
    spans: bool = True,
    explain: bool = False,
    jaeger_url: str | None = JAEGER_URL,
    run: str | None = None,
    options: str = "",
) -> str:
    """Return the report as text.

    Args:
        study: what to report.
        width: columns of the terminal.
        colour: use ANSI colours.
        everything: show every span, however many look alike.
        spans: show spans one by one at all.
        explain: say how each number is made.
        jaeger_url: where links to traces lead; None for a run that is in no Jaeger.
        run: how the command line names the run, if not by its id.
        options: what it needs to list the runs beside it.
    """
    console = console_of(max(width, 50), colour=colour)
    each = [tree(study, console.width, everything)] if spans else []
    with console.capture() as captured:
        console.print(_report(study, console.width, each, explain, jaeger_url))
        steps = next_steps(run or shlex.quote(study.run.id), options, console.width)
        console.print(section("Next"), steps, crop=False)
    return without_blank_ends(captured.get())


def _report(
    study: Study,
    width: int,
    spans: Sequence[RenderableType],
    explain: bool,
    jaeger_url: str | None,
) -> RenderableType:
    summary, accounting = study.summary, study.accounting
    parts: list[RenderableType] = [headline(summary)]
    parts += [section("Verdict: what to optimise"), verdict(study.verdict, jaeger_url)]
    parts += [section("What if"), what_if(study.estimates)]
    if summary.llm_calls or any(c.category == GIT for c in summary.categories):
        parts += [section("What to do"), advice(study, jaeger_url)]
    parts += [section("Time, accounted for"), views(accounting)]
    parts += [section("The wall, step by step"), waterfall(accounting.wall, width)]
    parts += [section("Spans by category"), categories(summary.categories, width)]
    if len(study.models) > 1 or any(m.output_tokens for m in study.models):
        parts += [section("LLM calls by model"), models(study.models, width)]
    if any(len(b.superstep.jobs) > 1 for b in study.accounting.barriers):
        parts += [section("Supersteps"), supersteps(study.accounting.barriers, width)]
    if accounting.outline.jobs:
        parts += [section("Tasks over time"), tasks(study, width)]
        parts += [section("Slots over time"), slots(study, width)]
    if summary.slowest_tasks:
        parts += [section("Slowest tasks"), slowest(summary)]
    if summary.queue:
        parts += [section("Queue over time"), queue(summary, width)]
    if spans:
        parts += [section("The run, span by span"), *spans]
    if warnings := (*study.run.warnings, *study.remarks):
        parts += [section("Warnings"), *(Text(f"  ! {w}", "yellow") for w in warnings)]
    if explain:
        parts += [section("How each number is made"), explanations(study)]
    return Group(*parts)

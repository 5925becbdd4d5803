"""The verdict on the four hypotheses, and what each change would save."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.verdict.findings import CANNOT_BE_TOLD, SUPPORTED, Finding
from ...analysis.verdict.judging import Verdict
from ...analysis.whatif.estimates import WhatIf
from .. import words
from ..units import duration, share
from .examples import worst
from .style import DIM, indented, note, plain_table

_MARKS: Final = {SUPPORTED: ("●", "bold dark_orange"), CANNOT_BE_TOLD: ("?", "yellow")}
_NOT_SUPPORTED: Final = ("○", DIM)
_SHOWN_EXAMPLES: Final = 2
_SHOWN_ADVICE: Final = 3


def verdict(told: Verdict, jaeger_url: str | None) -> RenderableType:
    """Say of each hypothesis whether the run supports it, and what follows."""
    if told.doubt is not None:
        doubt = Text.assemble(("? ", "yellow"), f"No verdict: {told.doubt}.")
        told_all_the_same = filter(None, (words.largest(told), words.all_shares(told)))
        return Group(indented(doubt, by=0), *(indented(t, DIM) for t in told_all_the_same))
    parts: list[RenderableType] = []
    if largest := words.largest(told):
        parts.append(indented(largest, by=0))
    for finding in sorted(told.findings, key=words.supported_first):
        parts.append(_title(finding))
        if finding.standing == SUPPORTED:
            parts += [indented(words.numbers(finding), DIM)]
            parts += [worst(e, jaeger_url) for e in finding.examples[:_SHOWN_EXAMPLES]]
            parts += [indented(f"→ {a}") for a in finding.advice[:_SHOWN_ADVICE]]
    parts += [Text(), _bets(told), note(words.rule(told))]
    return Group(*parts)


def _title(finding: Finding) -> RenderableType:
    mark, style = _MARKS.get(finding.standing, _NOT_SUPPORTED)
    title = Text.assemble(
        (f"{mark} ", style), (finding.title, "bold"), "  ", (finding.standing, style)
    )
    return Group(title, indented(words.judged(finding), DIM))


def _bets(told: Verdict) -> RenderableType:
    table = plain_table("", "on", "expected", "measured", "came out", numbers=3)
    table.columns[-1].justify = "left"
    for name, bet in words.bets(told):
        range_ = "" if bet is None else f"{bet.low * 100:.0f} to {bet.high * 100:.0f} %"
        measured = "?" if bet is None else share(bet.measured)
        style = DIM if bet is None or bet.holds else "dark_orange"
        table.add_row("", name, range_, measured, Text(words.came_of(bet), style))
    return Group(note(f"{words.BETS}:"), table)


def what_if(estimates: WhatIf) -> RenderableType:
    """List what each change would save, the most first; what cannot be told comes last."""
    table = plain_table("", "what if", "saves", "then", "from … to", numbers=3)
    known = [e for e in estimates.estimates if e.band is not None and e.saves is not None]
    for estimate in sorted(known, key=lambda e: -(e.saves or 0.0)):
        band = estimate.band
        assert band is not None
        table.add_row(
            "",
            estimate.title,
            share(estimate.saves or 0.0),
            duration(band.expected_ns),
            f"{duration(band.low_ns)} … {duration(band.high_ns)}",
        )
    parts: list[RenderableType] = [table] if known else []
    unknown: dict[str, dict[str, None]] = {}
    for estimate in estimates.estimates:
        if estimate.band is None:
            short = estimate.title.partition(":")[0]
            unknown.setdefault(estimate.reason or "", {})[short] = None
    if not known:
        return note(f"Nothing can be estimated: {next(iter(unknown))}.")
    for reason, titles in unknown.items():
        parts.append(indented(f"? {', '.join(titles)}: {reason}", DIM, by=2))
    parts.append(note("from this run's own times; --explain lists what each assumes"))
    return Group(*parts)

"""What could be done about what was seen in this run, and the models that were asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.advice.models import ModelUse
from ...analysis.study import Study
from ..units import count, duration, share
from ..words import NOTHING_TO_DO, what_it_saves, what_to_do
from .examples import worst
from .style import DIM, GAP, fitting, indented, no_room_for, note, plain_table

_SHOWN: Final = 6
_SHOWN_EXAMPLES: Final = 2
_COLUMNS: Final = (
    "model", "calls", "failed", "from cache", "time", "share", "first token", "tokens/s", "in",
    "cached", "out", "reasoning", "cost",
)  # fmt: skip
_LEFT_OUT_FIRST: Final = (
    "reasoning",
    "cached",
    "share",
    "from cache",
    "failed",
    "cost",
    "in",
    "first token",
)


def advice(study: Study, jaeger_url: str | None) -> RenderableType:
    """Say what could be done, what saves most first."""
    parts: list[RenderableType] = []
    for one in study.advice[:_SHOWN]:
        parts.append(indented(Text.assemble("→ ", (what_to_do(one), "bold")), by=2))
        parts.append(indented(what_it_saves(one, study), DIM))
        parts += [worst(e, jaeger_url) for e in one.examples[:_SHOWN_EXAMPLES]]
    if (more := len(study.advice) - _SHOWN) > 0:
        parts.append(note(f"… and {more} more, which save less: --format json lists them"))
    if not parts:
        parts.append(note(f"{NOTHING_TO_DO}; --explain lists what counts"))
    return Group(*parts)


def models(used: Sequence[ModelUse], width: int) -> RenderableType:
    """List the models by the time they took, without columns that are empty or do not fit."""
    speeds = {m.is_of_whole_calls for m in used if m.tokens_per_s is not None}
    names = [m.model for m in used]
    rows = [_cells(m, mark="~" if m.is_of_whole_calls and len(speeds) > 1 else "") for m in used]
    for row, model in zip(rows, used, strict=True):
        is_ambiguous = names.count(model.model) > 1 and model.provider
        row["model"] = f"{model.model} ({model.provider})" if is_ambiguous else model.model
    wide = {name: max(len(row[name]) for row in rows) for name in _COLUMNS}
    filled = {name: wide[name] for name in _COLUMNS if wide[name]}
    shown = fitting(filled, width - GAP, _LEFT_OUT_FIRST)
    table = plain_table("", *shown, numbers=len(shown) - 1)
    for row in rows:
        table.add_row("", *(row[name] for name in shown))
    notes = []
    if "first token" in shown:
        notes.append("first token: the median of streamed calls")
    if speeds == {True}:
        why = "it is not known when the first token came"
        if any(m.first_token_ns is not None for m in used):
            why = "none that came in chunks tells its tokens"
        notes.append(f"tokens/s: of whole calls, because {why}")
    elif speeds:
        whole = "; ~ of whole calls, which were not streamed" if len(speeds) > 1 else ""
        notes.append(f"tokens/s: from the first token on{whole}")
    return Group(table, *map(note, notes), *no_room_for(filled, shown))


def _cells(model: ModelUse, *, mark: str) -> dict[str, str]:
    first, speed, cost = model.first_token_ns, model.tokens_per_s, model.cost
    counts = {
        "failed": model.failed,
        "from cache": model.from_cache,
        "in": model.input_tokens,
        "cached": model.cached_tokens,
        "out": model.output_tokens,
        "reasoning": model.reasoning_tokens,
    }
    return {
        "calls": count(model.calls),
        "time": duration(model.took_ns),
        "share": share(model.share) if model.share < 1 else "",
        "first token": "" if first is None else duration(first),
        "tokens/s": "" if speed is None else f"{mark}{speed:.0f}",
        "cost": "" if cost is None else f"{cost:.2f}" if cost >= 1 else f"{cost:.4f}",
        **{name: count(number) if number else "" for name, number in counts.items()},
    }

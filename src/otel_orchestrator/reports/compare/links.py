"""Links into Jaeger: the pair side by side, and the worst examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ... import semconv
from ...analysis.comparing.amounts import Example
from ...analysis.comparing.comparison import Comparison, Row
from ...analysis.comparing.digest import Digest
from ..units import duration
from .words import row_name

_EXAMPLES_AT_MOST: Final = 3
_ID: Final = re.compile("[0-9a-fA-F]+")
"""Files say what they like: whatever else they call an id leads nowhere, or elsewhere."""


@dataclass(frozen=True, slots=True)
class Link:
    """What there is to see, and where."""

    text: str
    url: str


def links(comparison: Comparison, jaeger_url: str) -> tuple[Link, ...]:
    """Return where to look: the two typical runs compared, then the worst spans that changed."""
    examples = tuple(_example(row, worst, jaeger_url) for row, worst in _changed(comparison))
    base, candidate = _typical(comparison.base), _typical(comparison.candidate)
    if not _are_ids(base.trace_id, candidate.trace_id):
        return examples
    pair = Link(
        "the two runs of median length, their structure compared",
        f"{jaeger_url}/trace/{base.trace_id}...{candidate.trace_id}",
    )
    return pair, *examples


def _are_ids(*texts: str) -> bool:
    return all(map(_ID.fullmatch, texts))


def _typical(digests: Sequence[Digest]) -> Digest:
    ordered = sorted(digests, key=lambda d: (d.wall_us, d.run_id))
    return ordered[len(ordered) // 2]


def _changed(comparison: Comparison) -> list[tuple[Row, Example]]:
    """Return the calls and waits that took longer; nodes only where no call did."""
    longer = [
        row
        for row in comparison.calls
        if row.total.difference > 0 and row.key[1] != semconv.FRAMEWORK
    ]
    calls = [row for row in longer if row.key[1] != semconv.COMPUTE]
    clear = [row for row in calls if row.is_lead]
    examples = ((row, row.worst) for row in clear or calls or longer if row.worst is not None)
    linked = [(row, worst) for row, worst in examples if _are_ids(worst.trace_id, worst.span_id)]
    return linked[:_EXAMPLES_AT_MOST]


def _example(row: Row, worst: Example, jaeger_url: str) -> Link:
    task = f" {worst.task_id}" if worst.task_id else ""
    return Link(
        f"the longest {row_name(row)}{task}, {duration(worst.us * 1e3)}",
        f"{jaeger_url}/trace/{worst.trace_id}?uiFind={worst.span_id}",
    )

"""Links into Jaeger: the pair side by side, and the worst examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ... import semconv
from ...analysis.clip import Key
from ...analysis.comparing.amounts import Example
from ...analysis.comparing.causes import Cause, causes_of
from ...analysis.comparing.comparison import Comparison, Row
from ...analysis.comparing.digest import Digest
from ..jaeger import pair_address, span_address
from ..units import duration
from .words import row_name

_EXAMPLES_AT_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Link:
    """What there is to see, and where."""

    text: str
    url: str


def links(comparison: Comparison, jaeger_url: str) -> tuple[Link, ...]:
    """Return where to look: the two typical runs compared, then the worst spans that changed."""
    examples = tuple(islice(_examples(comparison, jaeger_url), _EXAMPLES_AT_MOST))
    base, candidate = _typical(comparison.base), _typical(comparison.candidate)
    address = pair_address(jaeger_url, base.trace_id, candidate.trace_id)
    if address is None:
        return examples
    return Link("the two runs of median length, their structure compared", address), *examples


def _typical(digests: Sequence[Digest]) -> Digest:
    ordered = sorted(digests, key=lambda d: (d.wall_us, d.run_id))
    return ordered[len(ordered) // 2]


def _examples(comparison: Comparison, jaeger_url: str) -> Iterator[Link]:
    for row, worst in _changed(comparison):
        address = span_address(jaeger_url, worst.trace_id, worst.span_id)
        if address is not None:
            task = f" {worst.task_id}" if worst.task_id else ""
            told = f"the longest {row_name(row)}{task}, {duration(worst.us * 1e3)}"
            yield Link(told, address)


def _changed(comparison: Comparison) -> list[tuple[Row, Example]]:
    """Return what took longer: what a cause names, first of all the path where most of it is.

    Where no cause names any: calls and waits, and nodes only where no call did.
    """
    longer = [
        row
        for row in comparison.calls
        if row.total.difference > 0 and row.key[1] != semconv.FRAMEWORK
    ]
    causes = [cause for cause in causes_of(comparison) if cause.is_growth]
    keys = {key for cause in causes for key in _keys(cause)}
    paths = [cause.path for cause in causes]
    named = sorted((row for row in longer if row.key in keys), key=lambda row: row not in paths)
    calls = named or [row for row in longer if row.key[1] != semconv.COMPUTE]
    clear = [row for row in calls if row.is_lead]
    return [(row, row.worst) for row in clear or calls or longer if row.worst is not None]


def _keys(cause: Cause) -> Iterator[Key]:
    if cause.row is not None:
        yield cause.row.key
    yield from (part.key for part in cause.waits)

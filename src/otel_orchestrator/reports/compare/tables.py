"""The tables of a comparison as plain text, to be laid out as a terminal or Markdown wants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ...analysis.comparing.comparison import Comparison, Part, Row
from ...analysis.comparing.gate import Gate, Values
from ...analysis.comparing.measures import category_name, path_name
from ...analysis.comparing.structure import PathChange
from ..units import duration
from .words import MINUS, both, change_of, lead_note, number, row_name, span_of, told, verdict

_CLEAR: Final = "●"
_PATHS_AT_MOST: Final = 15
_PARTS_AT_MOST: Final = 8
_CHANGES_AT_MOST: Final = 12
_STATISTICS: Final = (
    "before and after are medians; change is the median of all pairwise differences"
    " (Hodges-Lehmann)"
)
_DIFFERENCE: Final = (
    "difference, too, is the median of all pairwise differences, not that of the medians"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: its heading.
        columns: names of the columns.
        align: a letter for each column: `w` for words, `n` for numbers.
        rows: as many cells each as there are columns.
        notes: how to read it.
    """

    title: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(comparison: Comparison, paths: int = _PATHS_AT_MOST) -> tuple[Table, ...]:
    """Return all that there is to show, the most important first, without what is empty.

    Args:
        comparison: what to show.
        paths: how many of them at most.
    """
    found = (
        _judged(comparison.gates),
        _parts(
            "Where the wall clock went",
            comparison.on_wall,
            "along the straggler of each superstep, or without supersteps along the critical path;"
            " in one run the parts add up to its wall clock",
        ),
        _parts(
            "Waiting, by category",
            comparison.waits,
            "all that waited, added up; dependency is the plan's own order and is not judged",
        ),
        _rows("Categories", comparison.categories, ()),
        _rows(
            "Paths",
            comparison.paths[:paths],
            (lead_note(comparison), *_more(paths, len(comparison.paths), "paths")),
        ),
        _structure(comparison),
    )
    return tuple(table for table in found if table.rows)


def _judged(gates: Sequence[Gate]) -> Table:
    rows = [
        (
            gate.measure.title,
            told(gate.values.base_median, gate.values),
            told(gate.values.candidate_median, gate.values),
            change_of(gate.values),
            span_of(gate.values),
            verdict(gate),
        )
        for gate in gates
    ]
    columns = ("", "before", "after", "change", "from … to", "answer")
    return Table("Judged", columns, "wnnnnw", tuple(rows), (_STATISTICS,))


def _parts(title: str, parts: Sequence[Part], note: str) -> Table:
    shown = [p for p in parts if p.base or p.candidate]
    rows = [
        (
            category_name(part.key),
            duration(part.base * 1e3),
            duration(part.candidate * 1e3),
            _signed(part.difference),
            _CLEAR if part.is_clear else "",
        )
        for part in shown[:_PARTS_AT_MOST]
    ]
    columns = ("", "before", "after", "difference", "")
    return Table(title, columns, "wnnnw", tuple(rows), (note, _DIFFERENCE))


def _signed(us: float) -> str:
    sign = "+" if us > 0 else MINUS if us < 0 else ""
    return f"{sign}{duration(abs(us) * 1e3)}"


def _rows(title: str, rows: Sequence[Row], notes: tuple[str, ...]) -> Table:
    columns = ("", "count", "total", "", "median", "p95", "of the wall", "waits")
    return Table(title, columns, "wnnwnnnn", tuple(_cells(row) for row in rows), notes)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row_name(row),
        _counts(row.count),
        change_of(row.total),
        _CLEAR if row.is_lead else "",
        both(row.median),
        both(row.p95),
        _shares(row.wall_share),
        _shares(row.waiting_share),
    )


def _counts(values: Values) -> str:
    before, after = told(values.base_median, values), told(values.candidate_median, values)
    return before if before == after else f"{before} → {after}"


def _shares(shares: tuple[float, float]) -> str:
    before, after = (f"{fraction * 100:.0f}" for fraction in shares)
    return f"{before} %" if before == after else f"{before} → {after} %"


def _structure(comparison: Comparison) -> Table:
    told_of = comparison.structure
    kinds = (
        ("new", told_of.new),
        ("gone", told_of.gone),
        ("more often", told_of.more),
        ("less often", told_of.fewer),
    )
    changes = [(kind, change) for kind, changes in kinds for change in changes]
    rows = [_structure_row(kind, change) for kind, change in changes[:_CHANGES_AT_MOST]]
    notes = _more(_CHANGES_AT_MOST, len(changes), "changes")
    return Table("Structure", ("", "path", "in a run"), "wwn", tuple(rows), tuple(notes))


def _structure_row(kind: str, change: PathChange) -> tuple[str, str, str]:
    below = f" and {change.below} below" if change.below else ""
    often = f"{number(change.base)} → {number(change.candidate)}"
    return kind, path_name(change.path) + below, often


def _more(shown: int, there: int, what: str) -> Iterable[str]:
    return (f"… and {there - shown} more, of {there} {what}",) if there > shown else ()

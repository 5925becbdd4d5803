"""The comparison for people on a terminal: words first, then tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...analysis.comparing.causes import causes_of
from ...analysis.comparing.comparison import Comparison
from ...analysis.comparing.gate import NO_REGRESSION, REGRESSION
from ..text.style import DIM, console_of, note, plain_table, section, without_blank_ends
from .links import links
from .tables import Table, tables
from .words import answer, because, sureness, title, why

_NAME: Final = 20
_WORDS: Final = 14
"""Columns that names, and other words, need at least to be read where they are wrapped."""
_STYLES = {REGRESSION: "bold dark_orange", NO_REGRESSION: "green"}


def render(comparison: Comparison, *, width: int, colour: bool, jaeger_url: str) -> str:
    """Return the comparison as text.

    Args:
        comparison: what to say.
        width: columns of the terminal.
        colour: use ANSI colours.
        jaeger_url: where links to traces lead.
    """
    console = console_of(max(width, 60), colour=colour)
    with console.capture() as captured:
        console.print(Group(*_parts(comparison, jaeger_url, console.width)))
    return without_blank_ends(captured.get())


def _parts(comparison: Comparison, jaeger_url: str, width: int) -> Iterator[RenderableType]:
    yield Text(title(comparison), DIM)
    yield Text(answer(comparison), _STYLES.get(comparison.standing, "bold"))
    causes = causes_of(comparison)
    if causes:
        yield section(why(comparison))
        yield from (_item(because(cause)) for cause in causes)
    yield section("How sure")
    yield from (_item(line) for line in sureness(comparison))
    for table in (_fitting(each, width) for each in tables(comparison)):
        yield section(table.title)
        yield _laid_out(table)
        yield from (note(line) for line in table.notes)
    where = links(comparison, jaeger_url)
    if where:
        yield section("In Jaeger, if the runs were sent there")
    for link in where:
        yield _item(link.text)
        yield Padding(Text(link.url, f"{DIM} link {link.url}"), (0, 0, 0, 4))


def _item(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2))


def _fitting(table: Table, width: int) -> Table:
    """Leave out columns of numbers, the last first, until none has to be cut: a number that is cut
    is another number."""
    kept = list(range(len(table.columns)))
    gone: list[str] = []
    while sum(_room(table, n) + 1 for n in kept) > width + 1:
        numbers = [n for n in kept[1:] if table.align[n] == "n"]
        if len(numbers) < 2:
            break
        kept.remove(numbers[-1])
        gone.insert(0, table.columns[numbers[-1]])
    if not gone:
        return table
    return Table(
        table.title,
        tuple(table.columns[n] for n in kept),
        "".join(table.align[n] for n in kept),
        tuple(tuple(row[n] for n in kept) for row in table.rows),
        (*table.notes, f"no room for: {', '.join(gone)}. A wider terminal shows it"),
    )


def _room(table: Table, column: int) -> int:
    """Return how wide a column has to be, at least: words may be wrapped, numbers may not."""
    longest = max(map(len, [table.columns[column], *(row[column] for row in table.rows)]))
    if column == 0:
        return min(_NAME, longest + 2)
    return longest if table.align[column] == "n" else min(_WORDS, longest)


def _laid_out(table: Table) -> RenderableType:
    laid_out = plain_table(*table.columns)
    laid_out.padding = (0, 1, 0, 0)
    for column, letter in zip(laid_out.columns, table.align, strict=True):
        is_number = letter == "n"
        column.justify = "right" if is_number else "left"
        column.no_wrap = is_number
    # Names of categories and metrics are short, those of paths may be long.
    laid_out.columns[0].min_width = _room(table, 0)
    for row in table.rows:
        laid_out.add_row(_item(row[0]), *row[1:])
    return laid_out

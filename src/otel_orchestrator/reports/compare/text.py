"""The comparison for people on a terminal: words first, then tables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...analysis.comparing.causes import causes_of
from ...analysis.comparing.comparison import Comparison
from ...analysis.comparing.gate import NO_REGRESSION, REGRESSION
from ..text.style import DIM, note, plain_table, section
from .links import links
from .tables import Table, tables
from .words import answer, because, sureness, title

_STYLES = {REGRESSION: "bold dark_orange", NO_REGRESSION: "green"}


def render(comparison: Comparison, *, width: int, colour: bool, jaeger_url: str) -> str:
    """Return the comparison as text.

    Args:
        comparison: what to say.
        width: columns of the terminal.
        colour: use ANSI colours.
        jaeger_url: where links to traces lead.
    """
    console = Console(
        width=max(width, 60),
        force_terminal=colour,
        no_color=not colour,
        color_system="256" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,  # a name of a span may hold square brackets
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(Group(*_parts(comparison, jaeger_url)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _parts(comparison: Comparison, jaeger_url: str) -> Iterator[RenderableType]:
    yield Text(title(comparison), DIM)
    yield Text(answer(comparison), _STYLES.get(comparison.standing, "bold"))
    causes = causes_of(comparison)
    if causes:
        yield section("Why")
        yield from (_item(because(cause)) for cause in causes)
    yield section("How sure")
    yield from (_item(line) for line in sureness(comparison))
    for table in tables(comparison):
        yield section(table.title)
        yield _laid_out(table)
        yield from (note(line) for line in table.notes)
    yield section("In Jaeger, if the runs were sent there")
    for link in links(comparison, jaeger_url):
        yield _item(link.text)
        yield Padding(Text(link.url, f"{DIM} link {link.url}"), (0, 0, 0, 4))


def _item(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2))


def _laid_out(table: Table) -> RenderableType:
    laid_out = plain_table(*table.columns)
    laid_out.padding = (0, 1, 0, 0)
    for column, letter in zip(laid_out.columns, table.align, strict=True):
        is_number = letter == "n"
        column.justify = "right" if is_number else "left"
        column.no_wrap = is_number
    # Names of categories and metrics are short, those of paths may be long.
    laid_out.columns[0].min_width = min(20, max(len(row[0]) for row in table.rows) + 2)
    for row in table.rows:
        laid_out.add_row(*(f"  {cell}" if n == 0 else cell for n, cell in enumerate(row)))
    return laid_out

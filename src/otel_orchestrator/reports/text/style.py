"""How things look in the text report: colours, marks, sections, and strips over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# Blue works, orange waits, grey holds them together: told apart by the colour-blind, and by their
# characters where there is no colour.
STYLES: Final = {"working": "blue", "waiting": "dark_orange", "container": "bright_black"}
MARKS: Final = {"working": "█", "waiting": "░", "container": "─"}
BAD: Final = {"error": "bold red", "open": "bold red", "interrupted": "magenta"}
DIM: Final = "bright_black"
_HEIGHTS: Final = " ▁▂▃▄▅▆▇█"

GAP: Final = 2
"""Between two columns of a table."""

NOISE_NS: Final = 1_000_000
"""Waits shorter than that have no line of their own; `wait_threshold_s` may give them a span."""

Stretch = tuple[int, int, str]
"""From, to, and the key of `STRETCHES` to draw it by."""

# What is drawn later covers what stands in the same column: work is seen however short it is.
STRETCHES: Final = {
    "idle": (" ", DIM),
    "dependency": ("·", DIM),
    "cycle": ("▒", STYLES["waiting"]),
    "waiting": ("░", STYLES["waiting"]),
    "working": ("█", STYLES["working"]),
}
_ORDER: Final = tuple(STRETCHES)
_RANKS: Final = {kind: rank for rank, kind in enumerate(_ORDER)}


def console_of(width: int, *, colour: bool) -> Console:
    """Return a console of so many columns, whatever the text is written to."""
    return Console(
        width=width,
        force_terminal=colour,
        no_color=not colour,
        color_system="256" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,  # the id of a task, or the name of a span, may hold square brackets
        legacy_windows=False,
    )


def without_blank_ends(text: str) -> str:
    """Return text without the blanks that fill up its lines."""
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def section(title: str) -> Padding:
    """Return a heading with a line of air above."""
    return Padding(Text(title, "bold"), (1, 0, 0, 0))


def note(text: str) -> Padding:
    """Return a remark in a quiet colour."""
    return indented(text, DIM, by=2)


def indented(text: str | Text, style: str = "", *, by: int = 4) -> Padding:
    """Return text all lines of which stand in from the left, however it is wrapped."""
    return Padding(Text(text, style) if isinstance(text, str) else text, (0, 0, 0, by))


def plain_table(*columns: str, numbers: int = 0) -> Table:
    """Return a table without lines, the last `numbers` columns of which are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 1), header_style=DIM)
    for position, name in enumerate(columns):
        is_number = position >= len(columns) - numbers
        table.add_column(
            name,
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="ellipsis" if is_number else "fold",
        )
    return table


def fitting(cells: Mapping[str, int], width: int, least_first: Iterable[str]) -> list[str]:
    """Return the columns that there is room for, without the least of them: a number that is cut is
    another number.

    Args:
        cells: how wide the cells of each column are.
        width: for all of them.
        least_first: what may be left out.
    """
    shown = list(cells)
    for name in least_first:
        if sum(max(len(n), cells[n]) + GAP for n in shown) - GAP <= width:
            break
        if name in shown:
            shown.remove(name)
    return shown


def no_room_for(names: Iterable[str], shown: Sequence[str]) -> list[RenderableType]:
    """Say which columns are left out, if any."""
    gone = [name for name in names if name not in shown]
    return [note(f"no room for: {', '.join(gone)}. A wider terminal shows it")] if gone else []


def strip(stretches: Iterable[Stretch], start_ns: int, end_ns: int, columns: int) -> Text:
    """Draw stretches of time over an interval, one character a column."""
    length = max(1, end_ns - start_ns)
    ranks = [-1] * columns
    for since, until, kind in stretches:
        if until <= since:
            continue
        first = min(max(0, (since - start_ns) * columns // length), columns - 1)
        last = min(columns, -((start_ns - until) * columns // length))
        rank = _RANKS[kind]
        ranks[first] = max(ranks[first], rank)
        for column in range(first + 1, last):
            ranks[column] = max(ranks[column], rank)
    text = Text()
    for rank in ranks:
        mark, style = STRETCHES[_ORDER[rank]] if rank >= 0 else (" ", DIM)
        text.append(mark, style)
    return text


def heights(values: Sequence[int]) -> str:
    """Draw numbers over time, one character each: whatever there is is seen, however little."""
    highest = max(values, default=0)
    return "".join(_HEIGHTS[max(1, round(8 * v / highest)) if v > 0 else 0] for v in values)

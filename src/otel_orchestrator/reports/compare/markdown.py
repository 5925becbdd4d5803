"""The comparison as Markdown, for a pull request: the answer first, tables to unfold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...analysis.comparing.causes import causes_of
from ...analysis.comparing.comparison import Comparison
from .links import links
from .tables import Table, tables
from .words import answer, because, sureness, title, why


def render(comparison: Comparison, jaeger_url: str) -> str:
    """Return the comparison as GitHub's Markdown."""
    return "\n".join(_lines(comparison, jaeger_url)) + "\n"


def _lines(comparison: Comparison, jaeger_url: str) -> Iterator[str]:
    judged, *others = tables(comparison)
    yield f"### {_plain(answer(comparison))}"
    yield ""
    yield _plain(title(comparison))
    yield ""
    yield from _table(judged)
    causes = causes_of(comparison)
    if causes:
        yield f"**{why(comparison)}**"
        yield ""
        yield from (f"1. {_plain(because(cause))}" for cause in causes)
        yield ""
    yield "**How sure**"
    yield ""
    yield from (f"- {_plain(line)}" for line in sureness(comparison))
    yield ""
    for table in others:
        yield f"<details><summary>{table.title}</summary>"
        yield ""
        yield from _table(table)
        yield "</details>"
        yield ""
    where = links(comparison, jaeger_url)
    if where:
        yield "In Jaeger, if the runs were sent there:"
        yield ""
        yield from (f"- [{_plain(link.text)}](<{link.url}>)" for link in where)


def _table(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row("--:" if letter == "n" else "---" for letter in table.align)
    yield from (_row(_plain(cell) for cell in row) for row in table.rows)
    yield ""
    for note in table.notes:
        yield f"{_plain(note)}"
        yield ""


def _row(cells: Iterator[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Return text in which nothing is Markdown or HTML: names of spans may be anything."""
    return re.sub(r"([\\`*_{}\[\]<>#|~@])", r"\\\1", " ".join(text.split()))

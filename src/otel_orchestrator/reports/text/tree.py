"""The run, span by span: a tree with bars over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...analysis.study import Study
from ...analysis.tree import Forest
from ...model import Run, Span
from ...semconv import Attr
from ..units import count, duration
from .style import BAD, DIM, MARKS, STYLES, note

_SHOWN_SIBLINGS: Final = 6
_SHOWN_LINES: Final = 1_000
_WIDEST_INDENT: Final = 600  # no terminal is wider; files may be deeper


@dataclass(frozen=True, slots=True)
class Folded:
    """Siblings of one name that are told in one line."""

    name: str
    count: int
    total_ns: int


def tree(study: Study, width: int, everything: bool) -> RenderableType:
    """Draw the spans of a run; unless told otherwise, of many that look alike the first few, and of
    very many the first."""
    run, forest, there_are = study.run, study.forest, study.summary.spans
    bar = max(12, min(48, width // 3))
    # The gaps are columns: before 14.3, rich makes room for padding at the edge that it leaves out.
    table = Table.grid(expand=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(width=1)
    table.add_column(justify="right", no_wrap=True, width=8)
    table.add_column(width=1)
    table.add_column(no_wrap=True, width=bar)
    most = None if everything else _SHOWN_LINES
    spans = 0
    for item, prefix in islice(_lines(run, forest, everything), most):
        spans += item.count if isinstance(item, Folded) else 1
        if isinstance(item, Folded):
            text = f"{prefix}… {count(item.count)} more {item.name}"
            table.add_row(Text(text, DIM), "", duration(item.total_ns), "", "")
        else:
            took = duration(run.duration_of(item))
            table.add_row(_label(item, prefix), "", took, "", _bar(run, item, bar))
    is_cut = len(table.rows) == most or len(run.spans) < there_are
    if not is_cut or spans == there_are:
        return table
    return Group(table, note(f"… and {count(there_are - spans)} more spans: --all shows them"))


def _lines(run: Run, forest: Forest, everything: bool) -> Iterable[tuple[Span | Folded, str]]:
    stack: list[tuple[Span | Folded, str, str]] = [
        (item, "", "") for item in reversed(_fold(run, forest.roots, everything))
    ]
    while stack:
        item, prefix, indent = stack.pop()
        yield item, prefix
        if isinstance(item, Folded):
            continue
        children = _fold(run, forest.children(item), everything)
        for i in range(len(children) - 1, -1, -1):
            last = i == len(children) - 1
            branch = indent + ("└─ " if last else "├─ ")
            below = indent + ("   " if last else "│  ")
            stack.append((children[i], branch, below if len(below) < _WIDEST_INDENT else indent))


def _fold(run: Run, spans: Sequence[Span], everything: bool) -> list[Span | Folded]:
    """Show the first few siblings of each name, and every one that did not end well."""
    shown: list[Span | Folded] = []
    seen: dict[str, int] = {}
    folded: dict[str, list[Span]] = {}
    for span in spans:
        seen[span.name] = seen.get(span.name, 0) + 1
        plain = span.outcome == "ok" and span.operation not in ("loop", "superstep", "task")
        if plain and not everything and seen[span.name] > _SHOWN_SIBLINGS:
            folded.setdefault(span.name, []).append(span)
        else:
            shown.append(span)
    for name, hidden in folded.items():
        shown.append(Folded(name, len(hidden), sum(run.duration_of(s) for s in hidden)))
    return shown


_DETAILS: Final = (Attr.LOOP_INDEX, Attr.SUPERSTEP_INDEX, Attr.TASK_ID, Attr.NODE_ATTEMPT)


def _label(span: Span, prefix: str) -> Text:
    style = STYLES.get(span.state or "", "")
    text = Text.assemble((prefix, DIM), (span.name, style))
    for key in _DETAILS:
        value = span.text(key)
        if value is not None and not (key == Attr.TASK_ID and span.operation == "node"):
            text.append(f" {value}", DIM)
    if span.outcome != "ok":
        text.append(f" {span.outcome}", BAD.get(span.outcome, "yellow"))
        if (error := span.text(Attr.ERROR_TYPE)) is not None:
            text.append(f" {error}", "red")
    return text


def _bar(run: Run, span: Span, columns: int) -> Text:
    wall = max(1, run.end_ns - run.start_ns)
    start = (span.start_ns - run.start_ns) * columns // wall
    end = -((run.start_ns - run.end_of(span)) * columns // wall)
    length = max(1, min(columns, end) - start)
    state = span.state or "container"
    bar = " " * min(start, columns - 1) + MARKS.get(state, "─") * length
    return Text(bar[:columns], STYLES.get(state, ""))

"""A run in progress, drawn for a terminal of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis.live import Doing, Now
from ..analysis.queue import QueuePoint
from .text.style import BAD, DIM, MARKS, STYLES, heights
from .units import count, duration, plural

_ROWS_BESIDES: Final = 9
_BAR_WIDTH: Final = 24


def draw(now: Now, run_id: str, note: str, *, width: int, height: int) -> RenderableType:
    """Return what a terminal shows of a run.

    Args:
        now: what goes on.
        run_id: the run's id.
        note: a last line, in a quiet colour.
        width, height: of the terminal.
    """
    rows = max(1, height - _ROWS_BESIDES)
    parts: list[RenderableType] = [_head(now, run_id), Text()]
    parts.append(_table(now, rows, width))
    if len(now.doing) > rows:
        parts.append(Text(f"  ... and {len(now.doing) - rows} more", DIM))
    parts.append(Text())
    if now.queue:
        parts.append(_queue(now, width))
    parts.append(_rates(now))
    parts.append(Text(note, DIM))
    return Group(*parts)


def _head(now: Now, run_id: str) -> Text:
    if not now.started_ns:
        return Text(f"{run_id}: no run has started yet", "bold")
    head = Text.assemble(
        (now.name, "bold"), f"  {run_id}  ", duration(_until(now) - now.started_ns)
    )
    if now.outcome is not None:
        head.append(f"  {now.outcome}", BAD.get(now.outcome, "bold"))
    elif now.loop is not None:
        head.append(f"  loop {now.loop}")
    if now.outcome is None and now.superstep is not None:
        head.append(f"  superstep {now.superstep}")
    if now.errors:
        head.append(f"  {plural(now.errors, 'error')}", BAD["error"])
    return head


def _until(now: Now) -> int:
    return now.at_ns if now.ended_ns is None else now.ended_ns


def _table(now: Now, rows: int, width: int) -> RenderableType:
    if not now.doing:
        return Text("nothing runs" if now.started_ns else "", DIM)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0), expand=False)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, width // 4))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis")
    shown = now.doing[:rows]
    longest = max((now.at_ns - d.since_ns for d in shown), default=1)
    for doing in shown:
        for_ns = max(0, now.at_ns - doing.since_ns)
        style = STYLES[doing.state]
        table.add_row(
            Text(doing.who),
            Text(_bar(for_ns, longest, MARKS[doing.state], width), style),
            Text(duration(for_ns)),
            Text(_told(doing), style),
        )
    return table


def _bar(for_ns: int, longest: int, mark: str, width: int) -> str:
    room = min(_BAR_WIDTH, width // 5)
    return (mark * max(1, round(room * for_ns / max(1, longest)))).ljust(room)


def _told(doing: Doing) -> str:
    if not doing.on:
        return doing.what
    who = ", ".join(doing.on[:3]) + (" ..." if len(doing.on) > 3 else "")
    return f"{doing.what} on {who}"


def _queue(now: Now, width: int) -> Text:
    last = now.queue[-1]
    text = Text.assemble("tasks   ", (f"{last.active} active", STYLES["working"]))
    text.append(f"  {last.ready} ready  {last.waiting} waiting  ", STYLES["waiting"])
    strip = _strip(now.queue, now.started_ns, _until(now), max(8, min(40, width - 45)))
    return text.append(strip, DIM)


def _strip(queue: Sequence[QueuePoint], start_ns: int, end_ns: int, columns: int) -> str:
    """Return how many tasks were ready or waiting, over the run so far."""
    span = max(1, end_ns - start_ns)
    values, at, position = [], 0, -1
    for column in range(columns):
        until = start_ns + span * (column + 1) // columns
        while position + 1 < len(queue) and queue[position + 1].at_ns <= until:
            position += 1
            at = queue[position].ready + queue[position].waiting
        values.append(at)
    return heights(values)


def _rates(now: Now) -> Text:
    said = [f"{now.llm_in_flight} in flight", f"{count(now.llm_last_minute)} in the last minute"]
    if now.llm_median_ns is not None:
        said.append(f"median {duration(now.llm_median_ns)}")
    if now.tokens_last_minute:
        said.append(f"{count(now.tokens_last_minute)} tokens in it")
    text = Text.assemble("LLM     ", (", ".join(said), STYLES["working"]))
    return text.append(f"\ngit     {count(now.git_last_minute)} in the last minute")

"""The queue of the application's tasks over time."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.queue import QueuePoint
from ...analysis.summary import Summary
from ..units import duration
from .style import DIM, STYLES, heights


def queue(summary: Summary, width: int) -> RenderableType:
    """Draw how many tasks were active, ready and waiting."""
    columns = max(20, min(100, width - 30))
    lines: list[Text] = []
    for state in ("active", "ready", "waiting"):
        cells = _peaks(summary, state, columns)
        style = STYLES["working"] if state == "active" else STYLES["waiting"]
        strip, most = (heights(cells), style), f" at most {max(cells)}"
        lines.append(Text.assemble(f"  {state:<8}", strip, ("│", DIM), most))
    if summary.oldest_age_s:
        oldest = duration(summary.oldest_age_s * 1e9)
        lines.append(Text(f"  longest time that a task waited or was ready: {oldest}"))
    return Group(*lines)


def _peaks(summary: Summary, state: str, columns: int) -> list[int]:
    """Return the largest depth in each column of the run's time."""
    cells = [0] * columns
    wall = max(1, summary.wall_ns)

    def column(at_ns: int) -> int:
        return min(columns - 1, max(0, (at_ns - summary.start_ns) * columns // wall))

    points: list[QueuePoint] = [*summary.queue]
    for here, there in zip(points, [*points[1:], None], strict=True):
        last = columns - 1 if there is None else column(there.at_ns)
        for cell in range(column(here.at_ns), last + 1):
            cells[cell] = max(cells[cell], getattr(here, state))
    return cells

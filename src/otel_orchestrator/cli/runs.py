"""`otel-orchestrator runs`: list the runs in a folder."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import click

from ..analysis.summary import Summary, summarize
from ..errors import NoRunsError, RunFileError
from ..reports.units import duration
from ..run_folder import folder_from_environment
from ..sources.found import read, source_of
from ..sources.runfiles import RunFile, list_runs
from .naming import dir_option
from .terminal import is_coloured


@click.command()
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text")
@dir_option
@click.option("--last", type=click.IntRange(min=1), default=20, help="How many, newest first.")
def command(shape: str, folder: Path | None, last: int) -> None:
    """List the runs in this folder, newest first."""
    where = folder or folder_from_environment()
    rows = list(islice(chain.from_iterable(map(_rows, list_runs(where))), last))
    if not rows:
        raise NoRunsError(f"there are no runs in {where}, only metrics that are still to be sent")
    if shape == "json":
        print(json.dumps({"format": 1, "runs": rows}, indent=2, sort_keys=True))
    else:
        _print_table(rows)


def _rows(file: RunFile) -> list[dict[str, Any]]:
    try:
        runs = read(source_of(file))
    except NoRunsError:  # such as what a Collector wrote of metrics
        return []
    except RunFileError as error:
        return [{"id": file.id, "problem": str(error)}]
    if not any(run.spans for run in runs):
        # Only metrics that are still to be sent; or the queue of a run that no sampler took.
        return [{"id": file.id, "problem": "it holds no spans"}] if file.is_of_a_run else []
    if len(runs) == 1:
        return [{"id": file.id, **_facts(summarize(runs[0]))}]
    return [{"id": f"{file.path}#{run.id}", **_facts(summarize(run))} for run in reversed(runs)]


def _facts(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "label": summary.label,
        "outcome": summary.outcome,
        "started": datetime.fromtimestamp(summary.start_ns / 1e9, UTC).isoformat(
            timespec="seconds"
        ),
        "wall_s": round(summary.wall_ns / 1e9, 6),
        "tasks": summary.tasks,
        "spans": summary.spans,
    }


# What stands in the table, in this order; where there is no room for all, the least of them go.
_COLUMNS: Final = ("run", "what", "label", "outcome", "started", "wall", "tasks", "spans")
_LEAST_FIRST: Final = ("spans", "what", "tasks", "started", "label")
_NUMBERS: Final = ("wall", "tasks", "spans")
_PIPED_WIDTH: Final = 140
_GAP: Final = 2


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    console = Console(
        no_color=not is_coloured(), highlight=False, markup=False, emoji=False, width=width
    )
    told = [_told(row) for row in rows]
    shown = _fitting(told, console.width)
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    for name in shown:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    # Half an id names no run: a long one goes on in the next line.
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for row in told:
        table.add_row(*(row[name] for name in shown))
    console.print(table)


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """Return the columns that there is room for."""
    shown = list(_COLUMNS)
    room = {name: max([len(name), *(len(row[name]) for row in rows)]) + _GAP for name in shown}
    for name in _LEAST_FIRST:
        if sum(room[kept] for kept in shown) - _GAP <= width:
            break
        shown.remove(name)
    return shown


def _told(row: dict[str, Any]) -> dict[str, str]:
    if "problem" in row:
        return {**dict.fromkeys(_COLUMNS, ""), "run": row["id"], "outcome": "cannot be read"}
    return {
        "run": row["id"],
        "what": row["name"],
        "label": row["label"] or "",
        "outcome": row["outcome"],
        "started": row["started"].replace("T", " ").removesuffix("+00:00"),
        "wall": duration(row["wall_s"] * 1e9),
        "tasks": str(row["tasks"]),
        "spans": str(row["spans"]),
    }

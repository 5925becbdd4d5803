"""`otel-orchestrator runs`: list the runs on this machine."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ..analysis.summary import Summary, summarize
from ..errors import RunFileError
from ..reports.units import duration
from ..run_folder import folder_from_environment
from ..sources.found import read
from ..sources.runfiles import RunFile, list_runs


@click.command()
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the run files are.")
@click.option("--last", type=click.IntRange(min=1), default=20, help="How many, newest first.")
def command(shape: str, folder: Path | None, last: int) -> None:
    """List the runs on this machine, newest first."""
    files = list_runs(folder or folder_from_environment())[:last]
    rows = [row for file in files for row in _rows(file)][:last]
    if shape == "json":
        print(json.dumps({"format": 1, "runs": rows}, indent=2, sort_keys=True))
    else:
        _print_table(rows)


def _rows(file: RunFile) -> list[dict[str, Any]]:
    try:
        runs = read(file)
    except RunFileError as error:
        return [{"id": file.id, "problem": str(error)}]
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


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("run", no_wrap=True)
    for name in ("what", "label", "outcome", "started"):
        table.add_column(name)
    for name in ("wall", "tasks", "spans"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if "problem" in row:
            table.add_row(row["id"], "cannot be read", "", "", "", "", "", "")
            continue
        table.add_row(
            row["id"],
            row["name"],
            row["label"] or "",
            row["outcome"],
            row["started"].replace("T", " ").removesuffix("+00:00"),
            duration(row["wall_s"] * 1e9),
            str(row["tasks"]),
            str(row["spans"]),
        )
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = None if sys.stdout.isatty() else 140
    console = Console(no_color=not colour, highlight=False, markup=False, emoji=False, width=width)
    console.print(table)

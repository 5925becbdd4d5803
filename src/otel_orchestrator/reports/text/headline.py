"""The first lines: what ran, how it ended, how long it took; and the last: what to type next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...analysis.summary import Summary
from ...urls import JAEGER_URL
from ..units import count, duration, plural
from .style import BAD, DIM

_STORE: Final = "docker compose up -d && export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317"
_THEN: Final = f"a Collector and Jaeger: run again, and look at {JAEGER_URL}"
_BESIDE: Final = 14
"""Columns that what a command is for needs beside it, at least."""


def headline(summary: Summary) -> RenderableType:
    """Say what ran."""
    title = Text.assemble(
        (summary.name, "bold"), ("  "), (summary.outcome, BAD.get(summary.outcome, "green"))
    )
    facts = [f"{duration(summary.wall_ns)} wall clock"]
    facts += [plural(summary.loops, "loop"), plural(summary.supersteps, "superstep")]
    facts += [plural(summary.tasks, "task"), plural(summary.llm_calls, "LLM call")]
    facts += [plural(summary.spans, "span"), plural(summary.errors, "error")]
    tokens = ""
    if summary.input_tokens or summary.output_tokens:
        tokens = f"{count(summary.input_tokens)} tokens in, {count(summary.output_tokens)} out"
    started = datetime.fromtimestamp(summary.start_ns / 1e9, UTC)
    origin = [f"run {summary.run_id}", f"started {started:%Y-%m-%d %H:%M:%S} UTC"]
    origin += [f"service {summary.service}"] if summary.service else []
    origin += [f"label {summary.label}"] if summary.label else []
    lines = [title, Text(" · ".join(facts))]
    lines += [Text(tokens)] if tokens else []
    return Group(*lines, Text(" · ".join(origin), DIM))


def next_steps(run: str, options: str, width: int) -> RenderableType:
    """Say what to type next.

    Args:
        run: how the command line names the run.
        options: what it needs to list the runs beside it.
        width: columns; a command that is longer is left whole, so that it can be copied.
    """
    report = f"otel-orchestrator report {run}"
    rows = (
        (f"{report} --html", "a page to look at"),
        (f"{report} --all", "every span"),
        (f"{report} --explain", "how each number is made"),
        (f"{report} --format json", "for programs"),
        (f"otel-orchestrator runs{options}", "all runs"),
    )
    if max(len(command) for command, _ in rows) + _BESIDE > width:
        lines = [f"  {command}   # {what}" for command, what in rows]
        return _whole(*lines, f"  {_STORE}   # {_THEN}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(style=DIM)
    for command, what in rows:
        table.add_row(f"  {command}", what)
    return Group(table, _whole(f"  {_STORE}", f"      {_THEN}"))


def _whole(*lines: str) -> RenderableType:
    return Group(*(Text(line, DIM, no_wrap=True, overflow="ignore") for line in lines))

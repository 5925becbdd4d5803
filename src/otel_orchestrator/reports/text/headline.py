"""The first lines: what ran, how it ended, how long it took; and the last: what to type next."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...analysis.summary import Summary
from ..units import count, duration, plural
from .style import BAD, DIM


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


def next_steps(summary: Summary) -> RenderableType:
    """Say what to type next."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(style=DIM)
    run = summary.run_id
    table.add_row(f"  otel-orchestrator report {run} --html", "a page to look at")
    table.add_row(f"  otel-orchestrator report {run} --all", "every span")
    table.add_row(f"  otel-orchestrator report {run} --explain", "how each number is made")
    table.add_row(f"  otel-orchestrator report {run} --format json", "for programs")
    table.add_row("  otel-orchestrator runs", "all runs")
    table.add_row("  docker compose up -d", "a Collector and Jaeger; then run again with")
    table.add_row("  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317", "http://localhost:16686")
    return table

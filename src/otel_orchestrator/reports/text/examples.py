"""A span that shows something at its worst, with where to look at it."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from ...analysis.examples import Example
from ..words import took
from .style import DIM, indented


def worst(example: Example, jaeger_url: str | None) -> RenderableType:
    """Point to a span, with a link to its trace if that is in a Jaeger."""
    what = f"{example.span_name} {example.task_id or ''}".rstrip()
    text = Text.assemble("worst: ", (what, "bold"), f" {took(example)}")
    if jaeger_url is None:
        return indented(text)
    link = f"{jaeger_url}/trace/{example.trace_id}?uiFind={example.span_id}"
    text.append(f"  {link}", Text(link).style or DIM)
    text.stylize(f"link {link}")
    return indented(text)

"""A span that shows something at its worst, with where to look at it."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from ...analysis.examples import Example
from ..jaeger import span_address
from ..words import took
from .style import DIM, indented


def worst(example: Example, jaeger_url: str | None) -> RenderableType:
    """Point to a span, with a link to its trace if that is in a Jaeger."""
    what = f"{example.span_name} {example.task_id or ''}".rstrip()
    text = Text.assemble("worst: ", (what, "bold"), f" {took(example)}")
    link = jaeger_url and span_address(jaeger_url, example.trace_id, example.span_id)
    if not link:
        return indented(text)
    text.append(f"  {link}", DIM)
    text.stylize(f"link {link}")
    return indented(text)

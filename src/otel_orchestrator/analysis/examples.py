"""Pointing to a span: what a finding or a piece of advice shows at its worst."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Span
from ..semconv import Attr


@dataclass(frozen=True, slots=True)
class Example:
    """A span that shows something at its worst.

    Attributes:
        duration_ns: of the span.
        note: what is to be said of it.
        about_ns: the time that the note is about, if it is about one.
    """

    span_name: str
    task_id: str | None
    trace_id: str
    span_id: str
    duration_ns: int
    note: str = ""
    about_ns: int | None = None


def example(
    span: Span, task_id: str | None, duration_ns: int, note: str = "", about_ns: int | None = None
) -> Example:
    """Point to a span."""
    task_id = span.text(Attr.TASK_ID) or task_id
    return Example(span.name, task_id, span.trace_id, span.span_id, duration_ns, note, about_ns)

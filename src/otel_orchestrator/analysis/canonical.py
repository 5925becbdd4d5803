"""A run in the units that every store keeps: whole microseconds.

A run file has nanoseconds; Jaeger keeps a start and a duration, and cuts each off. Whoever
compares runs does the same first and calculates then, so that it makes no difference where a run
was read from.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from operator import attrgetter
from typing import Final

from msgspec.structs import force_setattr

from ..model import Run, Span

UNIT_NS: Final = 1_000


def in_microseconds(run: Run) -> Run:
    """Return the run with the start and the duration of each span cut to whole microseconds."""
    spans = sorted((_cut(span) for span in run.spans), key=attrgetter("start_ns", "span_id"))
    return replace(run, spans=tuple(spans))


def _cut(span: Span) -> Span:
    cut = copy(span)  # all else stays the same, and so does what follows from it
    start_ns = _whole(span.start_ns)
    force_setattr(cut, "start_ns", start_ns)
    if span.end_ns is not None:
        force_setattr(cut, "end_ns", start_ns + _whole(span.end_ns - span.start_ns))
    return cut


def _whole(ns: int) -> int:
    return ns - ns % UNIT_NS

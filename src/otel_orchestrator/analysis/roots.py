"""What a run starts with: its outermost graph, which may be an agent, or `run()` by hand."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from .. import semconv
from ..model import Span
from .tree import Forest

GRAPHS: Final = (semconv.INVOKE_WORKFLOW, semconv.INVOKE_AGENT)
"""The operations of which the outermost is the run; it may well be below a span of the caller's,
which is in no run."""


def is_root(span: Span, ids: Container[str | None]) -> bool:
    """Whether a span is the run's own, of a run whose spans have these ids."""
    return span.operation in GRAPHS and span.parent_id not in ids


def root_of(forest: Forest) -> Span | None:
    """Return the run's span: of the outermost graphs the first workflow, else the first agent."""
    agent: Span | None = None
    above = -1  # how deep the agent is that everything deeper is part of
    for span, depth in forest.walk():
        if 0 <= above < depth:
            continue
        above = -1
        if span.operation == semconv.INVOKE_WORKFLOW:
            return span
        if span.operation == semconv.INVOKE_AGENT:
            agent, above = agent or span, depth
    return agent

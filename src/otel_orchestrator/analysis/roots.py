"""What a run starts with: its outermost graph, which may be an agent, or `run()` by hand."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from .. import semconv
from ..model import Span

GRAPHS: Final = (semconv.INVOKE_WORKFLOW, semconv.INVOKE_AGENT)
"""The operations of which the outermost is the run; it may well be below a span of the caller's,
which is in no run."""


def is_root(span: Span, ids: Container[str | None]) -> bool:
    """Whether a span is the run's own, of a run whose spans have these ids."""
    return span.operation in GRAPHS and span.parent_id not in ids

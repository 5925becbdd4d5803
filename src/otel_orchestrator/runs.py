"""Which run a context belongs to, and what this process is part of.

The process that opens a run has its id under a key of the context. It is in the baggage as well,
and so crosses with the trace to whatever other process takes the context on.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from .semconv import Attr

_RUN_KEY: Final = otel_context.create_key("otel-orchestrator-run")
_RUN_ID: Final = re.compile(r"[\w-]{1,100}")


def new_run_id() -> str:
    """Return a run id that sorts by time and is short enough to type."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def names_a_file(run_id: str) -> bool:
    """Return whether a run id, which may come from another process, may name a run file."""
    return _RUN_ID.fullmatch(run_id) is not None


def run_id_of(context: Context | None = None) -> str | None:
    """Return the id of the run that `context` (default: the current one) belongs to."""
    if context is None:
        context = current()
    value = otel_context.get_value(_RUN_KEY, context)
    return value if isinstance(value, str) else _told_run_id(context)


def in_run(run_id: str, context: Context) -> Context:
    """Return the context as part of a run, with whatever it is carried to."""
    context = baggage.set_baggage(Attr.RUN_ID, run_id, context)
    return otel_context.set_value(_RUN_KEY, run_id, context)


def is_opened_elsewhere(context: Context) -> bool:
    """Whether `context` belongs to a run that another process opened."""
    return otel_context.get_value(_RUN_KEY, context) is None and bool(_told_run_id(context))


def _told_run_id(context: Context) -> str | None:
    value = baggage.get_baggage(Attr.RUN_ID, context)
    return value if isinstance(value, str) and names_a_file(value) else None


_inherited: Context = Context()


def inherit(context: Context) -> None:
    """Say what this process is part of: the parent of whatever has no other."""
    global _inherited  # noqa: PLW0603 - a process has one parent
    _inherited = context


def current() -> Context:
    """Return the current context; where it has no span, as part of what this process inherited."""
    context = otel_context.get_current()
    if not _inherited or trace.get_current_span(context) is not trace.INVALID_SPAN:
        return context
    return Context({**_inherited, **context})

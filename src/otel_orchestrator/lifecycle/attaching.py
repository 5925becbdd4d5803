"""Make an OpenTelemetry context current for a while, and find again what was current before.

Leaving re-attaches what was current before, rather than detaching by token: a token that belongs to
another `contextvars.Context` cannot be reset and only logs "Failed to detach". A `try` guards it,
and no `with`: this is done for every call, and for every step of a generator.
"""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from .._guard import guarded


def enter(context: Context) -> Context | None:
    """Make a context current; return what was before, or None if that cannot be done."""
    try:
        previous = otel_context.get_current()
        otel_context.attach(context)
        return previous
    except Exception:
        with guarded("attaching a context"):
            raise
    return None


def leave(ours: Context, previous: Context | None) -> None:
    """Make current again what was before `enter`."""
    try:
        # Only what we attached: elsewhere (a block left in another task) the context is not ours.
        if previous is not None and otel_context.get_current() is ours:
            otel_context.attach(previous)
    except Exception:
        with guarded("detaching a context"):
            raise


class Inside:
    """The context inside of a generator, current only while it is being stepped.

    A generator may yield in the middle of a `with` block of its own: then that block's context is
    what it has to find again at its next step, and what its consumer must not see.
    """

    __slots__ = ("_context", "_previous")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._previous: Context | None = None

    def __enter__(self) -> None:
        self._previous = enter(self._context)

    def __exit__(self, *_: object) -> None:
        try:
            if self._previous is not None:
                self._context = otel_context.get_current()
                otel_context.attach(self._previous)
        except Exception:
            with guarded("detaching a context"):
                raise

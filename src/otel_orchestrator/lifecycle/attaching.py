"""Make an OpenTelemetry context current for a while, and find again what was current before.

Leaving makes current what was before, and never detaches by OpenTelemetry's own function: a token
that belongs to another `contextvars.Context` cannot be reset, which that logs as an error. A `try`
guards it, and no `with`: this is done for every call, and for every step of a generator.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import Token

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from .._guard import guarded
from .collecting import is_collecting


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


def attach(context: Context) -> Token[Context] | None:
    """Make a context current for a block; return what to `restore`, or None if it cannot be."""
    try:
        return otel_context.attach(context)
    except Exception:
        with guarded("attaching a context"):
            raise
    return None


def restore(ours: Context, token: Token[Context] | None, error: BaseException | None) -> None:
    """Make current again what was before a block, whatever the block has left attached.

    Args:
        ours: what was made current for the block.
        token: what that gave.
        error: what the block is left with.
    """
    try:
        if token is None:
            return
        # A generator that is dropped is closed wherever it happens to be: among others' blocks.
        if not isinstance(error, GeneratorExit):
            try:
                token.var.reset(token)
                return
            except ValueError:  # the block is left in another task or thread than it was entered
                pass
        if otel_context.get_current() is ours:
            before = token.old_value
            otel_context.attach(before if isinstance(before, Context) else Context())
    except Exception:
        with guarded("detaching a context"):
            raise


def restore_later(ours: Context, token: Token[Context]) -> None:
    """Do the same for a block that is over, if this is still where it was entered.

    A task that was started in the block has its context, too, but as a copy of its own.
    """
    try:
        if otel_context.get_current() is ours:
            with suppress(ValueError):  # of another task or thread
                token.var.reset(token)
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
        self._previous = None if is_collecting() else enter(self._context)

    def __exit__(self, *_: object) -> None:
        try:
            if self._previous is not None:
                self._context = otel_context.get_current()
                otel_context.attach(self._previous)
        except Exception:
            with guarded("detaching a context"):
                raise

"""The pauses of LangChain's own retries: `with_retry`, and the retry middlewares of its agents.

Nothing of theirs runs between two attempts but the pause. `with_retry` sleeps by an object that it
makes for each call; a middleware is given what makes an attempt, and so makes each through ours,
unless its agent was created before: agents hold on to their middlewares' functions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from opentelemetry.context import Context

from .. import runs, semconv
from .._guard import guarded
from ..lifecycle import spans, waits
from ..lifecycle.wrapping import begun
from ._patching import Around, Seam, around

_MISSING: Final = "pauses before LangChain's own retries count as work"
_HOOK: Final = ("self", "request", "handler")
_MIDDLEWARES: Final = {
    "ModelRetryMiddleware": ("wrap_model_call", "awrap_model_call"),
    "ToolRetryMiddleware": ("wrap_tool_call", "awrap_tool_call"),
}


def seams() -> list[Seam]:
    """Return where `with_retry` of the langchain-core that is installed makes what it sleeps by."""
    from langchain_core.runnables.retry import RunnableRetry

    return [
        Seam(RunnableRetry, "_sync_retrying", functools.partial(_pausing, _told), _MISSING),
        Seam(RunnableRetry, "_async_retrying", functools.partial(_pausing, _told_async), _MISSING),
    ]


def middleware_seams() -> list[Seam]:
    """Return the hooks of the retry middlewares that LangChain has, if it is installed and can."""
    try:
        from langchain.agents import middleware
    except Exception:  # it fits no other library that is installed: then nobody has one
        return []
    return [
        Seam(owner, name, _between, _MISSING, _HOOK)
        for class_name, names in _MIDDLEWARES.items()
        if (owner := getattr(middleware, class_name, None)) is not None
        for name in names
    ]


class _Sleep(Around):
    """One sleep of `with_retry`."""

    __slots__ = ("_context", "_since_ns")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(args, kwargs)
        self._context = Context()
        self._since_ns = 0

    def begins(self) -> None:
        """Note where and when it begins."""
        self._context = runs.current()
        self._since_ns = spans.now_ns()

    def ends(self, error: BaseException | None) -> None:
        """Record it, though it may have been broken off, or dropped, whatever is current then."""
        _record(self._context, self._since_ns)

    def gave(self, result: Any) -> None:
        """It gives nothing."""


def _told(sleep: Any) -> Any:
    return around(_Sleep, sleep)


def _told_async(sleep: Any) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await sleep(*args, **kwargs)  # which may be a function that gives what to wait for

    return around(_Sleep, wrapper)


def _pausing(told: Callable[[Any], Any], original: Any) -> Any:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        retrying = original(*args, **kwargs)
        with guarded("looking at a retry"):
            retrying.sleep = told(retrying.sleep)
        return retrying

    return wrapper


class _Attempts:
    """Around each attempt of one call: what is between a failed one and the next is a pause."""

    __slots__ = ("_failed_ns",)

    def __init__(self) -> None:
        self._failed_ns = 0

    def __enter__(self) -> None:
        with guarded("recording the pause before a retry"):
            if self._failed_ns:
                _record(runs.current(), self._failed_ns)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with guarded("noting a failed attempt"):
            self._failed_ns = spans.now_ns() if isinstance(exc, Exception) else 0


def _between(original: Any) -> Any:
    wrapper: Any
    if inspect.iscoroutinefunction(original):

        async def wrapper(self: Any, request: Any, handler: Any) -> Any:
            attempts = begun(_Attempts, (), {}, "looking at a retry")
            if attempts is None:
                return await original(self, request, handler)

            @functools.wraps(handler)
            async def attempt(request: Any) -> Any:
                with attempts:
                    return await handler(request)

            return await original(self, request, attempt)

    else:

        def wrapper(self: Any, request: Any, handler: Any) -> Any:
            attempts = begun(_Attempts, (), {}, "looking at a retry")
            if attempts is None:
                return original(self, request, handler)

            @functools.wraps(handler)
            def attempt(request: Any) -> Any:
                with attempts:
                    return handler(request)

            return original(self, request, attempt)

    return functools.wraps(original)(wrapper)


def _record(context: Context, since_ns: int) -> None:
    waits.record_in(context, semconv.RETRY_BACKOFF, since_ns, spans.now_ns())

"""LangChain's pool of threads: it calls there what has no async form, when one is free.

Each of its modules that do so has the function by a name of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from opentelemetry.context import Context

from .. import runs, semconv
from .._guard import guarded
from ..lifecycle import spans, waits
from ..lifecycle.wrapping import begun
from ._patching import Seam

_MISSING: Final = "waiting for a thread counts as the work of what is called there"
_MODULES: Final = ("runnables.base", "tools.base", "tools.simple", "tools.structured")
_NAME: Final = "run_in_executor"
_LEADING: Final = ("executor_or_config", "func")

_HAND_OFF_NS: Final = 5_000_000
"""A thread that is free may take that long to begin, on a busy machine."""


def seams() -> list[Seam]:
    """Return where the langchain-core that is installed calls runnables and tools in its pool."""
    found = []
    for module in _MODULES:
        try:
            owner: Any = import_module(f"langchain_core.{module}")
        except ImportError:
            owner = None
        name = _NAME if owner is not None else f"langchain_core.{module}.{_NAME}"
        found.append(Seam(owner, name, _handing, _MISSING, _LEADING))
    return found


def _handing(original: Any) -> Any:
    @functools.wraps(original)
    async def wrapper(executor_or_config: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        called = begun(_handed, (func,), {}, "handing a call to a pool of threads")
        return await original(executor_or_config, called or func, *args, **kwargs)

    return wrapper


def _handed(function: Callable[..., Any]) -> _Handed | None:
    context = runs.current()
    # Elsewhere nothing counts as work.
    return _Handed(function, context) if spans.is_working(context) else None


class _Handed:
    """What a thread is to call, from when it is handed over."""

    __slots__ = ("_context", "_function", "_since_ns")

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        self._function = function
        self._context = context
        self._since_ns = spans.now_ns()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Begin, in the thread."""
        with guarded("recording the wait for a thread"):
            now_ns = spans.now_ns()
            if now_ns - self._since_ns >= _HAND_OFF_NS:
                waits.record_in(
                    self._context, semconv.QUEUE, self._since_ns, now_ns, on=semconv.SLOT
                )
        return self._function(*args, **kwargs)

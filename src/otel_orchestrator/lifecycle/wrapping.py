"""Put an operation around a callable: function, coroutine, generator or async generator.

The wrapped callable stays what it is, gives what it gave and raises what it raised.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import nullcontext
from typing import Any, Final, ParamSpec, TypeVar

from .._guard import guarded
from .attaching import Inside
from .spans import Operation

P = ParamSpec("P")
R = TypeVar("R")

NO_HOLD_NS: Final = 100_000
"""Whoever keeps an item for less only reads it."""


def wrap(
    function: Callable[P, R],
    begin: Callable[P, Operation | None],
    observe: Callable[[Operation, Any], None] | None = None,
) -> Callable[P, R]:
    """Return `function` with an operation around each of its calls.

    Functions, coroutine functions, generator functions and async generator functions each stay
    what they are. A generator's operation starts with its first step and is attached only while
    an item is being produced, so the code that consumes it never runs inside; a generator that
    is dropped or closed before its end is `abandoned`.

    Args:
        function: what to trace.
        begin: starts the operation from the call's own arguments; None leaves the call untraced.
        observe: sees the result, or each item of a generator; what it raises is swallowed.
    """
    wrapper: Any
    if _is(inspect.isasyncgenfunction, function):
        wrapper = _async_generator(function, begin, observe)
    elif _is(inspect.isgeneratorfunction, function):
        wrapper = _generator(function, begin, observe)
    elif _is(inspect.iscoroutinefunction, function):
        called: Callable[P, Any] = function

        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            operation = begun(begin, args, kwargs)
            if operation is None:
                return await called(*args, **kwargs)
            with operation:
                result = await called(*args, **kwargs)
                _show(observe, operation, result)
                return result

    else:

        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            operation = begun(begin, args, kwargs)
            if operation is None:
                return function(*args, **kwargs)
            with operation:
                result = function(*args, **kwargs)
                _show(observe, operation, result)
                return result

    traced: Callable[P, R] = functools.wraps(function)(wrapper)
    return traced


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    with guarded("looking at what is to be traced"):
        while isinstance(function, functools.partial):
            function = function.func
        # An object is called by its class's `__call__`.
        return kind(function) or kind(type(function).__call__)
    return False


def begun(
    begin: Callable[..., R | None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    doing: str = "starting a span",
) -> R | None:
    """Return what is put around a call; None for a call that is left alone."""
    with guarded(doing):
        return begin(*args, **kwargs)
    return None


def _show(
    observe: Callable[[Operation, Any], None] | None, operation: Operation | None, value: Any
) -> None:
    if observe is None or operation is None:
        return
    with guarded("reading a result"):
        observe(operation, value)


def _was_held(operation: Operation | None, since_ns: int) -> None:
    try:
        until_ns = time.time_ns()
        if until_ns - since_ns >= NO_HOLD_NS and operation is not None:
            operation.held(since_ns, until_ns)
    except Exception:  # a `with` block around it costs more than all else here
        with guarded("noting how long an item was read"):
            raise


def _generator(
    function: Callable[..., Any],
    begin: Callable[..., Operation | None],
    observe: Callable[[Operation, Any], None] | None,
) -> Callable[..., Generator[Any, Any, Any]]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        operation = begun(begin, args, kwargs)
        if operation is None:
            return (yield from generator)
        action, argument = generator.send, None
        inside = Inside(operation.context)
        try:
            while True:
                with inside:
                    try:
                        item = action(argument)
                    except StopIteration as stop:
                        result = stop.value
                        break
                _show(observe, operation, item)
                since_ns = time.time_ns()
                try:
                    argument = yield item
                    action = generator.send
                except GeneratorExit:
                    _was_held(operation, since_ns)
                    with inside:
                        generator.close()
                    raise
                except BaseException as thrown:
                    action, argument = generator.throw, thrown
                _was_held(operation, since_ns)
        except BaseException as error:
            operation.fail(error)
            raise
        operation.end()
        return result

    return wrapper


def first_step(generator: AsyncGenerator[R, Any]) -> Awaitable[R]:
    """Return the first step of an async generator that another is to stand in front of.

    The event loop is not to know it: a loop that ends closes all that it knows at once, and then
    the one in front would find this one "already running". The one in front closes it.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.asend(None)  # the loop's hook is called here, not when it is awaited
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _async_generator(
    function: Callable[..., Any],
    begin: Callable[..., Operation | None],
    observe: Callable[[Operation, Any], None] | None,
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        operation = begun(begin, args, kwargs)
        # One that is left alone is driven as well: `async for` would keep sends, throws and the
        # close from it.
        inside = nullcontext() if operation is None else Inside(operation.context)
        awaited = first_step(generator)
        try:
            while True:
                with inside:
                    try:
                        item = await awaited
                    except StopAsyncIteration:
                        break
                _show(observe, operation, item)
                since_ns = time.time_ns()
                try:
                    awaited = generator.asend((yield item))
                except GeneratorExit:
                    _was_held(operation, since_ns)
                    with inside:
                        await generator.aclose()
                    raise
                except BaseException as thrown:
                    awaited = generator.athrow(thrown)
                _was_held(operation, since_ns)
        except BaseException as error:
            if operation is not None:
                operation.fail(error)
            raise
        if operation is not None:
            operation.end()

    return wrapper

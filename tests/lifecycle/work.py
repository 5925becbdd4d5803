"""Work of every kind that can be wrapped, and its ways to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from otel_orchestrator.lifecycle import outcomes, spans
from otel_orchestrator.lifecycle.wrapping import wrap


class Interrupt(Exception):
    """Control flow, as LangGraph's GraphInterrupt is."""


outcomes.register_control_flow(Interrupt, "interrupted")

ENDINGS = {
    "return": (None, "ok"),
    "raise": (ValueError("a secret"), "error"),
    "interrupt": (Interrupt(), "interrupted"),
    "cancel": (asyncio.CancelledError(), "cancelled"),
}


def begin(*_: Any, **__: Any) -> spans.Operation:
    return spans.start("outer", state="working", category="compute")


def inner_span() -> None:
    spans.start("inner", state="working").end()


def leave(error: BaseException | None) -> str:
    inner_span()
    if error is not None:
        raise error
    return "result"


def as_function(error: BaseException | None) -> Any:
    def work() -> str:
        return leave(error)

    return wrap(work, begin)()


def as_coroutine(error: BaseException | None) -> Any:
    async def work() -> str:
        await asyncio.sleep(0)
        return leave(error)

    return asyncio.run(wrap(work, begin)())


def as_generator(error: BaseException | None) -> Any:
    def work() -> Iterator[str]:
        inner_span()
        yield "first"
        yield leave(error)

    return list(wrap(work, begin)())[-1]


def as_async_generator(error: BaseException | None) -> Any:
    async def work() -> AsyncIterator[str]:
        inner_span()
        yield "first"
        await asyncio.sleep(0)
        yield leave(error)

    async def drain() -> Any:
        return [item async for item in wrap(work, begin)()][-1]

    return asyncio.run(drain())


KINDS: dict[str, Callable[[BaseException | None], Any]] = {
    "function": as_function,
    "coroutine": as_coroutine,
    "generator": as_generator,
    "async generator": as_async_generator,
}

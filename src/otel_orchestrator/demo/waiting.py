"""Waits that no instrumentation can see, because they are for something of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import otel_orchestrator as otel


@asynccontextmanager
async def holding(
    what: asyncio.Lock | asyncio.Semaphore, category: str, on: str
) -> AsyncIterator[None]:
    """Hold a lock, or one of a number of slots; waiting for it is a span."""
    if what.locked():
        with otel.wait(category, on=on):
            await what.acquire()
    else:
        await what.acquire()
    try:
        yield
    finally:
        what.release()

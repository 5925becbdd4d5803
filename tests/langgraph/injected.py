"""Injectors of waits, each of which notes when it began and ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from opentelemetry.sdk.trace import ReadableSpan

from otel_orchestrator.semconv import Attr

INJECTED_S = 0.25
TOLERANCE_NS = 20_000_000


@dataclass
class Injector:
    """Notes the instants of everything it is put around, by name."""

    noted: list[tuple[str, int, int]] = field(default_factory=list)

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note how long the block takes."""
        start_ns = time.time_ns()
        try:
            yield
        finally:
            self.noted.append((name, start_ns, time.time_ns()))

    def pause(self, name: str, seconds: float = INJECTED_S) -> None:
        """Sleep and note it."""
        with self.noting(name):
            time.sleep(seconds)

    async def apause(self, name: str, seconds: float = INJECTED_S) -> None:
        """Sleep and note it, as a coroutine."""
        with self.noting(name):
            await asyncio.sleep(seconds)

    def of(self, name: str) -> tuple[int, int]:
        """Return the only instants noted under a name."""
        (found,) = [(start, end) for n, start, end in self.noted if n == name]
        return found


class SlowSaver(InMemorySaver):
    """A checkpointer that takes its time to read or to write."""

    def __init__(self, injector: Injector, slow: str) -> None:
        super().__init__()
        self.injector = injector
        self.slow = slow

    def get_tuple(self, config: Any) -> Any:
        if self.slow == "read":
            self.injector.pause("read")
        return super().get_tuple(config)

    async def aget_tuple(self, config: Any) -> Any:
        if self.slow == "read":
            await self.injector.apause("read")
        return super().get_tuple(config)

    def put(self, *args: Any, **kwargs: Any) -> Any:
        if self.slow == "write":
            self.injector.pause("write", 0.2)
        return super().put(*args, **kwargs)

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        if self.slow == "write":
            await self.injector.apause("write", 0.2)
        return super().put(*args, **kwargs)


NOISE_S = 0.04
"""A busy machine makes a thread wait for this long without anybody's doing."""


def waits(spans: Any, category: str) -> list[ReadableSpan]:
    """Return the wait spans of a category that are no noise, by start."""
    found = [s for s in without_noise(spans) if s.name == f"wait {category}"]
    return sorted(found, key=lambda s: s.start_time or 0)


def without_noise(spans: Any) -> list[ReadableSpan]:
    """Return all spans but the waits that a busy machine makes by itself."""
    return [
        s
        for s in spans
        if not s.name.startswith("wait ")
        or (s.end_time or 0) - (s.start_time or 0) >= NOISE_S * 1e9
    ]


def is_about(span: ReadableSpan, instants: tuple[int, int]) -> None:
    """Assert that a wait lasted from one noted instant to another, give or take 20 ms."""
    start_ns, end_ns = instants
    told = (
        span.name,
        ((span.start_time or 0) - start_ns) / 1e6,
        ((span.end_time or 0) - end_ns) / 1e6,
    )
    assert abs((span.start_time or 0) - start_ns) < TOLERANCE_NS, told
    assert abs((span.end_time or 0) - end_ns) < TOLERANCE_NS, told


def total_s(spans: Any) -> dict[str, float]:
    """Return the seconds waited by category: spans, and the short ones on their parents."""
    sums: dict[str, float] = {}
    for span in spans:
        attributes = span.attributes or {}
        if attributes.get(Attr.STATE) == "waiting":
            category = str(attributes[Attr.CATEGORY])
            length = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
            sums[category] = sums.get(category, 0.0) + length
        for key, value in attributes.items():
            if key.startswith(Attr.SHORT_WAIT):
                category = key.removeprefix(Attr.SHORT_WAIT)
                sums[category] = sums.get(category, 0.0) + value
    return sums

"""The six ways of running a graph, behind one signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from opentelemetry import trace

Drive = Callable[..., Any]


def invoke(graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
    """`graph.invoke`."""
    return graph.invoke(given, config, **options)


def stream(graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
    """`graph.stream`, to its end; returns the last value."""
    return list(graph.stream(given, config, stream_mode="values", **options))[-1]


def batch(graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
    """`graph.batch` of one."""
    return graph.batch([given], config, **options)[0]


def ainvoke(graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
    """`graph.ainvoke`."""
    return asyncio.run(graph.ainvoke(given, config, **options))


def astream(graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
    """`graph.astream`, to its end; returns the last value."""

    async def drain() -> Any:
        return [x async for x in graph.astream(given, config, stream_mode="values", **options)][-1]

    return asyncio.run(drain())


def abatch(graph: Any, given: Any, config: Any = None, **options: Any) -> Any:
    """`graph.abatch` of one."""
    return asyncio.run(graph.abatch([given], config, **options))[0]


SYNC: tuple[Drive, ...] = (invoke, stream, batch)
ASYNC: tuple[Drive, ...] = (ainvoke, astream, abatch)


def in_user_span(name: str) -> Any:
    """Return a context manager with a span of the user's own, from the provider under test."""
    from otel_orchestrator.lifecycle import spans

    tracer = spans._tracer
    assert tracer is not None
    span = tracer.start_as_current_span(name)
    assert isinstance(trace.get_current_span(), trace.Span)
    return span

"""Run and node spans from LangChain's public callbacks, for a LangGraph whose seams have moved.

Callbacks see neither supersteps nor waits, and a context attached in one leaks in async code, so
nothing is attached: a user's own spans do not nest below these.
"""

from __future__ import annotations

from collections import OrderedDict
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers import context as langchain_context
from langchain_core.tracers.context import register_configure_hook

from ... import semconv
from ..._guard import guarded
from ...lifecycle import spans
from ...lifecycle.spans import Operation
from ...semconv import Attr, Metric
from .shape import START

_OPEN_AT_MOST: Final = 10_000


class CallbackTracer(BaseCallbackHandler):
    """Makes a span for each graph run and each node run that the callbacks tell of."""

    run_inline = True  # in the caller's thread or task: cheaper, and in order

    def __init__(self) -> None:
        # By callback run id: the span to put children below, and the one to end with the run.
        self._open: OrderedDict[UUID, tuple[Operation | None, Operation | None]] = OrderedDict()

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start a span for a graph or a node; other runnables pass their parent's span on."""
        with guarded("starting a span in a callback"):
            above = self._open.get(parent_run_id, (None, None))[0] if parent_run_id else None
            node = (metadata or {}).get("langgraph_node")
            is_node = node is not None and any(t.startswith("graph:step:") for t in tags or ())
            started: Operation | None = None
            if is_node and node != START:
                started = _start_node(str(node), above)
            elif above is None and not is_node:
                started = _start_run(str(kwargs.get("name") or "LangGraph"))
            self._open[run_id] = (started or above, started)
            while len(self._open) > _OPEN_AT_MOST:
                _abandon(self._open.popitem(last=False)[1][1])

    def abandon_all(self) -> None:
        """End the spans of every run under way: nobody will tell how they end."""
        while self._open:
            _abandon(self._open.popitem()[1][1])

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a run that returned."""
        with guarded("ending a span in a callback"):
            if (started := self._open.pop(run_id, (None, None))[1]) is not None:
                started.end()

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span of a run that raised."""
        with guarded("ending a span in a callback"):
            if (started := self._open.pop(run_id, (None, None))[1]) is not None:
                started.fail(error)


def _abandon(operation: Operation | None) -> None:
    if operation is not None:
        operation.end(semconv.ABANDONED)


def _start_node(name: str, above: Operation | None) -> Operation:
    return spans.start(
        f"{semconv.NODE} {name}",
        state=semconv.WORKING,
        category=semconv.COMPUTE,
        parent=above.context if above else None,
        attributes={Attr.NODE_NAME: name},
        metric=Metric.NODE_DURATION,
        measured={Attr.NODE_NAME: name},
    )


def _start_run(name: str) -> Operation:
    attributes = {Attr.OPERATION: semconv.INVOKE_WORKFLOW, Attr.WORKFLOW_NAME: name}
    return spans.start_run(
        f"{semconv.INVOKE_WORKFLOW} {name}",
        state=semconv.CONTAINER,
        attributes=attributes,
        metric=Metric.WORKFLOW_DURATION,
        measured=attributes,
    )


_hook: ContextVar[CallbackTracer | None] | None = None


def start() -> None:
    """Give every callback manager made from now on a tracer."""
    global _hook  # noqa: PLW0603 - LangChain's registry of hooks is global, too
    _hook = ContextVar("otel_orchestrator_fallback", default=CallbackTracer())  # noqa: B039
    register_configure_hook(_hook, inheritable=True)


def stop() -> None:
    """Take the tracer out again."""
    global _hook  # noqa: PLW0603
    if _hook is None:
        return
    # LangChain has no public way to take a hook out.
    langchain_context._configure_hooks[:] = [
        hook for hook in langchain_context._configure_hooks if hook[0] is not _hook
    ]
    if (tracer := _hook.get()) is not None:
        with guarded("ending runs under way"):
            tracer.abandon_all()
    _hook = None

"""OpenTelemetry for multi-agent orchestrators: see where a run works, where it waits, and for what.

Two lines for any program:

    import otel_orchestrator as otel

    otel.configure("my-orchestrator")
    otel.instrument()

Importing this package loads neither LangGraph nor the OpenTelemetry SDK: each name is loaded when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .instrumentors import instrument, uninstrument
    from .manual import (
        llm_call,
        log_llm_response,
        loop,
        node,
        record_usage,
        run,
        task,
        tool_call,
        wait,
    )
    from .messages import environment, inject, received
    from .queue.fields import TaskFields
    from .queue.tasks import observe_tasks
    from .sdk import configure, shutdown

_HOMES = {
    "configure": "sdk",
    "shutdown": "sdk",
    "instrument": "instrumentors",
    "uninstrument": "instrumentors",
    "run": "manual",
    "loop": "manual",
    "node": "manual",
    "task": "manual",
    "wait": "manual",
    "llm_call": "manual",
    "tool_call": "manual",
    "record_usage": "manual",
    "log_llm_response": "manual",
    "inject": "messages",
    "environment": "messages",
    "received": "messages",
    "TaskFields": "queue.fields",
    "observe_tasks": "queue.tasks",
}

__all__ = (
    "TaskFields",
    "configure",
    "environment",
    "inject",
    "instrument",
    "llm_call",
    "log_llm_response",
    "loop",
    "node",
    "observe_tasks",
    "received",
    "record_usage",
    "run",
    "shutdown",
    "task",
    "tool_call",
    "uninstrument",
    "wait",
)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""How a call ended: which exceptions are errors, and which merely control flow."""

from __future__ import annotations

import asyncio
import concurrent.futures

from .. import semconv
from ..semconv import Outcome

_CONTROL_FLOW: list[tuple[type[BaseException], Outcome]] = [
    (GeneratorExit, semconv.ABANDONED),
    (asyncio.CancelledError, semconv.CANCELLED),
    (concurrent.futures.CancelledError, semconv.CANCELLED),
    (KeyboardInterrupt, semconv.CANCELLED),
    (SystemExit, semconv.CANCELLED),
]


def register_control_flow(kind: type[BaseException], outcome: Outcome) -> None:
    """Say that exceptions of `kind` are control flow and not errors. Later entries win."""
    if (kind, outcome) not in _CONTROL_FLOW:
        _CONTROL_FLOW.insert(0, (kind, outcome))


def outcome_of(error: BaseException | None) -> Outcome:
    """Return how a call that ended with `error` ended."""
    if error is None:
        return semconv.OK
    for kind, outcome in _CONTROL_FLOW:
        if isinstance(error, kind):
            return outcome
    return semconv.ERROR


def type_name(error: BaseException) -> str:
    """Return the value of `error.type`: the class, qualified unless it is a builtin."""
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )

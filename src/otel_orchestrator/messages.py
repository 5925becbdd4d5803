"""What crosses to other processes: the context, the run, and when a message was sent.

    carrier = inject()                                      # a few short texts, for the message
    with task("worker", item, carrier=carrier): ...         # in whatever process takes it

Underneath is OpenTelemetry's own propagation: trace and run are `traceparent` and `baggage`, so
whatever carries those (HTTP, Celery, a variable of the environment) carries a run. Only when a
message was sent, and by which host's clock, has a key of its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind

from . import runs, semconv
from ._guard import guarded
from .lifecycle import spans, waits
from .lifecycle.spans import Operation
from .semconv import Attr

_SENT: Final = "orchestrator-sent"

_host = socket.gethostname()
_passed_on: dict[str, str] = {}


def say_of_this_process(host: str, pass_on: Mapping[str, str]) -> None:
    """Say what this process's host is called, and which variables its children get."""
    global _host  # noqa: PLW0603 - a process has one host
    _host = host
    _passed_on.clear()
    _passed_on.update(pass_on)


def inject() -> dict[str, str]:
    """Return what a message has to carry, so that work on it belongs to this run.

    Call it when the message is sent: it notes the time, from which the receiver's `wait queue`
    counts. The dict holds a few short texts and goes into any message, or is an argument of a
    function that another process calls. `opentelemetry.propagate.extract` reads it, too.

    Example:
        >>> message = {"item": "fix-1", "carrier": inject()}
        >>> with task("worker", message["item"], carrier=message["carrier"]):
        ...     pass
    """
    carrier: dict[str, str] = {}
    with guarded("giving a message its context"):
        propagate.inject(carrier, runs.current())
        carrier[_SENT] = f"{spans.now_ns()};{_host}"
    return carrier


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a process that works for this run, as `Popen(env=...)` takes it.

    In it are `TRACEPARENT` and `BAGGAGE`, by which `configure()` there knows what it is part of,
    and where this process's run files are.

    Args:
        base: the environment otherwise; default that of this process.

    Example:
        >>> import subprocess, sys
        >>> subprocess.run([sys.executable, "-c", "pass"], env=environment()).returncode
        0
    """
    made = dict(os.environ if base is None else base)
    with guarded("giving a process its context"):
        for name in _fields():
            made.pop(name, None)  # what this process was given itself
        carrier: dict[str, str] = {}
        propagate.inject(carrier, runs.current())
        made.update((variable(key), value) for key, value in carrier.items())
        made.update(_passed_on)
    return made


def inherited() -> Context:
    """Return the context that this process was given by its environment; empty if none."""
    with guarded("reading the context of the environment"):
        given = {key: os.environ[name] for name, key in _fields().items() if name in os.environ}
        context = propagate.extract(given, Context())
        if trace.get_current_span(context).get_span_context().is_valid:
            return context
    return Context()


def _fields() -> dict[str, str]:
    return {variable(key): key for key in propagate.get_global_textmap().fields}


def variable(key: str) -> str:
    """Return the name of the environment's variable that carries a propagator's field."""
    # https://opentelemetry.io/docs/specs/otel/context/env-carriers/
    return key.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Received:
    """A message that has come.

    Attributes:
        context: of who sent it; where it carried none, the current one.
        host: whose clock it was sent by; None if the message does not say when it was sent.
        sent_ns: when, by that clock.
        at_ns: when it came, by this host's.
    """

    context: Context
    host: str | None
    sent_ns: int
    at_ns: int

    @property
    def since_ns(self) -> int:
        """Since when it waited: of a clock that is ahead, it is not believed."""
        return min(self.sent_ns, self.at_ns)

    @property
    def facts(self) -> dict[str, str | float]:
        """What readers need to tell a wait from a difference between two clocks."""
        if self.host is None:
            return {}
        return {Attr.SENT_HOST: self.host, Attr.SENT_AGO: (self.at_ns - self.sent_ns) / 1e9}

    def record_wait(self, operation: Operation) -> None:
        """Record that it waited, below what was begun when it was sent."""
        if self.host is not None and self.host != _host:
            waits.record_span(
                semconv.QUEUE,
                self.since_ns,
                self.at_ns,
                parent=operation.context,
                attributes=self.facts,
            )
        else:
            waits.record(semconv.QUEUE, self.since_ns, self.at_ns, parent=operation)


def read(carrier: Mapping[str, str]) -> Received:
    """Read what `inject()` gave, or any carrier of OpenTelemetry's."""
    now_ns = spans.now_ns()
    with guarded("reading the context of a message"):
        context = propagate.extract(carrier, Context())
        if not trace.get_current_span(context).get_span_context().is_valid:
            context = runs.current()
        sent, _, host = str(carrier.get(_SENT, "")).partition(";")
        if sent.isdecimal() and len(sent) < _DIGITS_AT_MOST:
            return Received(context, host[:_HOST_AT_MOST], int(sent), now_ns)
        return Received(context, None, now_ns, now_ns)
    return Received(runs.current(), None, now_ns, now_ns)


# The carrier is somebody else's text.
_DIGITS_AT_MOST: Final = 20
_HOST_AT_MOST: Final = 255


def received(carrier: Mapping[str, str]) -> None:
    """Note that a message came back, such as a result: call it when it is taken.

    The span `receive` links to the span that sent it. With messages both ways, readers know by
    how much the clocks of two hosts differ, and correct for it.
    """
    message = read(carrier)
    with guarded("noting a message"):
        sender = trace.get_current_span(message.context).get_span_context()
        spans.start(
            semconv.RECEIVE,
            state=semconv.CONTAINER,
            kind=SpanKind.CONSUMER,
            attributes=message.facts,
            links=[Link(sender)] if sender.is_valid else None,
            start_ns=message.at_ns,
        ).end(end_ns=message.at_ns)

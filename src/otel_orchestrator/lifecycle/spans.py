"""One lifecycle for every span this package makes: start, attach, end, on every exit.

Spans are made through the OpenTelemetry API, live, so that any provider, sampler, processor and
backend works. An `Operation` is a started span with its context; the instrumentors start it with
an explicit parent, attach it only while the user's code runs, and end it with an outcome.

    with start("node worker", state="working", category="compute", parent=context):
        result = users_function()

`wrapping.wrap` does that around a function, a coroutine, a generator or an async generator.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from functools import partial
from types import TracebackType
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from .. import metrics, redaction, runs, semconv
from .._guard import guarded
from ..semconv import Attr, Outcome, State
from .attaching import attach, restore, restore_later
from .collecting import end_late, end_late_ones, is_collecting, restore_late
from .outcomes import outcome_of, type_name

Attributes = Mapping[str, AttributeValue]

GAP_NS: Final = 1_000
"""Siblings never touch: Jaeger's critical path skips one of two that share a microsecond."""

# A clock that was set back by more was wrong before: to stand still until then would be worse.
_STEP_BACK_NS: Final = 1_000_000_000

_WORKING_KEY: Final = otel_context.create_key("otel-orchestrator-working")

_NO_ATTRIBUTES: Final[Attributes] = {}
# Not the API's own, which is what one gets where nobody wants any.
_NOT_STARTED: Final = trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)
_tracer: Tracer | None = None
_latest_ns = 0


def use_provider(provider: TracerProvider | None) -> None:
    """Make all spans with `provider`; None means the global one, whenever it is set."""
    global _tracer  # noqa: PLW0603 - one lifecycle for the process, like the API's own global
    _tracer = trace.get_tracer(
        metrics.SCOPE, tracer_provider=provider, schema_url=semconv.SCHEMA_URL
    )


def _our_tracer() -> Tracer:
    if _tracer is None:
        use_provider(None)
    assert _tracer is not None
    return _tracer


def now_ns() -> int:
    """Return the wall clock in nanoseconds, a little step back of which is not passed on."""
    global _latest_ns  # noqa: PLW0603 - a race costs a few nanoseconds of monotony, not a lock
    now = time.time_ns()
    if 0 < _latest_ns - now < _STEP_BACK_NS:
        return _latest_ns
    _latest_ns = now
    return now


_before_shutdown: list[Callable[[], None]] = []


def before_shutdown(make_late_spans: Callable[[], None]) -> None:
    """Call this function before the SDK is shut down: it has spans that are not made yet."""
    _before_shutdown.append(make_late_spans)


def not_before_shutdown(make_late_spans: Callable[[], None]) -> None:
    """Take back `before_shutdown`."""
    if make_late_spans in _before_shutdown:
        _before_shutdown.remove(make_late_spans)


def make_late_spans() -> None:
    """Make all spans that are made after the event and are not made yet."""
    end_late_ones()
    for make in tuple(_before_shutdown):
        with guarded("making late spans"):
            make()


_forks = 0
"""How often this process is a child of `os.fork`, counted from where Python started."""


def _start_in_child() -> None:
    global _forks  # noqa: PLW0603 - what the parent has open or late, the parent ends
    _forks += 1


os.register_at_fork(after_in_child=_start_in_child)


class Operation:
    """A live span, the context to run its children in, and how it ends.

    Attributes:
        span: the OpenTelemetry span, for attributes of one's own.
        context: the parent's context with this span in it; parent of everything below.
        start_ns: when it started, wall clock.
        end_ns: when it ended; 0 while it is open.
        is_ok: it ended with the outcome `ok`.
        measured: attributes of the metrics recorded for it.
        on_end: called once with the ended operation.
    """

    __slots__ = (
        "_forks",
        "_metric",
        "_short_waits",
        "_token",
        "context",
        "end_ns",
        "is_ok",
        "measured",
        "on_end",
        "span",
        "start_ns",
    )

    def __init__(
        self,
        span: Span,
        context: Context,
        start_ns: int,
        metric: str | None = None,
        measured: Attributes = _NO_ATTRIBUTES,
    ) -> None:
        self.span = span
        self.context = context
        self.start_ns = start_ns
        self.end_ns = 0
        self.is_ok = False
        self._forks = _forks
        self._metric = metric
        self.measured = measured
        self.on_end: Callable[[Operation], None] | None = None
        self._token: Token[Context] | None = None
        self._short_waits: dict[str, int] | None = None

    def set(self, attributes: Attributes) -> None:
        """Add attributes to the span."""
        self.span.set_attributes(redaction.pairs(attributes))

    def add_short_wait(self, category: str, duration_ns: int) -> None:
        """Count a wait below this span that is too short for a span of its own."""
        if self.end_ns:
            return
        if self._short_waits is None:
            self._short_waits = {}
        self._short_waits[category] = self._short_waits.get(category, 0) + duration_ns

    @property
    def is_told(self) -> bool:
        """Whether anybody learns of it, or of anything below it.

        Asked once, where something begins of which much would be told: below a span that was left
        out are none, and durations are measured nonetheless, if they are. Below one that could not
        be started there may be others: what broke it may be over.
        """
        span = self.span
        return span.is_recording() or span is _NOT_STARTED or metrics.are_heard()

    @property
    def is_inherited(self) -> bool:
        """Whether it is a copy, in a forked child that unwinds: the parent tells of it."""
        return self._forks != _forks

    def end(
        self,
        outcome: Outcome = semconv.OK,
        *,
        error_type: str | None = None,
        end_ns: int | None = None,
    ) -> None:
        """End the span, once; later calls do nothing. Only `error` makes it an error span."""
        if self.end_ns:
            return
        if is_collecting():
            noticed_ns = now_ns() if end_ns is None else end_ns
            end_late(partial(self.end, outcome, error_type=error_type, end_ns=noticed_ns))
            return
        with guarded("ending a span"):
            end_late_ones()
            self.is_ok = outcome == semconv.OK
            self.end_ns = max(self.start_ns, now_ns() if end_ns is None else end_ns)
            if self.is_inherited:
                return
            # The SDK passes on what a user's span processor raises: the rest is told all the same.
            try:
                self.finishing()
                self._end_span(outcome, error_type)
            finally:
                try:
                    self._record_duration(outcome, error_type)
                finally:
                    if self.on_end is not None:
                        self.on_end(self)

    def _end_span(self, outcome: Outcome, error_type: str | None) -> None:
        span = self.span
        if not span.is_recording():
            return
        values: dict[str, AttributeValue] = {Attr.OUTCOME: outcome}
        for category, waited_ns in (self._short_waits or {}).items():
            values[Attr.SHORT_WAIT + category] = waited_ns / 1e9
        if outcome == semconv.ERROR:
            # The type and never the message, which may quote prompts and credentials.
            values[Attr.ERROR_TYPE] = error_type or "_OTHER"
            span.set_status(Status(StatusCode.ERROR, error_type))
        span.set_attributes(values)  # at once: each call takes the span's lock
        span.end(self.end_ns)

    def _record_duration(self, outcome: Outcome, error_type: str | None) -> None:
        if self._metric is None:
            return
        measured = dict(self.measured)
        if outcome == semconv.ERROR:
            measured[Attr.ERROR_TYPE] = error_type or "_OTHER"
        seconds = (self.end_ns - self.start_ns) / 1e9
        metrics.record(self._metric, seconds, measured, self.context)

    def held(self, start_ns: int, end_ns: int) -> None:
        """Note that whoever reads what it yields has kept an item; for subclasses."""

    def finishing(self) -> None:
        """Add what is only known at the end; for subclasses."""

    def fail(self, error: BaseException, *, end_ns: int | None = None) -> None:
        """End the span with the outcome that `error` means."""
        with guarded("ending a span"):
            outcome = outcome_of(error)
            self.end(
                outcome,
                error_type=type_name(error) if outcome == semconv.ERROR else None,
                end_ns=end_ns,
            )

    def __enter__(self) -> Operation:
        self._token = None if is_collecting() else attach(self.context)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if is_collecting() and self._token is not None:
            # However the block is left then: what is current by that time is not of its making.
            restore_late(partial(restore_later, self.context, self._token))
        else:
            restore(self.context, self._token, exc)
        if exc is None:
            self.end()
        else:
            self.fail(exc)


def start(
    name: str,
    *,
    state: State,
    category: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    attributes: Attributes = _NO_ATTRIBUTES,
    links: Sequence[Link] | None = None,
    start_ns: int | None = None,
    metric: str | None = None,
    measured: Attributes = _NO_ATTRIBUTES,
    make: type[Operation] = Operation,
) -> Operation:
    """Start a span below `parent` (default: the current context); none below one not sampled.

    Args:
        name: the operation and a low-cardinality name, such as `node worker`.
        state: `working`, `waiting` or `container`.
        category: what kind of work, or what kind of wait; containers have none.
        kind: the span's kind.
        parent: the context whose span is the parent.
        attributes: set at the start, where samplers see them.
        links: links to other spans.
        start_ns: a start in the past, wall clock.
        metric: the histogram that gets the duration at the end.
        measured: that histogram's attributes: low cardinality only.
        make: the class of the operation, for one that gathers more on its way.
    """
    end_late_ones()  # before anything else: it may leave a context that is still current
    if parent is None:
        parent = runs.current()
    if start_ns is None:
        start_ns = now_ns()
    with guarded("starting a span"):
        if state == semconv.WORKING and not is_working(parent):
            parent = otel_context.set_value(_WORKING_KEY, True, parent)
        above = trace.get_current_span(parent)
        if not above.is_recording() and _is_left_out(above.get_span_context()):
            return make(above, parent, start_ns, metric, redaction.pairs(measured))
        values: dict[str, AttributeValue] = {Attr.STATE: state}
        if category is not None:
            values[Attr.CATEGORY] = category
        if (run_id := runs.run_id_of(parent)) is not None:
            values[Attr.RUN_ID] = run_id
        values.update(redaction.pairs(attributes))
        measured = redaction.pairs(measured)
        span = _our_tracer().start_span(redaction.text(name), parent, kind, values, links, start_ns)
        return make(span, set_span_in_context(span, parent), start_ns, metric, measured)
    return nothing(parent, start_ns)


def is_working(context: Context) -> bool:
    """Whether a working span is current in `context`, or above the one that is."""
    return otel_context.get_value(_WORKING_KEY, context) is True


def _is_left_out(above: SpanContext) -> bool:
    # A sampler of this process has left it out: what is below it is left out as well, unasked.
    return above.is_valid and not above.is_remote and not above.trace_flags.sampled


def nothing(parent: Context | None = None, start_ns: int = 0) -> Operation:
    """Return an operation without a span: what stands for one that could not be started."""
    return Operation(
        _NOT_STARTED, otel_context.get_current() if parent is None else parent, start_ns
    )


def start_run(name: str, *, parent: Context | None = None, **options: Any) -> Operation:
    """Start a span that opens a run, unless `parent` already belongs to one.

    Takes what `start` takes. The run's id is on the span, and in its context for those below.
    """
    if parent is None:
        parent = runs.current()
    if runs.run_id_of(parent) is None:
        parent = runs.in_run(runs.new_run_id(), parent)
    return start(name, parent=parent, **options)

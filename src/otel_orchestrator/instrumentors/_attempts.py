"""One HTTP attempt: its phases, by httpcore's `trace` extension, and its place in a chat call.

    ├── wait pool ──┤── connect ──┤── tls ──┤── send ──┤── time to first byte ──┤
    start       first event                                          headers: the span ends

The phases are attributes of the attempt's span. Waiting for a free connection is a `wait pool` span
below it; httpcore has no event for that, it is the time until the first one. A connection was open
before where nothing was connected. What follows on the headers belongs to whoever reads the body;
we only note when it was done, because from then on a failed attempt's caller backs off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from opentelemetry.trace import Span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from .. import semconv
from .._guard import guarded
from ..lifecycle import spans, waits
from ..lifecycle.spans import Operation
from ..llm import chat
from ..semconv import Attr

_TOO_MANY_REQUESTS: Final = 429

# There is no event when a request is given its connection: less than this is the time that the
# client's own code takes on a busy machine.
_POOL_THRESHOLD_NS: Final = 5_000_000


class Attempt(Operation):
    """An HTTP attempt whose span is another instrumentation's: it starts and ends it."""

    __slots__ = (
        "_asked_ns",
        "_closed_ns",
        "_first_ns",
        "_headers_ns",
        "_is_connecting",
        "_is_pool_full",
        "_is_tunnelling",
        "_sending_ns",
        "_sent_ns",
        "_tls_began_ns",
        "_tls_ns",
        "_was_full",
        "has_raised",
        "host",
        "retry_after_s",
        "status",
    )

    def __init__(self, span: Span, host: str, is_pool_full: Callable[[], bool]) -> None:
        started_ns = getattr(span, "start_time", None) or spans.now_ns()
        super().__init__(span, set_span_in_context(span), started_ns)
        self._asked_ns = spans.now_ns()
        self._headers_ns = 0
        self.host = host
        self._first_ns = 0
        self._is_pool_full: Callable[[], bool] | None = is_pool_full
        self._was_full = is_pool_full()
        self._is_connecting = False
        self._is_tunnelling = False
        self._tls_began_ns = 0
        self._tls_ns = 0
        self._sending_ns = 0
        self._sent_ns = 0
        self._closed_ns = 0
        self.has_raised = False
        self.status: int | None = None
        self.retry_after_s: float | None = None

    def event(self, name: str, info: Mapping[str, Any]) -> None:
        """Take an event of httpcore's, such as `http11.send_request_body.complete`."""
        step = name.partition(".")[2]
        now = spans.now_ns()
        if not self._first_ns:
            self._first_ns = now
            # Of several that asked at once, those after the first found a pool with room.
            is_pool_full, self._is_pool_full = self._is_pool_full, None
            if self._was_full or (is_pool_full is not None and is_pool_full()):
                self._waited_for_a_connection(now)
        action, _, stage = step.rpartition(".")
        if action in ("connect_tcp", "connect_unix_socket"):
            self._is_connecting = True
        elif action == "start_tls":
            if stage == "started":
                self._tls_began_ns = now
            else:
                self._tls_ns += now - self._tls_began_ns
        elif action == "send_request_headers" and stage == "started":
            # What asks a proxy for a tunnel is a part of connecting, and so is its answer.
            request = info.get("request")
            self._is_tunnelling = getattr(request, "method", None) == b"CONNECT"
            self._sending_ns = 0 if self._is_tunnelling else now
        elif action == "receive_response_headers" and stage == "complete":
            self._headers_ns = 0 if self._is_tunnelling else now
            self._tell_phases()
        elif action == "send_request_body" and stage == "complete" and not self._is_tunnelling:
            self._sent_ns = now
        elif action in ("receive_response_body", "response_closed"):
            self._closed_ns = now
            return
        if stage == "failed":
            self._tell_phases()

    def _tell_phases(self) -> None:
        values: dict[str, AttributeValue] = {Attr.HTTP_REUSED: not self._is_connecting}
        if self._is_connecting:
            until = self._sending_ns or spans.now_ns()
            values[Attr.HTTP_CONNECT] = max(0, until - self._first_ns - self._tls_ns) / 1e9
        if self._tls_ns:
            values[Attr.HTTP_TLS] = self._tls_ns / 1e9
        if self._sent_ns > self._sending_ns:
            values[Attr.HTTP_SEND] = (self._sent_ns - self._sending_ns) / 1e9
            if self._headers_ns:
                values[Attr.HTTP_FIRST_BYTE] = (self._headers_ns - self._sent_ns) / 1e9
        self.span.set_attributes(values)

    def _waited_for_a_connection(self, until_ns: int) -> None:
        if until_ns - self._asked_ns >= _POOL_THRESHOLD_NS:
            waits.record(semconv.POOL, self._asked_ns, until_ns, parent=self, on=self.host)

    def add_short_wait(self, category: str, duration_ns: int) -> None:
        """Say a short wait at once: nobody ends this operation."""
        self.span.set_attribute(Attr.SHORT_WAIT + category, duration_ns / 1e9)

    def ended(self, *, has_raised: bool) -> None:
        """Note that it is over, and let go of the pool, which the call's context may outlive."""
        self.has_raised = has_raised
        self._is_pool_full = None

    def answered(self, status: int, headers: Any) -> None:
        """Note the response's status, and how long the server asks to wait."""
        self.status = status
        if status >= 400:
            self.retry_after_s = _retry_after_s(headers)

    @property
    def failed(self) -> bool:
        """Whether it raised, or its status says that it may be tried again; not while it lasts."""
        return self.has_raised or (self.status is not None and self.status >= 400)

    def over_ns(self) -> int:
        """When it was over: its headers, or the body of an error, whichever is later."""
        ended_ns = getattr(self.span, "end_time", None) or self._headers_ns
        return max(ended_ns, self._closed_ns, self.start_ns)

    def gave_up_waiting(self) -> None:
        """Say that it never got a connection, if so: then there was no event at all."""
        ended_ns = getattr(self.span, "end_time", None)
        if not self._first_ns and self.status is None and ended_ns:
            self._first_ns = ended_ns
            self._waited_for_a_connection(ended_ns - spans.GAP_NS)


def begin(span: Span, host: str, retries: int, is_pool_full: Callable[[], bool]) -> Attempt:
    """Start to follow an attempt, and record the back-off before it, if it is a retry."""
    attempt = Attempt(span, host, is_pool_full)
    sequence = chat.sequence()
    if sequence is None or (sequence.call.host not in (None, host) and retries == 0):
        return attempt
    call, previous = sequence.call, sequence.previous
    sequence.previous = attempt
    call.attempted()
    if isinstance(previous, Attempt):
        previous.gave_up_waiting()
        if previous.failed or retries:
            sequence.retries += 1
            _back_off(call, previous, attempt)
    if number := retries or sequence.retries:
        span.set_attribute(Attr.RESEND_COUNT, number)
    return attempt


def _back_off(call: chat.ChatCall, previous: Attempt, attempt: Attempt) -> None:
    category = (
        semconv.RATE_LIMIT if previous.status == _TOO_MANY_REQUESTS else semconv.RETRY_BACKOFF
    )
    began, ended = previous.over_ns() + 2 * spans.GAP_NS, attempt.start_ns - 2 * spans.GAP_NS
    attributes: dict[str, AttributeValue] = {}
    if previous.retry_after_s is not None:
        attributes[Attr.RETRY_AFTER] = previous.retry_after_s
    if category == semconv.RATE_LIMIT and ended > began:
        call.rate_limited_ns += ended - began
    waits.record(category, began, ended, parent=call, on=attempt.host, attributes=attributes)


def _retry_after_s(headers: Any) -> float | None:
    """Return the seconds that a server asks to wait: a number, milliseconds, or a date."""
    told = {}
    for key, value in headers.items() if hasattr(headers, "items") else headers or ():
        told[_text(key).lower()] = _text(value)
    try:
        if "retry-after-ms" in told:
            return float(told["retry-after-ms"]) / 1000
        value = told.get("retry-after")
        if value is None:
            return None
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - spans.now_ns() / 1e9)
    except (ValueError, TypeError):
        return None


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class Trace:
    """httpcore's `trace` extension for a sync client; the user's own one goes on being called."""

    __slots__ = ("attempt", "theirs")

    def __init__(self, attempt: Attempt, theirs: Any) -> None:
        self.attempt = attempt
        # A redirect, and an authentication that asks twice, send the extensions once more.
        self.theirs: Any = theirs.theirs if isinstance(theirs, Trace) else theirs

    def note(self, name: str, info: Mapping[str, Any]) -> None:
        """Take an event."""
        try:
            self.attempt.event(name, info)
        except Exception:  # there are ten of them for a request, so no `with` block around each
            with guarded("noting a phase of a request"):
                raise

    def __call__(self, name: str, info: Mapping[str, Any]) -> Any:
        self.note(name, info)
        return None if self.theirs is None else self.theirs(name, info)


class AsyncTrace(Trace):
    """The same for an async client, which has to get a coroutine."""

    async def __call__(self, name: str, info: Mapping[str, Any]) -> Any:
        self.note(name, info)
        return None if self.theirs is None else await self.theirs(name, info)

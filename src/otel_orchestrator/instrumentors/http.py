"""HTTP attempts through httpx and httpx2: their spans are OpenTelemetry's, their phases ours.

opentelemetry-instrumentation-httpx makes the spans, whoever has switched it on: the program, before
or after us; `opentelemetry-instrument`; or else we. Its hooks belong to whoever did, so we look one
step further in, where httpx hands a request to httpcore's pool: there the current span is the
attempt's. We mark it, number the retries of one logical call and follow its phases. Today's OpenAI
and Anthropic SDKs use httpx2; what patches only httpx sees none of their requests.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import (
    HTTPX2ClientInstrumentor,
    HTTPXClientInstrumentor,
)
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind

from .. import runs, semconv
from .._guard import guarded, logger
from ..lifecycle import outcomes
from ..llm import chat
from ..semconv import Attr
from . import _attempts
from ._attempts import AsyncTrace, Attempt, Trace
from ._patching import Around, Patch, Seam, around, patch_all, unpatch

# openai and anthropic both say in this header which attempt of a call a request is.
_RETRY_HEADER: Final = b"x-stainless-retry-count"
_TRACE: Final = "trace"

_NO_PHASES: Final = "HTTP requests have no phases, and retries no numbers and no back-off"
_POOLS: Final[tuple[tuple[str, str, type[Trace]], ...]] = (
    ("ConnectionPool", "handle_request", Trace),
    ("AsyncConnectionPool", "handle_async_request", AsyncTrace),
)


class _Asking(Around):
    """A request of a client's on its way through httpcore, and what is answered."""

    __slots__ = ("_attempt", "_make_trace", "_span")

    def __init__(self, span: Span, make_trace: type[Trace], pool: Any, request: Any) -> None:
        super().__init__((pool, request), {})
        self._span = span
        self._make_trace = make_trace
        self._attempt: Attempt | None = None

    def begins(self) -> None:
        """Mark the attempt, number it if it is a retry, and follow it."""
        request = self.args[1]
        _mark(self._span)
        retries = _retries(request.headers)
        host = request.url.host.decode("latin-1")
        self._attempt = attempt = _attempts.begin(
            self._span, host, retries, functools.partial(_is_full, self.args[0])
        )
        request.extensions[_TRACE] = self._make_trace(attempt, request.extensions.get(_TRACE))

    def ends(self, error: BaseException | None) -> None:
        """Note that it raised; its span tells what: whoever made it has seen the same."""
        if self._attempt is not None:
            self._attempt.ended(has_raised=error is not None)

    def gave(self, response: Any) -> None:
        """Note what the response says about trying again."""
        if self._attempt is not None:
            self._attempt.answered(response.status, response.headers)


def _followed(make_trace: type[Trace]) -> Callable[[Any], Any]:
    def enter(pool: Any, request: Any) -> Around | None:
        span = _span_of_request() if is_instrumentation_enabled() else None
        return None if span is None else _Asking(span, make_trace, pool, request)

    return lambda original: around(enter, original)


def _span_of_request() -> Span | None:
    """Return the span of the request that is being made; None if it is of no interest."""
    span = trace.get_current_span()
    is_http = semconv.is_http(getattr(span, "attributes", None) or {})
    if is_http and getattr(span, "kind", None) is SpanKind.CLIENT:
        return span
    # Nobody makes spans of requests, or this trace is not sampled. A call's attempts are counted
    # all the same, and what they wait for is below whatever is current.
    return None if chat.sequence() is None else NonRecordingSpan(span.get_span_context())


def _mark(span: Span) -> None:
    if not span.is_recording():
        return
    span.set_attribute(Attr.STATE, semconv.WORKING)
    span.set_attribute(Attr.CATEGORY, chat.category_of_http())
    _clean_url(span)
    if (run_id := runs.run_id_of()) is not None:
        span.set_attribute(Attr.RUN_ID, run_id)
    _leave_out_messages(span)


def _leave_out_messages(span: Span) -> None:
    # The instrumentation records an exception with its message, which may quote anything: a
    # transport or an authentication of the program's own may put a key there. The type stays.
    itself = weakref.ref(span)  # what the span holds must not hold the span

    def record_exception(exception: BaseException, *_: Any, **__: Any) -> None:
        with guarded("noting what a request raised"):
            if (known := itself()) is not None:
                known.set_attribute(Attr.ERROR_TYPE, outcomes.type_name(exception))

    def set_status_without_words(
        status: Any,
        description: str | None = None,  # noqa: ARG001 - the name that callers use
    ) -> None:
        with guarded("noting how a request ended"):
            if (known := itself()) is not None:
                type(known).set_status(known, getattr(status, "status_code", status))

    # For this one span: there is no switch for it.
    vars(span).update(record_exception=record_exception, set_status=set_status_without_words)


def _clean_url(span: Span) -> None:
    # Some providers take their API key in the query, some people write theirs before the host.
    told = getattr(span, "attributes", None) or {}
    for key in ("http.url", "url.full"):
        url = told.get(key)
        if isinstance(url, str) and ("?" in url or "@" in url or "#" in url):
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            span.set_attribute(key, urlunsplit((parts.scheme, host, parts.path, "", "")))


def _is_full(pool: Any) -> bool:
    """Return whether a request may have to wait for a connection; where nobody says, it may."""
    at_most = getattr(pool, "_max_connections", None)
    return at_most is None or len(pool.connections) >= at_most


def _retries(headers: Collection[tuple[bytes, bytes]]) -> int:
    for key, value in headers:
        if key.lower() == _RETRY_HEADER and value.isdigit():
            return int(value)
    return 0


class _HttpInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Follows a library's requests; makes their spans, too, where it is asked to and nobody does.

    `opentelemetry-instrument` activates what makes the spans by itself, unless it was told not to.
    """

    _library: str
    _needs: str
    _makes_spans: type[Any]
    _patches: tuple[Patch, ...] = ()
    _handlers: tuple[Any, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what `opentelemetry-instrument` checks before it activates this."""
        return (self._needs,)

    def _instrument(self, *, make_spans: bool = False, **kwargs: Any) -> None:
        core = import_module(self._library.replace("httpx", "httpcore"))
        seams = [
            Seam(getattr(core, pool, None), name, _followed(make), _NO_PHASES, ("self", "request"))
            for pool, name, make in _POOLS
        ]
        self._patches = patch_all(core.__name__, seams)
        maker = self._makes_spans()
        if make_spans and not maker.is_instrumented_by_opentelemetry:
            maker.instrument(**kwargs)
            self._handlers = self._current_handlers()

    def _uninstrument(self, **kwargs: Any) -> None:
        unpatch(self._patches)
        ours, self._patches, self._handlers = self._handlers, (), ()
        maker = self._makes_spans()
        if not ours or not maker.is_instrumented_by_opentelemetry:
            return
        if all(a is b for a, b in zip(ours, self._current_handlers(), strict=True)):
            maker.uninstrument()
        else:
            logger.warning(
                "%s was instrumented or wrapped again by somebody else, so it is left as it is",
                self._library,
            )

    def _current_handlers(self) -> tuple[Any, ...]:
        library = import_module(self._library)
        return (
            vars(library.HTTPTransport).get("handle_request"),
            vars(library.AsyncHTTPTransport).get("handle_async_request"),
        )


class HttpxInstrumentor(_HttpInstrumentor):
    """Follows requests through httpx."""

    _library = "httpx"
    _needs = "httpx >= 0.25.2"
    _makes_spans = HTTPXClientInstrumentor


class Httpx2Instrumentor(_HttpInstrumentor):
    """Follows requests through httpx2."""

    _library = "httpx2"
    _needs = "httpx2 >= 2.0"
    _makes_spans = HTTPX2ClientInstrumentor

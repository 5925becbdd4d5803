"""HTTP attempts through httpx and httpx2, by OpenTelemetry's own instrumentation.

Today's OpenAI and Anthropic SDKs use httpx2; what patches only httpx sees none of their requests.
The hooks mark each attempt, number the retries of one logical call and follow its phases.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from opentelemetry.instrumentation.httpx import (
    HTTPX2ClientInstrumentor,
    HTTPXClientInstrumentor,
)
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from opentelemetry.trace import Span

from .. import chat, outcomes, runs, semconv
from .._guard import guarded
from ..semconv import Attr
from . import _attempts
from ._attempts import AsyncTrace, Trace

# openai and anthropic both say in this header which attempt of a call a request is.
_RETRY_HEADER: Final = "x-stainless-retry-count"
_TRACE: Final = "trace"


def mark_request(span: Span, request: Any) -> None:
    """Mark an attempt as work, number it if it is a retry, and follow it: a request hook."""
    with guarded("marking an HTTP request"):
        _mark(span, request, Trace)


async def mark_request_async(span: Span, request: Any) -> None:
    """Mark an attempt of an async client: a request hook."""
    with guarded("marking an HTTP request"):
        _mark(span, request, AsyncTrace)


def mark_response(_: Span, request: Any, response: Any) -> None:
    """Note what an attempt's response says about trying again: a response hook."""
    with guarded("marking an HTTP response"):
        trace = (request.extensions or {}).get(_TRACE)
        if isinstance(trace, Trace):
            trace.attempt.answered(response.status_code, response.headers)


async def mark_response_async(span: Span, request: Any, response: Any) -> None:
    """Note what an async client's response says: a response hook."""
    mark_response(span, request, response)


def _mark(span: Span, request: Any, make_trace: type[Trace]) -> None:
    span.set_attribute(Attr.STATE, semconv.WORKING)
    span.set_attribute(Attr.CATEGORY, chat.category_of_http())
    _clean_url(span)
    if (run_id := runs.run_id_of()) is not None:
        span.set_attribute(Attr.RUN_ID, run_id)
    retries = _header(request.headers, _RETRY_HEADER)
    attempt = _attempts.begin(
        span,
        str(getattr(request.url, "host", "") or ""),
        int(retries) if retries is not None and retries.isdigit() else 0,
    )
    extensions = request.extensions
    if isinstance(extensions, dict):
        extensions[_TRACE] = make_trace(attempt, extensions.get(_TRACE))
    _leave_out_messages(span)


def _leave_out_messages(span: Span) -> None:
    # The instrumentation records an exception with its message, which may quote anything: a
    # transport or an authentication of the program's own may put a key there. The type stays.
    if not span.is_recording():
        return
    set_status = span.set_status

    def record_exception(exception: BaseException, *_: Any, **__: Any) -> None:
        with guarded("noting what a request raised"):
            span.set_attribute(Attr.ERROR_TYPE, outcomes.type_name(exception))

    def set_status_without_words(status: Any, _: str | None = None) -> None:
        with guarded("noting how a request ended"):
            set_status(getattr(status, "status_code", status))

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


def _header(headers: Any, name: str) -> str | None:
    # The hooks see raw pairs of bytes, as they go to the transport.
    pairs = headers.items() if hasattr(headers, "items") else headers or ()
    for key, value in pairs:
        text = key.decode("latin-1") if isinstance(key, bytes) else str(key)
        if text.lower() == name:
            return value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return None


class _Delegating(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    _inner: type[Any]
    _needs: str

    def instrumentation_dependencies(self) -> Collection[str]:
        return (self._needs,)

    def _instrument(self, **kwargs: Any) -> None:
        inner = self._inner()
        if not inner.is_instrumented_by_opentelemetry:
            inner.instrument(
                request_hook=mark_request,
                async_request_hook=mark_request_async,
                response_hook=mark_response,
                async_response_hook=mark_response_async,
                **kwargs,
            )

    def _uninstrument(self, **kwargs: Any) -> None:
        self._inner().uninstrument()


class HttpxInstrumentor(_Delegating):
    """`opentelemetry-instrumentation-httpx` for httpx, with our marks."""

    _inner = HTTPXClientInstrumentor
    _needs = "httpx >= 0.18.0"


class Httpx2Instrumentor(_Delegating):
    """`opentelemetry-instrumentation-httpx` for httpx2, with our marks."""

    _inner = HTTPX2ClientInstrumentor
    _needs = "httpx2 >= 2.0"

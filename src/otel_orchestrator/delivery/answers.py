"""What an OTLP endpoint answers, which OpenTelemetry's exporters keep to themselves.

They say success or failure. But an endpoint may take a request and refuse a part of it
(`partial_success` in the OTLP specification), one that does not serve a signal at all, as Jaeger
does not serve metrics, is not one that is down, and one that is overloaded asks to be sent the same
again later. A time-out or a broken connection says nothing, neither of the request nor of the
endpoint: what is large takes long, and so does what is overloaded. Nor does a page, or a
redirection: no OTLP endpoint answers so, but what is in front of it, or at a wrong address. What
was heard is kept for each thread, until `forget()`. Where an exporter is built otherwise than here
assumed, nothing is heard.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

from .._guard import guarded

_NOT_SERVED: Final = (404, 501)
_LATER: Final = (429, 502, 503)  # of what the OTLP specification calls retryable
_TIMED_OUT: Final = (408, 504)
_LATER_GRPC: Final = (
    "ABORTED",
    "CANCELLED",
    "DATA_LOSS",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
)
_Exporter = TypeVar("_Exporter")


class NoAnswerError(Exception):
    """What came is no answer of an OTLP endpoint."""


class _Heard(threading.local):
    rejected = 0
    is_served = True
    wants_it_later = False
    said_nothing = False


_heard: Final = _Heard()


def forget() -> None:
    """Forget what was heard: a new request begins."""
    _heard.rejected, _heard.is_served = 0, True
    _heard.wants_it_later, _heard.said_nothing = False, False


def rejected() -> int:
    """Return how many spans or points the endpoint refused of what it took."""
    return _heard.rejected


def is_served() -> bool:
    """Return whether the endpoint serves the signal, as far as it said so."""
    return _heard.is_served


def wants_it_later() -> bool:
    """Return whether the endpoint asked for the same again later, by its last answer."""
    return _heard.wants_it_later


def said_nothing() -> bool:
    """Return whether there was no answer, at the last try: none in time, or none of an endpoint."""
    return _heard.said_nothing


def hearing_grpc(kind: type[_Exporter]) -> type[_Exporter]:
    """Return an OTLP/gRPC exporter's class, made to hear."""

    class Hearing(kind):  # type: ignore[valid-type, misc]
        # A property, because the exporter makes its client anew after an outage.
        @property
        def _client(self) -> Any:
            return self.__dict__.get("heard_client")

        @_client.setter
        def _client(self, client: Any) -> None:
            self.__dict__["heard_client"] = None if client is None else _HearingStub(client)

    return Hearing


class _HearingStub:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def Export(self, **request: Any) -> Any:  # noqa: N802 - gRPC's name
        try:
            answer = self._inner.Export(**request)
        except Exception as error:
            with guarded("hearing what an endpoint refuses"):
                _hear_grpc(error)
            raise
        _hear(answer)
        return answer


def _hear_grpc(error: Any) -> None:
    if not hasattr(error, "code"):
        return
    name = error.code().name
    _heard.is_served = name != "UNIMPLEMENTED"
    # Else it says that the message is larger than any that it takes.
    is_exhausted_for_now = name == "RESOURCE_EXHAUSTED" and _says_when(error)
    _heard.wants_it_later = name in _LATER_GRPC or is_exhausted_for_now
    _heard.said_nothing = name == "DEADLINE_EXCEEDED"


def _says_when(error: Any) -> bool:
    return any(
        "retryinfo" in key or b"google.rpc.RetryInfo" in value
        for key, value in error.trailing_metadata() or ()
        if key.endswith("-bin")
    )


def hear_http(exporter: Any, answer_type: Any) -> None:
    """Make an OTLP/HTTP exporter hear; `answer_type` is the message that its endpoint answers."""
    client: Any = getattr(exporter, "_client", None)
    if hasattr(client, "_transport"):
        client._transport = _HearingTransport(client._transport, answer_type)


class _HearingTransport:
    def __init__(self, inner: Any, answer_type: Any) -> None:
        self._inner = inner
        self._answer_type = answer_type

    def request(self, *arguments: Any, **options: Any) -> Any:
        _heard.wants_it_later, _heard.said_nothing = False, True
        result = self._inner.request(*arguments, **options)  # some return the error of no answer
        is_answer = True
        with guarded("hearing what an endpoint answers"):
            status = result.status_code
            is_answer = status is None or not _leads_elsewhere(result)
            _heard.wants_it_later = status in _LATER
            _heard.said_nothing = status is None or status in _TIMED_OUT or not is_answer
            if status in _NOT_SERVED:
                _heard.is_served = False
            elif status == 200 and is_answer:
                self._hear(result.content())
        if not is_answer:  # the exporter would count it as taken
            raise NoAnswerError
        return result

    def _hear(self, content: bytes) -> None:
        answer = self._answer_type()
        try:
            answer.ParseFromString(content)
        except Exception:  # not OTLP, which is the exporter's business
            return
        _hear(answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _leads_elsewhere(result: Any) -> bool:
    """Whether it is a redirection, which is not followed, or a page, such as of a log-in.

    A type alone makes no page: that of HTML is what Flask and Express give to what has none.
    """
    status: int = result.status_code
    if not 200 <= status < 300:
        return 300 <= status < 400
    kind = str(result.headers().get("content-type", "")).lower()
    return kind.startswith("text/html") and bool(result.content().lstrip().startswith(b"<"))


def _hear(answer: Any) -> None:
    with guarded("hearing what an endpoint refuses"):
        said = answer.partial_success
        _heard.rejected += max(
            0, getattr(said, "rejected_spans", 0) or getattr(said, "rejected_data_points", 0)
        )

"""Runs in Jaeger, through its stable API `/api/v3`, which answers in OTLP/JSON.

What may be asked for:

    http://localhost:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736      the address of a trace
    jaeger:4bf92f3577b34da6a3ce929d0e0e4736                            a trace
    jaeger:91c2a8                                                      a run, by its whole id
    jaeger:label=v1          jaeger:service=shop,orchestrator.run.label=v1      every run with that
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import urlopen

from ..analysis.roots import is_root
from ..errors import RunFileError
from ..model import Run
from ..semconv import Attr
from ..urls import JAEGER_URL, is_http_url
from .gathering import runs_in
from .otlp import told_by
from .printable import printable

PREFIX: Final = "jaeger:"
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_ADDRESS: Final = re.compile(r"(https?://.+?)/trace/([0-9a-f]{32})\b")
_KEYS: Final = {"label": Attr.RUN_LABEL, "run": Attr.RUN_ID}
_SERVICE: Final = "service"
_SINCE: Final = timedelta(days=30)
_AT_MOST: Final = 1_500  # what Jaeger's own UI asks for at most
_ANSWER_WITHIN_S: Final = 60.0
_SAID_AT_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a Jaeger: a trace, or the runs that have some attributes.

    Attributes:
        url: of the Jaeger.
        trace_id: of the trace, if that is known.
        service: to look in; None for all.
        attributes: what the run's own span or its resource has to have.
        word: how it was asked for.
    """

    url: str
    trace_id: str | None
    service: str | None
    attributes: Mapping[str, str]
    word: str


def is_jaeger(word: str) -> bool:
    """Whether a word names runs in a Jaeger."""
    return word.startswith(PREFIX) or _ADDRESS.match(word) is not None


def wanted_in(word: str, url: str = JAEGER_URL) -> Wanted:
    """Return what a word asks for.

    Raises:
        RunFileError: it asks for nothing.
    """
    if found := _ADDRESS.match(word):
        return Wanted(found[1], found[2], None, {}, word)
    asked = word.removeprefix(PREFIX)
    if _TRACE_ID.fullmatch(asked):
        return Wanted(url, asked, None, {}, word)
    if "=" not in asked and asked:
        return Wanted(url, None, None, {Attr.RUN_ID: asked}, word)
    pairs = [part.partition("=") for part in asked.split(",")]
    if not all(key.strip() and value.strip() for key, _, value in pairs):
        raise RunFileError(
            f"{word} names no run. Type {PREFIX}TRACE-ID, {PREFIX}RUN-ID or {PREFIX}label=NAME"
        )
    attributes = {_KEYS.get(k.strip(), k.strip()): v.strip() for k, _, v in pairs}
    return Wanted(url, None, attributes.pop(_SERVICE, None), attributes, word)


def runs_in_jaeger(
    wanted: Wanted, progress: Callable[[int], None] | None = None
) -> tuple[Run, ...]:
    """Return the runs that are asked for, oldest first, each once.

    Args:
        wanted: what is asked for.
        progress: called with the bytes that have come so far.

    Raises:
        RunFileError: Jaeger does not answer, or has no such run.
    """
    url = _address(wanted.url)
    if wanted.trace_id is not None:
        documents = _get(f"{url}/api/v3/traces/{wanted.trace_id}?rawTraces=true", progress)
        runs = runs_in(map(told_by, documents))
    else:
        runs = runs_in(
            told_by(document)
            for service in _services(url, wanted.service)
            for document in _get(_search(url, service, wanted.attributes), progress)
        )
        runs = {run_id: run for run_id, run in runs.items() if _has(run, wanted.attributes)}
    if not runs:
        raise RunFileError(f"{_shown(url)} has no run {wanted.word}")
    return tuple(sorted(runs.values(), key=lambda run: (run.start_ns, run.id)))


def _address(url: str) -> str:
    # A user's name urllib takes for a host's.
    if not is_http_url(url) or urlsplit(url).username is not None:
        # Nobody is to see a password.
        raise RunFileError(
            f"{printable(url.rpartition('@')[2])} is no address of a Jaeger."
            " Type --jaeger-url http://HOST:16686"
        )
    return url.rstrip("/")


def _search(url: str, service: str, attributes: Mapping[str, str]) -> str:
    now = datetime.now(UTC)
    asked = {
        "serviceName": service,
        "startTimeMin": (now - _SINCE).isoformat().replace("+00:00", "Z"),
        "startTimeMax": now.isoformat().replace("+00:00", "Z"),
        "attributes": json.dumps(attributes),
        "searchDepth": _AT_MOST,
        "numTraces": _AT_MOST,  # as 2.13 calls it
        "rawTraces": "true",
    }
    # Jaeger 2.13 knows names in snake case only, 2.20 calls those deprecated.
    snake = {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", name): v for name, v in asked.items()}
    return f"{url}/api/v3/traces?" + urlencode(
        {f"query.{name}": value for name, value in {**asked, **snake}.items()}, quote_via=quote
    )


def _services(url: str, service: str | None) -> list[str]:
    if service is not None:
        return [service]
    # Those that spans were sorted into, too: they hold the run's own where that is an agent's, and
    # a service may be called so.
    return [
        str(name)
        for document in _get(f"{url}/api/v3/services", None)
        for name in document.get("services", ())
    ]


def _has(run: Run, attributes: Mapping[str, str]) -> bool:
    """Whether the run itself has them, not merely one of the spans in it."""
    ids = {span.span_id for span in run.spans}
    tops = [span for span in run.spans if is_root(span, ids)]
    own = [run.resource, *(span.attributes for span in tops)]
    return all(
        any(str(found.get(key)) == value for found in own) for key, value in attributes.items()
    )


def _get(url: str, progress: Callable[[int], None] | None) -> Iterator[dict[str, Any]]:
    """Yield the documents of an answer: a large one comes as several, one after the other."""
    where = _shown(url)
    try:
        with urlopen(url, timeout=_ANSWER_WITHIN_S) as answer:
            text = answer.read().decode()
    except HTTPError as error:
        if error.code == 404:
            return
        raise RunFileError(
            f"{where} does not answer as Jaeger does: HTTP {error.code} {_said_in(error)}"
        ) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise RunFileError(
            f"{where} does not answer: {getattr(reason, 'strerror', None) or reason}. Which"
            " Jaeger? Type --jaeger-url http://HOST:16686"
        ) from error
    except UnicodeDecodeError as error:
        raise RunFileError(f"{where} does not answer as Jaeger does: no UTF-8") from error
    except (HTTPException, ValueError) as error:  # such as an answer that ends before its end
        raise RunFileError(
            f"{where} does not answer as Jaeger does: {repr(error)[:_SAID_AT_MOST]}"
        ) from error
    if progress is not None:
        progress(len(text))
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            document, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise RunFileError(f"{where} does not answer as Jaeger does: no JSON") from error
        if isinstance(document, dict):
            found = document.get("result", document)
            yield found if isinstance(found, dict) else {}
        while at < len(text) and text[at].isspace():
            at += 1


def _said_in(error: HTTPError) -> str:
    try:
        return printable(error.read(_SAID_AT_MOST).decode(errors="replace").strip())
    except (OSError, HTTPException):  # torn as well
        return ""


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

"""Close what a killed program left open: its open spans are written once more, with an end.

So they are sent like any other span: `interrupted`, as old as they were at the last sign of life.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import DecodeError, Struct
from opentelemetry.sdk.trace import ReadableSpan

from .._guard import guarded
from ..alive import close_left
from ..semconv import INTERRUPTED, Attr
from .whole import append_whole

_NS: Final = 1e9


def close_dead(folder: Path) -> None:
    """Close the run files of programs that wrote to a folder and were killed."""
    with guarded("closing what a killed program left open"):
        close_left(folder, _close)


def ended_open(span: ReadableSpan, at_ns: int) -> ReadableSpan:
    """Return a span that never ended as one that was interrupted then."""
    start_ns = span.start_time or at_ns
    attributes = {**(span.attributes or {}), **_told(start_ns, at_ns)}
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=start_ns,
        end_time=max(start_ns, at_ns),
        instrumentation_scope=span.instrumentation_scope,
    )


def _told(start_ns: int, at_ns: int) -> dict[str, Any]:
    return {Attr.OUTCOME: INTERRUPTED, Attr.OPEN_AGE: max(0, at_ns - start_ns) / _NS}


# --- in a file: only those lines are decoded whole that hold an open span ---


class _Span(Struct, gc=False):
    spanId: str = ""  # noqa: N815
    startTimeUnixNano: str | int = 0  # noqa: N815
    endTimeUnixNano: str | int = 0  # noqa: N815


class _Scope(Struct, gc=False):
    spans: list[_Span] = []


class _Block(Struct, gc=False):
    scopeSpans: list[_Scope] = []  # noqa: N815


class _Line(Struct, gc=False):
    resourceSpans: list[_Block] = []  # noqa: N815
    runFile: dict[str, Any] = {}  # noqa: N815


_DECODER: Final = msgspec.json.Decoder(_Line)


@dataclass(slots=True)
class _Found:
    """What is open in a run file.

    Attributes:
        noted_at: the offset of the line with its start note, by span.
        last_ns: the last instant that is told.
        is_full: spans were left out, so what looks open may have ended.
        is_torn: the last line has no end.
    """

    noted_at: dict[str, int] = field(default_factory=dict)
    last_ns: int = 0
    is_full: bool = False
    is_torn: bool = False

    def add(self, line: bytes, at: int) -> None:
        try:
            told = _DECODER.decode(line)
        except (DecodeError, ValueError):  # torn, or none of ours
            return
        self.is_full = self.is_full or bool(told.runFile.get("full"))
        for span in (s for b in told.resourceSpans for g in b.scopeSpans for s in g.spans):
            end_ns = _instant(span.endTimeUnixNano)
            self.last_ns = max(self.last_ns, end_ns, _instant(span.startTimeUnixNano))
            if end_ns:
                self.noted_at.pop(span.spanId, None)
            else:
                self.noted_at[span.spanId] = at


def _instant(told: str | int) -> int:
    with suppress(ValueError):
        return int(told)
    with suppress(ValueError, OverflowError):
        return int(float(told))  # what others write; one such must not lose the line
    return 0


def _close(run_file: Path, seen_ns: int) -> None:
    with run_file.open("rb") as file:
        found, at = _Found(), 0
        for line in file:
            found.is_torn = not line.endswith(b"\n")
            if not found.is_torn:
                found.add(line, at)
            at += len(line)
        if not found.noted_at or found.is_full:
            return
        end_ns = max(seen_ns, found.last_ns)
        closing = list(_closing(file, found.noted_at, end_ns))
    lines = [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in closing]
    data = b"".join([b"\n", *lines] if found.is_torn else lines)
    descriptor = os.open(run_file, os.O_WRONLY | os.O_APPEND)
    try:
        if not append_whole(descriptor, data):  # the next one tries again
            raise OSError(28, "No space left on device")
    finally:
        os.close(descriptor)


def _closing(file: Any, noted_at: dict[str, int], end_ns: int) -> Iterator[dict[str, Any]]:
    for at in sorted(set(noted_at.values())):
        file.seek(at)
        document = json.loads(file.readline())
        document.pop("runFile", None)
        for block in document["resourceSpans"]:
            for scope in block.get("scopeSpans", ()):
                scope["spans"] = [
                    _ended(span, end_ns)
                    for span in scope.get("spans", ())
                    if noted_at.get(span.get("spanId")) == at
                ]
        yield document


def _ended(span: dict[str, Any], end_ns: int) -> dict[str, Any]:
    start_ns = _instant(span["startTimeUnixNano"])
    told = _told(start_ns, end_ns)
    kept = [pair for pair in span.get("attributes", ()) if pair.get("key") not in told]
    return {
        **span,
        "endTimeUnixNano": str(max(start_ns, end_ns)),
        "attributes": kept + list(_pairs(told.items())),
    }


def _pairs(attributes: Iterable[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    for key, value in attributes:
        kind = "stringValue" if isinstance(value, str) else "doubleValue"
        yield {"key": key, "value": {kind: value}}

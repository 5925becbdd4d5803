"""Decode lines of OTLP/JSON as nearly all of them are: spans only, each field of its proper type.

That is what run files and Collectors write, and most of what reading costs. A line with anything
else in it is left to `otlp`, which takes what can be taken; a test holds that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Annotated, BinaryIO, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..model import Attributes, Span, Value
from .otlp import IS_ERROR, LARGEST, Told, finite, parent_of, told_in_any, with_lists
from .printable import may_need_signs, printable_attributes, printable_spans

LONGEST: Final = 128 * 2**20
"""Bytes of a line; 500 spans that hold prompts are a tenth of it."""
BUFFERED: Final = 2**20
"""Bytes read at once: with Python's own few KiB, a line is put together out of dozens of pieces."""

# Without `gc`: they live for one line, and there is no way round in them.


class _Value(Struct, gc=False):
    stringValue: str | UnsetType = UNSET  # noqa: N815
    boolValue: bool | UnsetType = UNSET  # noqa: N815
    intValue: str | int | UnsetType = UNSET  # noqa: N815
    doubleValue: float | UnsetType = UNSET  # noqa: N815
    arrayValue: _Array | UnsetType = UNSET  # noqa: N815


class _Array(Struct, gc=False):
    values: list[_Value] = []


class _Pair(Struct, gc=False):
    key: str
    value: _Value


class _Status(Struct, gc=False, frozen=True):
    code: int | str = 0


class _Link(Struct, gc=False):
    spanId: str = ""  # noqa: N815


class _Span(Struct, gc=False):
    traceId: str  # noqa: N815
    spanId: Annotated[str, Meta(min_length=1)]  # noqa: N815
    startTimeUnixNano: str | int  # noqa: N815
    endTimeUnixNano: str | int = 0  # noqa: N815
    parentSpanId: str = ""  # noqa: N815
    name: str = ""
    kind: Annotated[int, Meta(ge=-LARGEST, le=LARGEST)] = 0
    attributes: list[_Pair] = []
    status: _Status = _Status()
    links: list[_Link] = []


class _Scope(Struct, gc=False):
    spans: list[_Span] = []


class _Resource(Struct, gc=False):
    attributes: list[_Pair] = []


class _Block(Struct, gc=False):
    resource: _Resource
    scopeSpans: list[_Scope] = []  # noqa: N815


class _Line(Struct, gc=False):
    resourceSpans: list[_Block]  # noqa: N815
    resourceMetrics: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    runFile: msgspec.Raw | UnsetType = UNSET  # noqa: N815


_DECODER = msgspec.json.Decoder(_Line)


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; an empty one for each that is longer than `LONGEST`."""
    while line := file.readline(LONGEST):
        if len(line) < LONGEST or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(2**20)
        yield b""


def told_in(line: bytes) -> Told | None:
    """Decode a line of JSON; None if it holds no OTLP."""
    try:
        found = _DECODER.decode(line)
        if found.resourceSpans and found.resourceMetrics is UNSET and found.runFile is UNSET:
            blocks = [(_attributes(b.resource.attributes), _spans(b)) for b in found.resourceSpans]
            if may_need_signs(line):
                blocks = [(printable_attributes(a), printable_spans(s)) for a, s in blocks]
            return Told(blocks, [], blocks[0][0])
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    return told_in_any(line)


def _spans(block: _Block) -> list[Span]:
    return [_span(raw) for scope in block.scopeSpans for raw in scope.spans]


def _span(raw: _Span) -> Span:
    start_ns, end_ns = int(raw.startTimeUnixNano), int(raw.endTimeUnixNano) or None
    if not 0 < start_ns <= LARGEST or (end_ns is not None and not -LARGEST <= end_ns <= LARGEST):
        raise ValueError("that is no span")
    if end_ns is not None and end_ns < start_ns:
        end_ns = start_ns
    return Span(
        intern(raw.traceId.lower()),
        raw.spanId.lower(),
        parent_of(raw.parentSpanId),
        intern(raw.name),
        raw.kind,
        start_ns,
        end_ns,
        raw.status.code in IS_ERROR,
        _attributes(raw.attributes),
        tuple([link.spanId.lower() for link in raw.links]) if raw.links else (),
    )


def _attributes(pairs: list[_Pair]) -> Attributes:
    found: dict[str, Value] = {}
    for pair in pairs:
        value = pair.value
        text = value.stringValue
        # Spans have few keys and few texts, again and again: all share one of each.
        found[intern(pair.key)] = _other(value) if text is UNSET else intern(text)
    return with_lists(found)


def _other(value: _Value) -> Value:
    if value.boolValue is not UNSET:
        return value.boolValue
    if value.intValue is not UNSET:
        number = int(value.intValue)
        if not -LARGEST <= number <= LARGEST:
            raise ValueError("that is too large")
        return number
    if value.doubleValue is not UNSET:
        return finite(value.doubleValue)
    if value.arrayValue is not UNSET:
        return tuple([_within(inner) for inner in value.arrayValue.values])
    return None


def _within(value: _Value) -> Value:
    if value.arrayValue is not UNSET:
        raise ValueError("an array in an array")  # there may be very many
    text = value.stringValue
    return _other(value) if text is UNSET else intern(text)

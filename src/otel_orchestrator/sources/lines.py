"""Decode lines of OTLP/JSON as nearly all of them are: spans only, each field of its proper type.

That is what run files and Collectors write, and most of what reading costs. A line with anything
else in it is left to `otlp`, which takes what can be taken; a test holds that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Annotated, Any, BinaryIO, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..model import Attributes, Span, Value
from .otlp import IS_ERROR, LARGEST, Told, finite, told_in_any, with_lists
from .printable import may_need_signs, printable_attributes, printable_spans

LONGEST: Final = 128 * 2**20
"""Bytes of a line; 500 spans that hold prompts are a tenth of it."""
BUFFERED: Final = 2**20
"""Bytes read at once: with Python's own few KiB, a line is put together out of dozens of pieces."""

# Without `gc`: they live for one line, and there is no way round in them.


_Key = TypeVar("_Key", bound=str)


class _Value(Struct, gc=False):
    stringValue: str | UnsetType = UNSET  # noqa: N815
    boolValue: bool | UnsetType = UNSET  # noqa: N815
    intValue: str | int | UnsetType = UNSET  # noqa: N815
    doubleValue: float | UnsetType = UNSET  # noqa: N815
    arrayValue: _Array | UnsetType = UNSET  # noqa: N815


class _Array(Struct, gc=False):
    values: list[_Value] = []


class _Pair(Struct, Generic[_Key], gc=False):
    key: _Key
    value: _Value


class _Status(Struct, gc=False, frozen=True):
    code: int | str = 0


class _Link(Struct, gc=False):
    spanId: str = ""  # noqa: N815


class _Span(Struct, Generic[_Key], gc=False):
    traceId: str  # noqa: N815
    spanId: Annotated[str, Meta(min_length=1)]  # noqa: N815
    startTimeUnixNano: str | int  # noqa: N815
    endTimeUnixNano: str | int = 0  # noqa: N815
    parentSpanId: str = ""  # noqa: N815
    name: str = ""
    kind: Annotated[int, Meta(ge=-LARGEST, le=LARGEST)] = 0
    attributes: list[_Pair[_Key]] = []
    status: _Status = _Status()
    links: list[_Link] = []


class _Scope(Struct, Generic[_Key], gc=False):
    spans: list[_Span[_Key]] = []


class _Resource(Struct, Generic[_Key], gc=False):
    attributes: list[_Pair[_Key]] = []


class _Block(Struct, Generic[_Key], gc=False):
    resource: _Resource[_Key]
    scopeSpans: list[_Scope[_Key]] = []  # noqa: N815


class _Line(Struct, Generic[_Key], gc=False):
    resourceSpans: list[_Block[_Key]]  # noqa: N815
    resourceMetrics: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    runFile: msgspec.Raw | UnsetType = UNSET  # noqa: N815

    def pairs(self) -> Iterator[_Pair[_Key]]:
        for block in self.resourceSpans:
            yield from block.resource.attributes
            for scope in block.scopeSpans:
                for span in scope.spans:
                    yield from span.attributes


class _Decoder:
    """Decode lines, with one and the same string for a key: spans have few, again and again.

    Of what msgspec is told that there may be, it makes no strings. So it is told of each key that
    came so far, and a line with another one is decoded once more.
    """

    _AT_MOST: Final = 500

    def __init__(self) -> None:
        self._keys: frozenset[str] = frozenset()
        self._any_key = msgspec.json.Decoder(_Line[str])
        self._these_keys = self._any_key

    def decode(self, line: bytes) -> _Line[str]:
        if self._keys:
            try:
                return self._these_keys.decode(line)
            except msgspec.ValidationError:
                pass
        found = self._any_key.decode(line)
        for pair in found.pairs():
            pair.key = intern(pair.key)
        keys = self._keys.union(pair.key for pair in found.pairs())
        if len(self._keys) < len(keys) <= self._AT_MOST:
            these: Any = Literal[tuple(keys)]
            self._these_keys, self._keys = msgspec.json.Decoder(_Line[these]), keys
        return found


_DECODER: Final = _Decoder()


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


def _spans(block: _Block[str]) -> list[Span]:
    found = []
    for scope in block.scopeSpans:
        for raw in scope.spans:
            start_ns, end_ns = int(raw.startTimeUnixNano), int(raw.endTimeUnixNano) or None
            if not 0 < start_ns <= LARGEST:
                raise ValueError("that is no span")
            if end_ns is not None and not start_ns <= end_ns <= LARGEST:
                if not -LARGEST <= end_ns < start_ns:
                    raise ValueError("that is no span")
                end_ns = start_ns
            span = Span(
                intern(raw.traceId.lower()),
                raw.spanId.lower(),
                raw.parentSpanId.lower() if raw.parentSpanId.strip("0") else None,
                intern(raw.name),
                raw.kind,
                start_ns,
                end_ns,
                raw.status.code in IS_ERROR,
                _attributes(raw.attributes),
                tuple([link.spanId.lower() for link in raw.links]) if raw.links else (),
            )
            found.append(span)
    return found


def _attributes(pairs: list[_Pair[str]]) -> Attributes:
    found: dict[str, Value] = {}
    for pair in pairs:
        value = pair.value
        # Spans have few texts, again and again: all share one of each.
        if (text := value.stringValue) is not UNSET:
            found[pair.key] = intern(text)
        elif (number := value.intValue) is not UNSET and value.boolValue is UNSET:
            found[pair.key] = number = int(number)
            if not -LARGEST <= number <= LARGEST:
                raise ValueError("that is too large")
        else:
            found[pair.key] = _other(value)
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

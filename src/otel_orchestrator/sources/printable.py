"""Texts of files that may be from anybody: nothing in them that a terminal obeys.

Names end up on terminals, and whoever wrote them may have put escapes there that hide, change or
type something. Where such characters stand, a report shows signs for them, as in `␛[31m`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..model import Attributes, GaugePoint, Span, Value, changed
from ..semconv import Attr

_UNKNOWN: Final = "\ufffd"
_OF_LINES: Final = (ord("\n"), ord("\t"))
_SIGNS: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), _UNKNOWN),
    # What ends a line or a paragraph, for programs that know Unicode.
    **dict.fromkeys((0x2028, 0x2029), _UNKNOWN),
    # What turns the direction of writing round, and halves of characters, which no file can hold.
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], _UNKNOWN),
    **dict.fromkeys(range(0xD800, 0xE000), _UNKNOWN),
}
_SIGNS_IN_TEXTS: Final = {code: sign for code, sign in _SIGNS.items() if code not in _OF_LINES}
_ONE_LINE: Final = (
    "orchestrator.", "gen_ai.request.", "gen_ai.response.", "vcs.",
    Attr.PROVIDER, Attr.WORKFLOW_NAME, Attr.AGENT_NAME, Attr.TOOL_NAME,
    Attr.SERVICE_NAME, Attr.HOST_NAME, Attr.ERROR_TYPE,
)  # fmt: skip
"""How keys begin whose values are names that reports put into lines of their own making: with a
value of several lines, a file could add lines to a report."""


def may_need_signs(line: bytes) -> bool:
    """Return whether a line of JSON may hold such characters; nearly no line does."""
    return b"\\" in line or b"\x7f" in line or not line.isascii()


def printable(name: str) -> str:
    """Return a name, which has one line, with signs for what cannot be printed."""
    return name if name.isprintable() else name.translate(_SIGNS)


def printable_spans(spans: Sequence[Span]) -> list[Span]:
    """Return spans, nothing in whose texts does anything."""
    return [span if _is_printable(span) else _printable_span(span) for span in spans]


def printable_points(points: Sequence[GaugePoint]) -> list[GaugePoint]:
    """Return points of gauges, nothing in whose texts does anything."""
    return [
        replace(p, name=printable(p.name), attributes=printable_attributes(p.attributes))
        for p in points
    ]


def printable_attributes(attributes: Attributes) -> Attributes:
    """Return attributes; their values may have several lines, but for those that are names."""
    if all(key.isprintable() and _is_plain(value) for key, value in attributes.items()):
        return attributes
    return {
        printable(key): _printable_value(
            value, _SIGNS if key.startswith(_ONE_LINE) else _SIGNS_IN_TEXTS
        )
        for key, value in attributes.items()
    }


def _is_plain(value: Value) -> bool:
    return value.isprintable() if isinstance(value, str) else not isinstance(value, tuple)


def _printable_value(value: Value, signs: Mapping[int, str]) -> Value:
    if isinstance(value, str):
        return value if value.isprintable() else value.translate(signs)
    if isinstance(value, tuple):
        return tuple(_printable_value(inner, signs) for inner in value)
    return value


def _is_printable(span: Span) -> bool:
    ids = (span.trace_id, span.span_id, span.parent_id or "", *span.links)
    return (
        span.name.isprintable()
        and all(map(str.isprintable, ids))
        and printable_attributes(span.attributes) is span.attributes
    )


def _printable_span(span: Span) -> Span:
    return changed(
        span,
        trace_id=printable(span.trace_id),
        span_id=printable(span.span_id),
        parent_id=None if span.parent_id is None else printable(span.parent_id),
        name=printable(span.name),
        attributes=printable_attributes(span.attributes),
        links=tuple(map(printable, span.links)),
    )

"""A run as it was recorded: spans and gauge points, in integer nanoseconds, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from sys import intern
from typing import Any, Final

from msgspec import Struct, structs
from msgspec.structs import force_setattr

from .semconv import HTTP, HUMAN, LLM, WAITING, Attr, is_http

Value = str | bool | int | float | tuple[Any, ...] | None
Attributes = Mapping[str, Value]

# Of its own, a class costs as much to look up as the attributes do.
_STATE: Final = Attr.STATE
_CATEGORY: Final = Attr.CATEGORY
_OPEN_AGE: Final = Attr.OPEN_AGE


# No dataclass: there are millions of them, and a frozen one of those takes six times as long to
# make. Without `gc`, because nothing in a span leads back to it.
class Span(Struct, frozen=True, gc=False, array_like=True):
    """One span.

    Attributes:
        trace_id, span_id, parent_id: hexadecimal; a root has no parent.
        name: as recorded.
        kind: the number that OTLP has for it.
        start_ns, end_ns: wall clock; a span that is still open has no end.
        is_error: its status says so.
        attributes: its own, without the resource's.
        links: the span ids it links to.
        state: `working`, `waiting` or `container`.
        category: what kind of work or wait it is. An attempt of an LLM call is marked `llm`, for
            who sees one span at a time; here it is `http`, because the call is what counts.
        operation: the first word of its name.
        never_ended: whether its program was killed, or still runs; then its end, if any, is the
            last sign.

    The last four follow from the others: whatever is given for them is overwritten.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int | None
    is_error: bool = False
    attributes: Attributes = {}
    links: tuple[str, ...] = ()
    state: str | None = None
    category: str | None = None
    operation: str = ""
    never_ended: bool = False

    def __post_init__(self) -> None:
        # Once, not each time: whoever goes over all spans asks for these of each of them. As this
        # is of each of them, too, it calls next to nothing.
        attributes = self.attributes
        state, category = attributes.get(_STATE), attributes.get(_CATEGORY)
        if category == LLM and is_http(attributes):
            category = HTTP
        force_setattr(self, "state", state if state is None else str(state))
        force_setattr(self, "category", category if category is None else str(category))
        force_setattr(self, "operation", _first_word(self.name))
        force_setattr(self, "never_ended", self.end_ns is None or _OPEN_AGE in attributes)

    def text(self, key: str) -> str | None:
        """Return an attribute as text, None where it is missing."""
        value = self.attributes.get(key)
        return None if value is None else str(value)

    @property
    def outcome(self) -> str:
        """How it ended; `open` for a span without an end."""
        if self.end_ns is None:
            return "open"
        return self.text(Attr.OUTCOME) or ("error" if self.is_error else "ok")


def changed(span: Span, **changes: Any) -> Span:
    """Return a span with other values, and with what follows from them.

    msgspec 0.19 does not call `__post_init__` of a struct that it makes out of another.
    """
    made = structs.replace(span, **changes)
    made.__post_init__()
    return made


@dataclass(frozen=True, slots=True)
class GaugePoint:
    """One point of a gauge."""

    name: str
    at_ns: int
    value: float
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that was recorded of one run.

    Attributes:
        id: the run's id, or the name of the process's file.
        spans: by start; each span once.
        points: by time.
        resource: of the program that made it.
        warnings: what could not be read or is missing; every report shows them.
        lost: those of the warnings which say that spans may be missing.
        start_ns: when its first span started; 0 for a run without spans. A `wait human` lies
            between two runs and belongs to the time of neither.
        end_ns: when its last span ended, as far as is known; a `wait human` does not count.
    """

    id: str
    spans: tuple[Span, ...]
    points: tuple[GaugePoint, ...] = ()
    resource: Attributes = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    start_ns: int = field(init=False, repr=False, compare=False)
    end_ns: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once, not each time: whoever goes over all spans asks for each of them.
        counted = [s for s in self.spans if s.category != HUMAN or s.state != WAITING]
        start_ns = min([span.start_ns for span in counted], default=0)
        end_ns = max([span.end_ns or span.start_ns for span in counted], default=0)
        object.__setattr__(self, "start_ns", start_ns)
        object.__setattr__(self, "end_ns", end_ns)

    def end_of(self, span: Span) -> int:
        """When a span ended; the run's end for one that was left open."""
        return self.end_ns if span.end_ns is None else span.end_ns

    def duration_of(self, span: Span) -> int:
        """How long a span took, in nanoseconds."""
        return max(0, self.end_of(span) - span.start_ns)


@lru_cache(maxsize=1024)
def _first_word(name: str) -> str:
    return intern(name.partition(" ")[0])

"""A run as it was recorded: spans and gauge points, in integer nanoseconds, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from msgspec import Struct, structs
from msgspec.structs import force_setattr

from .semconv import HTTP, HUMAN, WAITING, Attr, is_attempt

Value = str | bool | int | float | tuple[Any, ...] | None
Attributes = Mapping[str, Value]


# No dataclass: there are millions of them, and a frozen one of those takes six times as long to
# make. Without `gc`, because nothing in a span leads back to it.
class Span(Struct, frozen=True, gc=False):
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

    The last three follow from the others: whatever is given for them is overwritten.
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

    def __post_init__(self) -> None:
        # Once, not each time: whoever goes over all spans asks for these of each of them.
        category = HTTP if is_attempt(self.attributes) else self.text(Attr.CATEGORY)
        force_setattr(self, "state", self.text(Attr.STATE))
        force_setattr(self, "category", category)
        force_setattr(self, "operation", _first_word(self.name))

    def text(self, key: str) -> str | None:
        """Return an attribute as text, None where it is missing."""
        value = self.attributes.get(key)
        return None if value is None else str(value)

    @property
    def never_ended(self) -> bool:
        """Whether its program was killed, or still runs; then its end, if any, is the last sign."""
        return self.end_ns is None or Attr.OPEN_AGE in self.attributes

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
        starts, ends = list[int](), list[int]()
        for span in self.spans:
            if span.state != WAITING or span.category != HUMAN:
                starts.append(span.start_ns)
                ends.append(span.end_ns or span.start_ns)
        object.__setattr__(self, "start_ns", min(starts, default=0))
        object.__setattr__(self, "end_ns", max(ends, default=0))

    def end_of(self, span: Span) -> int:
        """When a span ended; the run's end for one that was left open."""
        return self.end_ns if span.end_ns is None else span.end_ns

    def duration_of(self, span: Span) -> int:
        """How long a span took, in nanoseconds."""
        return max(0, self.end_of(span) - span.start_ns)


@lru_cache(maxsize=1024)
def _first_word(name: str) -> str:
    return name.partition(" ")[0]

"""The spans of a run as columns: small enough that a page with 20 000 spans opens at once.

Spans come in the order of the tree, parents first; whatever points to a span is its place in that
order. Instants are whole microseconds after the run's first span, cut as Jaeger cuts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ...analysis.tree import Forest
from ...model import Run, Span, Value
from ...semconv import CONTAINER, WAITING, WORKING, Attr
from ..left_out import LONGEST, MESSAGES

_US: Final = 1_000
_STATES: Final = {WORKING: "w", WAITING: "p", CONTAINER: "c"}
_NO_STATE: Final = "-"
_TOLD_ELSEWHERE: Final = {Attr.RUN_ID, Attr.STATE, Attr.CATEGORY, Attr.OUTCOME}
_LEFT_OUT_TEXT: Final = "(recorded; left out of this page)"


class Texts:
    """Texts, each once; whatever uses one has its place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Return where a text stands."""
        return self._places.setdefault(text, len(self._places))

    def all(self) -> list[str]:
        """Return all texts."""
        return list(self._places)


class Places:
    """Where spans and instants stand in a page."""

    def __init__(self, run: Run, forest: Forest) -> None:
        self.spans: Sequence[Span] = [span for span, _ in forest.walk()]
        self._places = {span.span_id: n for n, span in enumerate(self.spans)}
        self._origin_us = run.start_ns // _US

    def of(self, span: Span) -> int:
        """Return the place of a span; -1 for one that is made up."""
        return self._places.get(span.span_id, -1)

    def of_id(self, span_id: str) -> int:
        """Return the place of the span with an id; -1 for one that is not there."""
        return self._places.get(span_id, -1)

    def us(self, at_ns: int) -> int:
        """Return an instant in microseconds after the run's start."""
        return at_ns // _US - self._origin_us


def columns(run: Run, forest: Forest, places: Places) -> dict[str, Any]:
    """Return the columns of all spans, each a list by place."""
    texts, shapes = Texts(), Texts()
    parents = _parents(forest, places)
    spans = places.spans
    starts = [places.us(s.start_ns) for s in spans]
    columns = {
        "name": [texts.place(s.name) for s in spans],
        # How many places before it its parent stands; 0 for a root.
        "parent": [n - parent if parent >= 0 else 0 for n, parent in enumerate(parents)],
        # After its parent's start, in microseconds.
        "start": [
            starts[n] - (starts[parent] if parent >= 0 else 0) for n, parent in enumerate(parents)
        ],
        "took": [max(0, places.us(run.end_of(s)) - starts[n]) for n, s in enumerate(spans)],
        "state": "".join(_STATES.get(s.state or "", _NO_STATE) for s in spans),
        "category": [texts.place(s.category or "") for s in spans],
        "outcome": [texts.place(s.outcome) for s in spans],
        "id": [s.span_id for s in spans],
        "trace": [texts.place(s.trace_id) for s in spans],
        "attributes": [_attributes(s, texts, shapes) for s in spans],
    }
    return {
        "texts": texts.all(),
        "shapes": [[int(key) for key in shape.split()] for shape in shapes.all()],
        "links": [
            [n, *(places.of_id(link) for link in s.links)] for n, s in enumerate(spans) if s.links
        ],
        **columns,
    }


def _parents(forest: Forest, places: Places) -> list[int]:
    parents = [-1] * len(places.spans)
    for n, span in enumerate(places.spans):
        for child in forest.children(span):
            parents[places.of(child)] = n
    return parents


def _attributes(span: Span, texts: Texts, shapes: Texts) -> list[int]:
    """Return the place of the keys that a span has, and the place of each value as text."""
    told = sorted(
        (key, _LEFT_OUT_TEXT if key in MESSAGES else _text(value))
        for key, value in span.attributes.items()
        if key not in _TOLD_ELSEWHERE
    )
    shape = " ".join(str(texts.place(key)) for key, _ in told)
    return [shapes.place(shape), *(texts.place(value) for _, value in told)]


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        text = ", ".join(map(_text, value))
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def table(fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """Return rows whose fields are named once."""
    return {"fields": list(fields), "rows": [list(row) for row in rows]}

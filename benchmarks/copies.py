"""Large runs out of a recorded one: its spans many times over, as further turns of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_A_LINE: Final = 100
"""Spans a line, about as many as the writer puts into one."""
_COUNTED: Final = ("orchestrator.loop.index", "orchestrator.superstep.index")


def write_copies(original: Path, wanted_spans: int, to: Path) -> int:
    """Write a run of at least so many spans, copies of a run one after the other; return how many.

    Each copy has loops, supersteps and tasks of its own.
    """
    recorded = _Recorded(original)
    copies = -(-wanted_spans // len(recorded.spans))
    with to.open("w", encoding="utf-8") as lines:
        for copy in range(copies):
            spans = recorded.copy(copy)
            for at in range(0, len(spans), _A_LINE):
                header = {} if copy or at else {"runFile": {"version": 1}}
                lines.write(recorded.line(spans[at : at + _A_LINE], header))
        lines.write(recorded.line([recorded.root_until(copies)], {}))
    return copies * len(recorded.spans) + 1


class _Recorded:
    """A recorded run: its own span, and all others, which are repeated."""

    def __init__(self, path: Path) -> None:
        documents = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        blocks = [block for d in documents for block in d.get("resourceSpans", ())]
        self._block = blocks[0]
        ended = [span for span in _spans(blocks) if span.get("endTimeUnixNano")]
        self._root = next(s for s in ended if s["name"].startswith("invoke_workflow"))
        self.spans = [s for s in ended if s is not self._root]
        self._start = int(self._root["startTimeUnixNano"])
        self._wall = int(self._root["endTimeUnixNano"]) - self._start
        self._turns = {key: _turns(self.spans, key) for key in _COUNTED}

    def copy(self, number: int) -> list[dict[str, Any]]:
        """Return all spans but the root once more, later."""
        return [self._later(span, number) for span in self.spans]

    def root_until(self, copies: int) -> dict[str, Any]:
        """Return the root, as long as all copies together."""
        return {**self._root, "endTimeUnixNano": str(self._start + copies * self._wall)}

    def line(self, spans: list[dict[str, Any]], header: dict[str, Any]) -> str:
        """Return a line of the run file."""
        scope = {"scope": self._block["scopeSpans"][0]["scope"], "spans": spans}
        block = {"resource": self._block["resource"], "scopeSpans": [scope]}
        return json.dumps({**header, "resourceSpans": [block]}, separators=(",", ":")) + "\n"

    def _later(self, span: dict[str, Any], number: int) -> dict[str, Any]:
        later = {**span, "spanId": self._id(span["spanId"], number)}
        if span.get("parentSpanId"):
            later["parentSpanId"] = self._id(span["parentSpanId"], number)
        for key in ("startTimeUnixNano", "endTimeUnixNano"):
            later[key] = str(int(span[key]) + number * self._wall)
        later["attributes"] = [self._counted_on(pair, number) for pair in span["attributes"]]
        return later

    def _id(self, span_id: str, number: int) -> str:
        if span_id == self._root["spanId"]:
            return span_id
        return f"{int(span_id, 16) ^ (number << 44):016x}"

    def _counted_on(self, pair: dict[str, Any], number: int) -> dict[str, Any]:
        key, value = pair["key"], pair["value"]
        if key in self._turns:
            index = int(value["intValue"]) + number * self._turns[key]
            return {"key": key, "value": {"intValue": str(index)}}
        if key == "orchestrator.task.id":
            return {"key": key, "value": {"stringValue": f"{value['stringValue']}-{number}"}}
        if key == "orchestrator.task.depends_on":
            ids = [f"{v['stringValue']}-{number}" for v in value["arrayValue"].get("values", ())]
            values = [{"stringValue": one} for one in ids]
            return {"key": key, "value": {"arrayValue": {"values": values}}}
        return pair


def _spans(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for block in blocks:
        for scope in block["scopeSpans"]:
            yield from scope["spans"]


def _turns(spans: list[dict[str, Any]], key: str) -> int:
    """Return how many turns there are, of which the first may have any number."""
    return len({number for s in spans if (number := _said(s, key)) is not None})


def _said(span: dict[str, Any], key: str) -> str | None:
    return next((p["value"].get("intValue") for p in span["attributes"] if p["key"] == key), None)

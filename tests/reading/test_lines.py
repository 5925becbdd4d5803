"""Lines that are as they nearly always are, and all others, decode to the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_orchestrator.sources import lines
from otel_orchestrator.sources.otlp import told_by, told_in_any

RELEASED = Path(__file__).parent.parent / "compare/released/run-1.jsonl"

VALUES: list[Any] = [
    {"stringValue": "working"},
    {"stringValue": ""},
    {"boolValue": False},
    {"intValue": "7"},
    {"intValue": -7},
    {"doubleValue": 2},
    {"doubleValue": 0.25},
    {"doubleValue": 1e400},
    {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}, {"arrayValue": {}}]}},
    {"arrayValue": {}},
    {"bytesValue": "AA=="},
    {"kvlistValue": {"values": []}},
    {},
]
KEYS = [
    "orchestrator.state",
    "orchestrator.category",
    "http.method",
    "orchestrator.task.depends_on",
]
# What belongs nowhere: of another type, missing, or not to be read.
ODD: list[Any] = [
    None, True, 1, -1, 2.5, "", "x", "0", "1e3", " 5 ", "١٢", [], {}, [1], {"a": 1},
    10**30, -(10**30), "\ud800", "STATUS_CODE_ERROR", {"stringValue": None}, {"stringValue": 5},
    {"intValue": "x"}, {"intValue": True}, {"doubleValue": "NaN"}, {"stringValue": '["a"]'},
    {"stringValue": "a", "intValue": "1"}, {"values": None},
]  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    def pairs() -> list[dict[str, Any]]:
        count = draw(st.integers(0, 3))
        return [
            {"key": draw(st.sampled_from(KEYS)), "value": draw(st.sampled_from(VALUES))}
            for _ in range(count)
        ]

    def span(n: int) -> dict[str, Any]:
        return {
            "traceId": "AB",
            "spanId": f"{n + 1:x}",
            "parentSpanId": draw(st.sampled_from(["", "0000", "1", "C"])),
            "name": draw(st.sampled_from(["node worker", "chat m"])),
            "kind": draw(st.integers(0, 3)),
            "startTimeUnixNano": draw(st.sampled_from(["5", 5])),
            "endTimeUnixNano": draw(st.sampled_from(["9", 9, "3", "0"])),
            "attributes": pairs(),
            "status": draw(st.sampled_from([{}, {"code": 2}, {"code": "STATUS_CODE_ERROR"}])),
            "links": draw(st.sampled_from([[], [{"spanId": "C"}], [{}]])),
        }

    block = {
        "resource": {"attributes": pairs()},
        "scopeSpans": [
            {"scope": {"name": "x"}, "spans": [span(n) for n in range(draw(st.integers(0, 3)))]}
        ],
    }
    return {"resourceSpans": [block]}


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield everything that a document is made of, as what it is in and where."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for where, inner in items:
        yield document, where
        if isinstance(inner, dict | list):
            yield from _places(inner)


def alike(line: bytes) -> None:
    # 1, 1.0 and True are equal, but not the same: repr tells.
    assert repr(lines.told_in(line)) == repr(told_in_any(line))


@settings(max_examples=300, deadline=None)
@given(document=documents(), data=st.data())
def test_what_is_odd_anywhere_in_a_line_changes_nothing(
    document: dict[str, Any], data: st.DataObject
) -> None:
    alike(json.dumps(document).encode())
    spoilt = deepcopy(document)
    inside, where = data.draw(st.sampled_from(list(_places(spoilt))))
    if data.draw(st.booleans()):
        inside[where] = data.draw(st.sampled_from(ODD))
    else:
        del inside[where]
    alike(json.dumps(spoilt).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b'{"resourceSpans": []}',
        b'{"resourceSpans": null}',
        b'{"resourceMetrics": [], "resourceSpans": [{"resource": {}}]}',
        b'{"runFile": {"version": 1}, "resourceSpans": [{"resource": {}}]}',
        b'{"resourceSpans": [{"resource": {}}]} x',
        b'{"resourceSpans": NaN}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_line_of_spans_is_read_or_not_alike(line: bytes) -> None:
    alike(line)


@pytest.mark.parametrize("number", ["1e400", "-1e400", '"NaN"', '"-Infinity"', "NaN"])
def test_what_is_not_finite_is_left_out_alike(number: str) -> None:
    value = {"doubleValue": "ODD"}
    pairs = [
        {"key": "a", "value": value},
        {"key": "b", "value": {"arrayValue": {"values": [value]}}},
    ]
    span = {"traceId": "a", "spanId": "b", "startTimeUnixNano": "1", "attributes": pairs}
    document = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}
    whole = json.dumps(document).replace('"ODD"', number).encode()
    alike(whole)
    told = lines.told_in(whole)
    assert told is not None
    assert told.blocks[0][1][0].attributes == {"a": None, "b": (None,)}


def test_a_recorded_run_is_decoded_alike_and_no_line_of_it_is_left_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = [json.loads(line) for line in RELEASED.read_bytes().splitlines()]
    spans = [{"resourceSpans": d["resourceSpans"]} for d in recorded if "resourceSpans" in d]
    assert spans
    left: list[bytes] = []
    monkeypatch.setattr(lines, "told_in_any", left.append)
    for document in spans:
        told = lines.told_in(json.dumps(document).encode())
        assert repr(told) == repr(told_by(document))
    assert not left


@pytest.mark.parametrize(("kind", "number"), [("SPAN_KIND_CONSUMER", 5), ("CONSUMER", 0), (5, 5)])
def test_kinds_of_spans_by_their_names(kind: str | int, number: int) -> None:
    """Others write them so, and which span took a message is told by nothing else."""
    span = {"traceId": "ab", "spanId": "1", "startTimeUnixNano": 5, "kind": kind}
    told = lines.told_in(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    )
    assert told is not None
    assert [found.kind for _, spans in told.blocks for found in spans] == [number]


@pytest.mark.parametrize("count", [0, 1, 499, 501, 2_000])
def test_however_many_keys_there_are_spans_share_them(count: int) -> None:
    names = [f"{count}.{n}" for n in range(count)] + ["", 'a"b', "é"]
    pairs = [{"key": name, "value": {"intValue": "1"}} for name in names]
    span = {"traceId": "a", "spanId": "b", "startTimeUnixNano": "1", "attributes": pairs}
    line = json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span] * 2}]}]})
    for _ in range(2):
        alike(line.encode())
        told = lines.told_in(line.encode())
        assert told is not None
        one, other = told.blocks[0][1]
        assert list(map(id, one.attributes)) == list(map(id, other.attributes))

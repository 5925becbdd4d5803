"""Files that were broken on purpose: whatever is in them, every command copes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .reading import check

RELEASED = Path(__file__).resolve().parents[1] / "compare" / "released" / "run-1.jsonl"
LINES = [json.loads(line) for line in RELEASED.read_text().splitlines()]

pytestmark = pytest.mark.timeout(300)

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 10**18, 10**19, 2**63, -(2**63), 10**400, 1e308, -1e308]),
    st.floats(),
    st.sampled_from(
        ["", "0", "-1", "1e5", "NaN", "9" * 30, "9" * 5000, "\x1b[31mred\x1b[0m", "a\nb"]
    ),
    st.sampled_from(
        ["\x1b]0;title\x07", "\u202etxt", "\ud800", "\x00", "../../etc/passwd", "x" * 9000]
    ),
    st.text(max_size=20),
    st.sampled_from([[], {}, [[]], [{}], {"values": 3}, [None, 1, "x"]]),
)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places_in(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += places_in(item, (*path, i))
    return found


PLACES = [(n, path) for n, line in enumerate(LINES) for path in places_in(line)]


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document, changed in one place."""
    if not path:
        return value
    head, *rest = path
    if isinstance(document, dict):
        return {k: replaced(v, tuple(rest), value) if k == head else v for k, v in document.items()}
    if isinstance(document, list):
        return [replaced(v, tuple(rest), value) if i == head else v for i, v in enumerate(document)]
    return document


changes = st.lists(st.tuples(st.sampled_from(PLACES), junk), min_size=1, max_size=6)


@given(changes)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_values_that_make_no_sense(tmp_path: Path, changes: list[tuple[Any, Any]]) -> None:
    documents = list(LINES)
    for (number, path), value in changes:
        documents[number] = replaced(documents[number], path, value)
    lines = [json.dumps(document).encode("utf-8", "surrogatepass") for document in documents]
    written(tmp_path, b"\n".join(lines) + b"\n")


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=30)), min_size=1, max_size=8))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_bytes_that_were_torn(tmp_path: Path, cuts: list[tuple[float, bytes]]) -> None:
    data = RELEASED.read_bytes()
    for where, put in cuts:
        at = int(where * len(data))
        data = data[:at] + put + data[at + len(put) * 2 :]
    written(tmp_path, data)


@given(st.binary(max_size=200))
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_bytes_that_are_nothing(tmp_path: Path, data: bytes) -> None:
    written(tmp_path, data)


def written(folder: Path, data: bytes) -> None:
    """Write a hostile file, and have every command read it."""
    runs = folder / "runs"
    runs.mkdir(exist_ok=True)
    file = runs / "20261128-101010-abcdef.jsonl"
    file.write_bytes(data)
    check(file, RELEASED)

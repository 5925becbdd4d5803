"""Files that were made to do harm, one trick each."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .reading import check, said_by
from .test_fuzz import LINES, RELEASED, written

pytestmark = pytest.mark.timeout(300)

TEXTS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07\x9b2J",
    "\x1b]8;;http://127.0.0.1:9/\x1b\\link\x1b]8;;\x1b\\",
    "line\nline\r\x00\x08\x7f",
    "\u202eright to left\u2066",
    "\ud800 half",
    "[bold red]markup[/] [link=http://127.0.0.1:9]x[/link] [/nothing]",
    "../../../etc/passwd",
    "__proto__",
    "x" * 20_000,
    "",
)
NUMBERS: tuple[Any, ...] = (
    0, -1, 2**63, 10**30, -(10**30), 10**400, "9" * 5_000, float("nan"), float("inf"), "NaN", 1e300,
    True, None, [], {},
)  # fmt: skip


def changed(value: Any, change: Callable[[str, Any], Any], key: str = "") -> Any:
    """Return a document, each of its plain values changed by its key and value."""
    if isinstance(value, dict):
        return {k: changed(v, change, k) for k, v in value.items()}
    if isinstance(value, list):
        return [changed(v, change, key) for v in value]
    return change(key, value)


def lines_of(documents: list[Any]) -> bytes:
    return b"".join(json.dumps(d).encode() + b"\n" for d in documents)


@pytest.mark.parametrize("text", TEXTS, ids=lambda t: repr(t)[:20])
@pytest.mark.parametrize("keys", [("name",), ("stringValue",), ("key",), ("spanId", "traceId")])
def test_texts_that_terminals_obey(tmp_path: Path, text: str, keys: tuple[str, ...]) -> None:
    def change(key: str, value: Any) -> Any:
        is_state = value in ("working", "waiting", "container")
        return f"{value}{text}" if key in keys and not is_state else value

    written(tmp_path, lines_of(changed(LINES, change)))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: repr(n)[:20])
@pytest.mark.parametrize(
    "keys",
    [
        ("startTimeUnixNano",),
        ("endTimeUnixNano",),
        ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano"),
        ("timeUnixNano", "asInt", "asDouble"),
        ("intValue", "doubleValue"),
        ("kind", "code", "flags"),
        ("stringValue", "boolValue"),
        ("name", "key"),
    ],
    ids=lambda k: "+".join(k)[:20],
)
def test_numbers_that_make_no_sense(tmp_path: Path, number: Any, keys: tuple[str, ...]) -> None:
    def of_all(key: str, value: Any) -> Any:
        return number if key in keys else value

    written(tmp_path, lines_of(changed(LINES, of_all)))
    count = iter(range(10**9))

    def of_some(key: str, value: Any) -> Any:
        return number if key in keys and next(count) % 7 == 3 else value

    written(tmp_path, lines_of(changed(LINES, of_some)))


def span(number: int, parent: int | None, name: str = "node x", **more: Any) -> dict[str, Any]:
    start = 1_795_500_000_000_000_000 + number
    ids = {"traceId": "0" * 31 + "1", "spanId": f"{number:016x}"}
    if parent is not None:
        ids["parentSpanId"] = f"{parent:016x}"
    times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 10**9)}
    attributes = [
        {"key": "orchestrator.run.id", "value": {"stringValue": "r"}},
        {"key": "orchestrator.state", "value": {"stringValue": "working"}},
        {"key": "orchestrator.category", "value": {"stringValue": "compute"}},
    ]
    return {**ids, "name": name, "kind": 1, **times, "attributes": attributes, **more}


def document(spans: list[dict[str, Any]]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]}
    return {
        "resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": spans}]}]
    }


SHAPES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "a span is its own parent": lambda: [span(1, None, "invoke_workflow r"), span(2, 2)],
    "two are each other's parents": lambda: [span(1, None), span(2, 3), span(3, 2)],
    "only a circle": lambda: [span(n, n % 5 + 1) for n in range(1, 6)],
    "one id, five spans": lambda: [span(1, None), *(span(7, 1, f"node {n}") for n in range(5))],
    "one id, each other's parents": lambda: [span(1, 1), span(1, None), span(1, 2)],
    "5 000 deep": lambda: [span(n, n - 1 or None) for n in range(1, 5_001)],
    "5 000 wide": lambda: [span(n, 1 if n > 1 else None, f"node {n}") for n in range(1, 5_001)],
    "ends before it starts": lambda: [span(1, None, endTimeUnixNano="5")],
    "year 1970 to 2554": lambda: [
        span(1, None, startTimeUnixNano="1"),
        span(2, 1, endTimeUnixNano=str(2**64 - 1)),
    ],
    "no spans": list,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_no_run_has(tmp_path: Path, shape: str) -> None:
    written(tmp_path, lines_of([document(SHAPES[shape]())]))


def _deep(depth: int) -> Iterator[bytes]:
    yield b"[" * depth
    yield b'{"resourceSpans":' + b"[" * depth
    yield b'{"a":' * depth
    nested = b'{"arrayValue":{"values":[' * depth + b"]}}" * depth
    attribute = b'{"key":"a","value":' + nested + b"}"
    yield lines_of([document([span(1, None)])]).replace(
        b'"attributes":[', b'"attributes":[' + attribute + b","
    )


@pytest.mark.parametrize("depth", [50, 5_000, 200_000])
def test_nesting(tmp_path: Path, depth: int) -> None:
    for data in _deep(depth):
        written(tmp_path, data + b"\n" + RELEASED.read_bytes())


def test_a_path_that_is_a_trick(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "folder.jsonl").mkdir()
    (folder / "dangling.jsonl").symlink_to(tmp_path / "nothing")
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    (folder / "device.jsonl").symlink_to("/dev/null")
    (folder / "\x1b[31mred.jsonl").write_bytes(RELEASED.read_bytes())
    os.mkfifo(folder / "pipe.jsonl")
    for path in sorted(folder.iterdir()):
        check(path, RELEASED)


# What a command may take of memory, with what Python and its libraries map.
_ROOM = 3 * 2**29


def bounded(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))

    return subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", *words, str(file)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("megabytes", "said"), [(100, ""), (200, "line 1 is longer than 128 MiB")])
def test_a_very_long_line(tmp_path: Path, megabytes: int, said: str) -> None:
    file = tmp_path / "long.jsonl"
    with file.open("wb") as lines:
        lines.write(b'{"resourceSpans":[{"x":"' + b"y" * megabytes * 2**20 + b'"}]}\n')
        lines.write(RELEASED.read_bytes())
    for words in (["report"], ["watch", "--once"]):
        done = bounded(file, *words)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout or words == ["watch", "--once"]


@pytest.mark.parametrize(
    "words", [("report",), ("watch", "--once"), ("compare", str(RELEASED), "--with")]
)
def test_gigabytes_without_the_end_of_a_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "endless.jsonl"
    with file.open("wb") as data:
        data.truncate(2 * 2**30)  # a hole: it takes no room on the disk
    done = bounded(file, *words)
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_million_lines_of_nothing_are_one_warning(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"x\n" * 10**6 + RELEASED.read_bytes())
    said = said_by(("report", "FILE"), file, RELEASED)
    assert said.code == 0
    assert "999980 warnings more" in said.out


def test_it_is_said_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"\x00\x01\x02\n" * 5)
    said = said_by(("report", "FILE"), file, RELEASED)
    assert said.code == 2
    assert "not a run file" in said.err

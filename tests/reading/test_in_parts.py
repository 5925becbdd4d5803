"""Large runs are looked at in parts, by several processes: what is told of them is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.parts import Part, RunInParts, part_of
from otel_orchestrator.analysis.study import study, study_of_parts
from otel_orchestrator.analysis.tree import Forest, forest_of
from otel_orchestrator.model import Run, Span, changed
from otel_orchestrator.reports import json as json_report
from otel_orchestrator.reports import text
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.in_parts import read_in_parts
from otel_orchestrator.sources.runfiles import find_run, read_run

from .generated import Spans, orchestrators
from .made import Control, Task, made

Document = dict[str, Any]


@settings(deadline=None)
@given(orchestrators(), st.integers(1, 3))
def test_what_is_told_of_the_parts_is_what_is_told_of_the_whole(run: Run, loops: int) -> None:
    run = _recorded_to_its_end(run)
    whole = _in_parts(run, loops)
    told = study_of_parts(whole)
    has_workers = any(s.is_of_workers for s in outline_of(run).supersteps)
    if told is None:
        assert not has_workers
    else:
        assert json_report.render(told) == json_report.render(study(run))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_so_are_its_estimates_and_its_verdict(
    lengths: list[int], slots: int, data: st.DataObject
) -> None:
    tasks = [
        Task(chr(97 + n), llm=length, git=data.draw(st.integers(0, 9)), compute=1,
             needs=data.draw(st.sampled_from(["", *(chr(97 + m) for m in range(n))])),
             calls=data.draw(st.integers(1, 3)))
        for n, length in enumerate(lengths)
    ]  # fmt: skip
    run = made(tasks, slots, strategist=Control(llm=2, merge=1))
    told = study_of_parts(_in_parts(run, 1))
    assert told is not None
    assert json_report.render(told) == json_report.render(study(run))


def _recorded_to_its_end(run: Run) -> Run:
    """Leave nothing open, and let every loop end where the next one starts."""
    [root] = (s for s in run.spans if s.parent_id is None)
    loops = [s for s in run.spans if s.operation == "loop" and s.parent_id == root.span_id]
    ends = {a.span_id: b.start_ns for a, b in pairwise(loops)}
    turns = [s for s in run.spans if s.parent_id in {loop.span_id for loop in loops}]
    last_ns = max(s.end_ns or s.start_ns for s in turns)
    ends |= {loops[-1].span_id: last_ns, root.span_id: last_ns}
    spans = []
    for span in run.spans:
        end_ns = ends.get(span.span_id, span.start_ns if span.end_ns is None else span.end_ns)
        said = {key: value for key, value in span.attributes.items() if key != Attr.OPEN_AGE}
        spans.append(changed(span, end_ns=end_ns, attributes=said))
    return Run(run.id, tuple(spans))


def _in_parts(run: Run, loops_each: int) -> RunInParts:
    forest = forest_of(run.spans)
    [root] = forest.roots
    loops = [s for s in forest.children(root) if s.operation == "loop"]
    groups = [loops[n : n + loops_each] for n in range(0, len(loops), loops_each)]
    rest = [s for s in forest.children(root) if s.operation != "loop"]
    parts = [_part(run, forest, root, group) for group in (*groups, rest)]
    wire = msgpack.encode(parts[::-1])
    return RunInParts(run, root, tuple(msgpack.decode(wire, type=list[Part])))


def _part(run: Run, forest: Forest, root: Span, tops: list[Span]) -> Part:
    below = {**forest.below, root.span_id: tuple(tops)}
    ids = {span.span_id for span, _ in Forest(tuple(tops), forest.below, forest.by_id).walk()}
    is_rest = not any(top.operation == "loop" for top in tops)
    spans = [s for s in run.spans if s.span_id in ids or (is_rest and s is root)]
    return part_of(Run("", tuple(spans)), Forest((root,), below, forest.by_id))


def _told_alike(run: Run, loops_each: int = 1) -> bool:
    told = study_of_parts(_in_parts(run, loops_each))
    assert told is not None
    return json_report.render(told) == json_report.render(study(run))


def test_short_waits_of_the_run_itself_count() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 90, None, wait__short__checkpoint=5e-9)
    for start in (10, 50):
        _turn(spans, root, start, "worker", task__id=f"{start}")
    assert _told_alike(spans.run())


def test_a_node_may_hand_tasks_to_workers_itself() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 90, None)
    for start in (10, 50):
        node = _turn(spans, root, start, "director")
        for n in range(2):
            task = spans.add("task w", start + n, start + 20, node, task__id=f"{start}{n}")
            spans.add("node w", start + n, start + 15 + n, task, "working", "compute")
    assert _told_alike(spans.run())


def test_who_works_for_a_supervisor_is_not_told_from_a_part() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 200, None)
    for start, agent in ((0, "math"), (50, "web")):
        loop = spans.add("loop", start, start + 40, root, loop__head="boss")
        for n, name in enumerate(("boss", agent)):
            step = spans.add("superstep", start + 20 * n, start + 20 * n + 20, loop)
            node = spans.add(f"node {name}", start + 20 * n, start + 20 * n + 20, step, "working")
            if n:
                spans.add("invoke_agent a", start + 20 * n, start + 20 * n + 9, node)
    _turn(spans, root, 100, "worker", task__id="a")
    assert _told_alike(spans.run(), loops_each=2)


def test_loops_that_overlap_take_all_spans() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 90, None)
    for start in (10, 30):
        _turn(spans, root, start, "worker", task__id=f"{start}")
    assert study_of_parts(_in_parts(spans.run(), 1)) is None


def _turn(spans: Spans, root: Span, start: int, name: str, **said: Any) -> Span:
    """Add a loop of one superstep with one node, and return that."""
    loop = spans.add("loop", start, start + 30, root, loop__head="boss")
    step = spans.add("superstep", start, start + 30, loop)
    return spans.add(f"node {name}", start, start + 25, step, "working", "compute", **said)


PIECE = 20_000


def _plan() -> Run:
    """A dozen loops of two workers each, some ten thousand bytes of file each."""
    tasks = [
        Task(
            chr(97 + n), needs=chr(96 + n // 2 * 2) if n > 1 else "", llm=3 + n % 5, git=2, calls=2
        )
        for n in range(26)
    ]
    return made(tasks, 2, strategist=Control(llm=2, merge=1))


@pytest.fixture
def lines() -> list[str]:
    """A run file of one process, its spans written when they ended, two in a line."""
    inner_first = reversed(_plan().spans)
    spans = sorted(inner_first, key=lambda s: s.end_ns or 0)
    blocks = [_line(spans[n : n + 2]) for n in range(0, len(spans), 2)]
    blocks[0] = {"runFile": {"version": 1}, **blocks[0]}
    return [json.dumps(block) + "\n" for block in blocks]


def _line(spans: list[Span], pid: int = 1) -> Document:
    resource = {"attributes": [_pair("process.pid", pid), _pair("service.name", "svc")]}
    return {
        "resourceSpans": [
            {"resource": resource, "scopeSpans": [{"spans": list(map(_otlp, spans))}]}
        ]
    }


def _otlp(span: Span) -> Document:
    return {
        "traceId": "t" * 32,
        "spanId": f"a{span.span_id}",  # an id of zeros only is none
        "parentSpanId": f"a{span.parent_id}" if span.parent_id else "",
        "name": span.name,
        "startTimeUnixNano": str(span.start_ns + 1),
        "endTimeUnixNano": str((span.end_ns or 0) + 1),
        "attributes": [_pair(key, value) for key, value in span.attributes.items()],
    }


def _pair(key: str, value: Any) -> Document:
    if isinstance(value, tuple):
        return {
            "key": key,
            "value": {"arrayValue": {"values": [{"stringValue": v} for v in value]}},
        }
    kind = {str: "stringValue", int: "intValue", float: "doubleValue"}[type(value)]
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def _read(folder: Path, lines: list[str]) -> tuple[RunInParts | None, Run]:
    path = folder / "run.jsonl"
    path.write_text("".join(lines))
    file = find_run(str(path), folder)
    return read_in_parts(file, bytes_each=PIECE), read_run(file)


def test_a_file_is_read_in_pieces_that_are_cut_anywhere(tmp_path: Path, lines: list[str]) -> None:
    parts, run = _read(tmp_path, lines)
    assert parts is not None
    assert len(parts.parts) > 3
    told, whole = study_of_parts(parts), study(run)
    assert told is not None
    assert len(told.run.spans) < len(run.spans)
    assert _without_spans(told) == _without_spans(whole)


def test_of_the_spans_the_first_are_shown(tmp_path: Path, lines: list[str]) -> None:
    parts, run = _read(tmp_path, lines)
    assert parts is not None
    told = study_of_parts(parts)
    assert told is not None
    *shown, rest = _drawn(text.render(told, width=100, colour=False))
    assert shown == _drawn(text.render(study(run), width=100, colour=False))[: len(shown)]
    assert rest == f"… and {len(run.spans) - len(shown)} more spans: --all shows them"


def _without_spans(told: Any) -> str:
    return text.render(told, width=100, colour=False, spans=False, explain=True)


def _drawn(report: str) -> list[str]:
    _, _, tree = report.partition("The run, span by span\n")
    return [line.lstrip("│├└─ ") for line in tree.partition("\n\n")[0].splitlines()]


def _orphan(lines: list[str]) -> Iterator[str]:
    """One whose parent is nowhere."""
    yield from lines[:-2]
    yield json.dumps(_line([Span("t", "beef", "dead", "work", 1, 5, 6)])) + "\n"
    yield from lines[-2:]


def _other_process(lines: list[str]) -> Iterator[str]:
    """A process that works for the run."""
    *_, node = (s for s in _plan().spans if s.operation == "node")
    work = Span("t", "beef", node.span_id, "work", 1, node.start_ns, node.start_ns + 1)
    yield from lines[:-2]
    yield json.dumps(_line([work], 2)) + "\n"
    yield from lines[-2:]


def _killed(lines: list[str]) -> Iterator[str]:
    """The run's own span did not end."""
    yield from (line for line in lines if "invoke_workflow" not in line)


def _torn(lines: list[str]) -> Iterator[str]:
    yield from lines
    yield lines[-1][:50]


def _unreadable(lines: list[str]) -> Iterator[str]:
    yield from lines[:40]
    yield "{}\n"
    yield from lines[40:]


def _twice(lines: list[str]) -> Iterator[str]:
    """Two files, one after the other, as `cat` puts them."""
    yield from lines
    yield from lines


def _full(lines: list[str]) -> Iterator[str]:
    yield from lines
    yield '{"runFile":{"version":1,"full":true},"resourceSpans":[]}\n'


def _open(lines: list[str]) -> Iterator[str]:
    """A note of a span that started, and never ended."""
    yield from lines[:5]
    loop = next(s for s in _plan().spans if s.operation == "loop")
    note = _line([Span("t", "beef", loop.span_id, "work", 1, 5, None)])
    note["resourceSpans"][0]["scopeSpans"][0]["spans"][0].pop("endTimeUnixNano")
    yield json.dumps(note) + "\n"
    yield from lines[5:]


def _other_first_line(lines: list[str]) -> Iterator[str]:
    yield from lines[1:2]
    yield from lines


@pytest.mark.parametrize(
    "unusual",
    [_orphan, _other_process, _killed, _torn, _unreadable, _twice, _full, _open, _other_first_line],
)
def test_what_is_unusual_is_read_as_a_whole(
    tmp_path: Path, lines: list[str], unusual: Callable[[list[str]], Iterator[str]]
) -> None:
    parts, _ = _read(tmp_path, list(unusual(lines)))
    assert parts is None or study_of_parts(parts) is None


def test_a_span_that_comes_twice_counts_once(tmp_path: Path, lines: list[str]) -> None:
    parts, run = _read(tmp_path, [*lines[:20], lines[19], *lines[20:]])
    assert parts is not None
    told = study_of_parts(parts)
    assert told is not None
    assert told.summary.spans == len(run.spans) == len(_plan().spans)


def test_turns_that_are_missing_are_told(tmp_path: Path, lines: list[str]) -> None:
    numbered = [_numbered(json.loads(line)) for line in lines]
    parts, run = _read(tmp_path, [json.dumps(line) + "\n" for line in numbered])
    assert parts is not None
    assert parts.run.lost == run.lost
    assert parts.run.lost[0].startswith("supersteps are missing: number")


def _numbered(line: Document) -> Document:
    """Number the supersteps, but leave one number out."""
    for block in line["resourceSpans"]:
        for span in block["scopeSpans"][0]["spans"]:
            if span["name"] == "superstep":
                number = int(span["spanId"], 16)
                span["attributes"].append(_pair("orchestrator.superstep.index", number))
    return line


def test_small_files_are_not_worth_it(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "run.jsonl").write_text("".join(lines))
    assert read_in_parts(find_run(None, tmp_path)) is None


def test_a_file_that_was_removed_is_none(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("".join(lines))
    file = find_run(None, tmp_path)
    path.unlink()
    assert read_in_parts(file, bytes_each=PIECE) is None


def test_the_report_of_a_large_file_is_made_in_parts(tmp_path: Path, lines: list[str]) -> None:
    padding = "x" * (40 * 2**20 // len(lines))
    large = [line.replace('"svc"', f'"svc"}}}},{{"key":"p","value":{{"stringValue":"{padding}"')
             for line in lines]  # fmt: skip
    path = tmp_path / "run.jsonl"
    path.write_text("".join(large))
    file = find_run(str(path), tmp_path)
    assert path.stat().st_size > 2**25
    assert read_in_parts(file) is not None
    shown = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "report", str(path)],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"},
    ).stdout  # fmt: skip
    whole = text.render(study(read_run(file)), width=100, colour=False, jaeger_url=None)
    assert shown.partition("The run, span")[0] == whole.partition("The run, span")[0]

"""Run files are read back as they were written, and hostile ones with a warning, never a crash."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.errors import RunFileError
from otel_orchestrator.model import Span
from otel_orchestrator.sources.found import find, read, read_one
from otel_orchestrator.sources.otlp import points_of, resource_of, spans_of
from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from .runs import RUN_ID, Writer, several, write_example
from .test_report import cli


def outline(spans: tuple[Span, ...]) -> str:
    return "\n".join(f"{'  ' * depth}{span.name}" for span, depth in forest_of(spans).walk())


def test_a_run_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_example(tmp_path)
    run = read_run(find_run(None, tmp_path))
    assert run.id == RUN_ID
    assert run.warnings == ()
    assert len(run.spans) == 20
    assert outline(run.spans).splitlines()[:5] == [
        "invoke_workflow orchestrator",
        "  loop",
        "    superstep",
        "      node director",
        "        chat gpt-4o",
    ]
    assert run.resource["orchestrator.run.label"] == "before"
    assert [p.value for p in run.points if p.name == "orchestrator.queue.depth"] == [
        2, 0, 1, 0, 2, 1, 1, 0, 0,
    ]  # fmt: skip
    failed = next(s for s in run.spans if s.is_error)
    assert (failed.name, failed.outcome) == ("node director", "error")


def test_every_line_is_otlp_and_the_first_names_the_version(tmp_path: Path) -> None:
    lines = write_example(tmp_path).read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    assert documents[0]["runFile"] == {"version": 1}
    assert all({"resourceSpans", "resourceMetrics"} & d.keys() for d in documents)


@pytest.mark.parametrize("name", ["invoke_workflow w", "invoke_agent w"])
def test_a_span_that_was_left_open_is_there_and_said(tmp_path: Path, name: str) -> None:
    writer = Writer(tmp_path)
    with writer.span(name, 0, None, "container"):
        with writer.span("node n", 1, 5):
            pass
        writer._processor.force_flush()
    run = read_run(find_run(None, tmp_path))
    writer.close()
    assert [(s.name, s.outcome) for s in run.spans] == [
        (name, "open"),
        ("node n", "ok"),
    ]
    assert run.warnings == ("1 span has no end: the run is still going on, or it was killed",)
    assert run.duration_of(run.spans[0]) == 5_000_000


def test_a_start_note_gives_way_to_the_end(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    with writer.span("node n", 0, 5):
        writer._processor.force_flush()
    writer.close()
    assert "endTimeUnixNano" not in (tmp_path / f"{RUN_ID}.jsonl").read_text().splitlines()[0]
    run = read_run(find_run(None, tmp_path))
    assert [(s.name, s.outcome) for s in run.spans] == [("node n", "ok")]


def test_a_torn_line_loses_only_itself(tmp_path: Path) -> None:
    path = write_example(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[0][:100])
    run = read_run(find_run(None, tmp_path))
    assert len(run.spans) == 20
    assert "is torn: the program was killed writing it" in run.warnings[0]


def test_foreign_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = write_example(tmp_path)
    path.write_bytes(b"hello\n[1]\n{}\n" + path.read_bytes())
    run = read_run(find_run(None, tmp_path))
    assert len(run.spans) == 20
    assert [w for w in run.warnings if "is not OTLP JSON" in w] == [
        f"line {n} is not OTLP JSON; it is left out" for n in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "it is empty"), (b"\x00\xff\n", "no line"), (b"{}\n", "no line"), (b"a,b\n", "no line")],
)
def test_a_file_that_is_no_run_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(RunFileError, match=why):
        read_run(find_run(str(tmp_path / "x.jsonl"), tmp_path))


def test_a_newer_version_is_read_with_a_warning(tmp_path: Path) -> None:
    path = write_example(tmp_path)
    path.write_text(path.read_text().replace('"version":1', '"version":99'))
    run = read_run(find_run(None, tmp_path))
    assert run.warnings == ("the run file has version 99, this program knows 1: update it",)


def test_orphans_and_cycles_are_roots_and_said(tmp_path: Path) -> None:
    def span(span_id: str, parent: str) -> dict[str, Any]:
        times = {"startTimeUnixNano": "1", "endTimeUnixNano": "2"}
        return {"traceId": "1", "spanId": span_id, "parentSpanId": parent, "name": span_id, **times}

    spans = [span("aa", "bb"), span("bb", "aa"), span("cc", "dd"), span("ee", "ee")]
    document = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    (tmp_path / "x.jsonl").write_text(json.dumps(document) + "\n")
    run = read_run(find_run("x", tmp_path))
    assert sorted(s.name for s, _ in forest_of(run.spans).walk()) == ["aa", "bb", "cc", "ee"]
    assert "some spans have a parent that is missing: they are shown as roots" in run.warnings


def test_a_chain_of_a_hundred_thousand_spans_is_no_recursion() -> None:
    spans = [
        Span("1", str(i), str(i - 1) if i else None, "n", 1, i + 1, 200_000 - i)
        for i in range(100_000)
    ]
    depths = [depth for _, depth in forest_of(spans).walk()]
    assert depths == list(range(100_000))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key",
             "value", "stringValue", "arrayValue", "values", "startTimeUnixNano", "resource",
             "resourceMetrics", "scopeMetrics", "metrics", "gauge", "dataPoints", "status", "links"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(document=st.dictionaries(st.sampled_from(["resourceSpans", "resourceMetrics"]), JSON))
def test_no_document_makes_the_decoder_fail(document: dict[str, Any]) -> None:
    list(spans_of(document))
    list(points_of(document))
    resource_of(document)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_no_damage_to_a_file_makes_reading_fail_otherwise_than_with_one_line(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = write_example(folder)
    dice = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 20)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    path.write_bytes(bytes(data[: dice.randint(1, len(data))]))
    try:
        run = read_run(find_run(None, folder))
    except RunFileError as error:
        assert "\n" not in str(error)
    else:
        list(forest_of(run.spans).walk())


def test_runs_are_found_by_id_beginning_path_and_age(tmp_path: Path) -> None:
    import os

    for i, run_id in enumerate(("20260101-000000-aaaaaa", "20260202-000000-bbbbbb")):
        writer = Writer(tmp_path, run_id)
        with writer.span("invoke_workflow w", 0, 1):
            pass
        writer.close()
        os.utime(tmp_path / f"{run_id}.jsonl", (i, i))
    (tmp_path / "process-1.jsonl").write_text('{"resourceSpans":[]}\n')
    assert [r.id[:7] for r in list_runs(tmp_path)] == ["process", "2026020", "2026010"]
    assert find_run(None, tmp_path).id == "20260202-000000-bbbbbb"
    assert find_run("20260101", tmp_path).id == "20260101-000000-aaaaaa"
    path = tmp_path / "20260101-000000-aaaaaa.jsonl"
    assert find_run(str(path), Path("/nowhere")).path == path
    for wanted, why in (("2026", "beginning of 2"), ("9", "no run 9"), ("./no.jsonl", "no file")):
        with pytest.raises(RunFileError, match=why):
            find_run(wanted, tmp_path)


def test_a_file_that_vanishes_while_it_is_looked_up_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run"
    file.touch()

    def is_file_and_vanishes(path: Path) -> bool:
        path.unlink(missing_ok=True)
        return True

    monkeypatch.setattr(Path, "is_file", is_file_and_vanishes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunFileError, match="there is no file run"):
        find_run("run", tmp_path)


def test_run_files_put_together_are_read_as_several_runs(tmp_path: Path) -> None:
    both = several(tmp_path, "first", "second")
    found = find(str(both), tmp_path)
    assert [run.id for run in read(found)] == ["first", "second"]
    with pytest.raises(RunFileError, match=r"that is 2 runs: name one, such as .*jsonl#second\."):
        read_one(found)
    assert read_one(find(f"{both}#first", tmp_path)).spans[0].name == "invoke_workflow first"
    done = cli("runs", "--dir", str(tmp_path), "--format", "json", folder=tmp_path)
    rows = [row["id"] for row in json.loads(done.stdout)["runs"]]
    assert rows == [f"{both}#second", f"{both}#first"]


def test_a_run_file_with_spans_of_another_run_or_two_beginnings_is_one_run(tmp_path: Path) -> None:
    stranger = several(tmp_path, "stranger").read_text().replace('"runFile":{"version":1},', "")
    file = several(tmp_path, "own")
    own = file.read_text()
    file.write_text(own + stranger.replace(f"{2:032x}", f"{3:032x}"))
    assert len(read_one(find(str(file), tmp_path)).spans) == 2
    file.write_text(own + own)
    assert len(read_one(find(str(file), tmp_path)).spans) == 1

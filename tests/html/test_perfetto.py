"""The trace for Perfetto, opened in Perfetto's own user interface and asked by its own queries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run
from otel_orchestrator.reports import perfetto
from otel_orchestrator.reports.perfetto.slices import Slice, laid_out
from otel_orchestrator.reports.perfetto.tracks import tracks_of
from tests.reading.generated import Spans
from tests.reading.runs import RUN_ID, write_example
from tests.reading.test_report import cli

from .perfetto_ui import PerfettoUi, perfetto_ui
from .runs import example, planned
from .test_hostile import hostile

MS = 1_000_000


@pytest.fixture(scope="module")
def ui(browser: Browser) -> Iterator[PerfettoUi]:
    with perfetto_ui(browser) as up:
        yield up


def opened(ui: PerfettoUi, run: Run, folder: Path) -> PerfettoUi:
    path = folder / f"{folder.name}.pftrace"
    path.write_bytes(perfetto.render(study(run)))
    ui.open(path)
    wrong = "select name, value from stats where severity != 'info' and value != 0"
    assert ui.query(wrong) == [], "it found something wrong with the trace"
    return ui


@pytest.mark.timeout(400)
def test_it_has_tracks_flows_and_counters(ui: PerfettoUi, tmp_path: Path) -> None:
    run = planned()
    opened(ui, run, tmp_path)
    assert [name for name in ui.shown() if name not in ("System", "Clock Snapshots")] == [
        f"w {run.id}", "Run", "Worker slots", "slot 1", "slot 2", "Tasks", "a", "b", "d", "c",
        "Queue: active", "Queue: ready", "Queue: waiting", "LLM calls at once",
    ]  # fmt: skip
    # What each slot did, one thing at a time; held by b while c could have run.
    slot = "select s.name, s.dur from slice s join track t on s.track_id = t.id"
    first = ui.query(f"{slot} where t.name = 'slot 1' and s.depth = 0 order by s.ts")
    assert [name for name, _ in first][:3] == ["director", "a", "d"]
    assert "idle: held" in [name for name, _ in first]
    assert sum(took for _, took in first) == run.end_ns - run.start_ns
    # The life of a task.
    life = f"{slot} where t.name = 'c' order by s.ts"
    assert [name for name, _ in ui.query(life)] == [
        "wait dependency", "wait held", "wait cycle", "works", "wait cycle",
    ]  # fmt: skip
    # Who was dispatched by whom, and who needed whom.
    arrows = ui.query(
        "select a.name, b.name from flow join slice a on slice_out = a.id"
        " join slice b on slice_in = b.id order by b.ts, b.name, a.name"
    )
    assert arrows == [
        ["director", "a"], ["director", "b"], ["director", "d"], ["a", "c"], ["director", "c"],
    ]  # fmt: skip
    counters = ui.query(
        "select t.name, max(value) from counter c join track t on c.track_id = t.id group by 1"
    )
    assert dict(map(tuple, counters)) == {
        "LLM calls at once": 2, "Queue: active": 3, "Queue: ready": 2, "Queue: waiting": 2,
    }  # fmt: skip


def test_every_span_of_the_run_is_in_it(ui: PerfettoUi, tmp_path: Path) -> None:
    """Those of jobs on their slot's track, the others on the run's; waits before and after are in
    the task's life."""
    run = planned()
    opened(ui, run, tmp_path)
    ids = {
        row[0]
        for row in ui.query("select distinct string_value from args where key = 'debug.span id'")
    }
    of_lives = {"wait barrier", "wait queue"}
    assert {s.span_id for s in run.spans if s.name not in of_lives} <= ids


def test_a_task_that_a_slow_reader_kept_waiting_did_not_queue() -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100, None)
    step = spans.add("superstep", 0, 100, root)
    task = spans.add("task w", 0, 100, step, task__id="a")
    spans.add("wait consumer", 10, 50, task, "waiting", "consumer")
    spans.add("node w", 60, 100, task, "working", "compute")
    tracks = {track.name: track for track in tracks_of(study(spans.run())).tracks}
    (life,) = tracks["Tasks"].tracks
    assert sorted((s.start_ns, s.end_ns, s.name) for s in life.slices) == [
        (0, 10, "wait queue"),
        (10, 50, "wait consumer"),
        (50, 60, "wait queue"),
        (60, 100, "works"),
    ]


def test_instants_are_those_of_the_run(ui: PerfettoUi, tmp_path: Path) -> None:
    run = example(tmp_path)
    opened(ui, run, tmp_path)
    begun = ui.query("select ts, dur from slice where name = 'invoke_workflow orchestrator'")
    assert begun == [[0, 1000 * MS]]
    clock = ui.query("select clock_value from clock_snapshot where clock_name = 'REALTIME'")
    assert clock == [[pytest.approx(run.start_ns, abs=1000)]]


def test_hostile_names_are_names(ui: PerfettoUi, tmp_path: Path) -> None:
    opened(ui, hostile(), tmp_path)
    assert ui.query("select count(*) > 0 from slice where name glob '*</script>*'") == [[1]]
    assert ui.page.evaluate("typeof window.hacked") == "undefined"


def test_what_runs_at_the_same_time_has_a_track_of_its_own(ui: PerfettoUi, tmp_path: Path) -> None:
    spans = Spans()
    root = spans.add("invoke_workflow w", 0, 100 * MS, None)
    node = spans.add("node n", 10 * MS, 90 * MS, root, "working", "compute")
    spans.add("chat a", 20 * MS, 60 * MS, node, "working", "llm")
    spans.add("chat b", 30 * MS, 70 * MS, node, "working", "llm")
    spans.add("chat c", 65 * MS, 80 * MS, node, "working", "llm")
    opened(ui, spans.run(), tmp_path)
    found = ui.query(
        "select s.name, t.name, s.dur from slice s join track t on s.track_id = t.id"
        " where s.name glob 'chat*' order by s.name"
    )
    assert found == [
        ["chat a", "slot 1", 40 * MS],
        ["chat b", "slot 1, at the same time (2)", 40 * MS],
        ["chat c", "slot 1", 15 * MS],
    ]


Piece = tuple[int, int, list[Any]]
pieces: st.SearchStrategy[Piece] = st.recursive(
    st.tuples(st.integers(0, 30), st.integers(0, 12), st.just([])),
    lambda inner: st.tuples(st.integers(0, 30), st.integers(0, 12), st.lists(inner, max_size=4)),
    max_leaves=12,
)


def made(piece: Piece, within: tuple[int, int] = (0, 60)) -> Slice:
    """Make a slice that starts so long after what it is in, and is cut to that."""
    start, length, inside = piece
    begins = min(within[1], within[0] + start)
    ends = min(within[1], begins + length)
    below = sorted((made(p, (begins, ends)) for p in inside), key=lambda s: (s.start_ns, -s.end_ns))
    return Slice("s", begins, ends, inside=tuple(below))


@given(st.lists(pieces, max_size=6))
def test_on_one_track_slices_are_apart_or_inside_each_other(all_pieces: list[Piece]) -> None:
    slices = [made(p) for p in all_pieces]

    def flat(some: Iterable[Slice]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for one in some:
            found += [(one.start_ns, one.end_ns), *flat(one.inside)]
        return found

    lanes = laid_out(slices)
    laid = [interval for lane in lanes for interval in flat(lane)]
    assert sorted(laid) == sorted(flat(slices)), "nothing is lost, added or cut"
    for lane in lanes:
        check(lane, -1, 10**9)


def check(slices: Sequence[Slice], start: int, end: int) -> None:
    at = start
    for one in slices:
        assert at <= one.start_ns <= one.end_ns <= end
        check(one.inside, one.start_ns, one.end_ns)
        at = one.end_ns


def test_the_same_run_makes_the_same_trace() -> None:
    run = planned()
    assert perfetto.render(study(run)) == perfetto.render(study(run))
    assert perfetto.render(study(replace(run, spans=(), points=())))


def test_a_deep_run_is_no_trouble() -> None:
    spans = Spans()
    parent = spans.add("invoke_workflow w", 0, 10_000, None)
    for n in range(3_000):
        parent = spans.add("work", n, 10_000, parent, "working", "compute")
    assert perfetto.render(study(spans.run())).count(b"work") >= 3_000


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    write_example(tmp_path / "runs")
    done = cli("report", "--format", "perfetto", folder=tmp_path / "runs", cwd=tmp_path)
    assert done.stdout.startswith(f"Wrote {RUN_ID}.pftrace: open it in https://ui.perfetto.dev")
    again = cli("report", "--format", "perfetto", folder=tmp_path / "runs", cwd=tmp_path)
    assert again.returncode == 2
    assert "Type --force" in again.stderr


def test_without_the_library_one_line_says_what_to_type(tmp_path: Path) -> None:
    write_example(tmp_path)
    code = (
        "import sys; sys.modules['perfetto'] = None; from otel_orchestrator.cli import main; main()"
    )
    arguments = ["report", "--format", "perfetto", "--dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr == (
        "otel-orchestrator: Perfetto's library is not installed. Type: pip install"
        " 'otel-orchestrator[perfetto]'\n"
    )
    assert list(tmp_path.glob("*.pftrace")) == []

"""One run, wherever it is: a run file, a Collector's export, a Jaeger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import partial
from operator import eq
from pathlib import Path

import pytest

from otel_orchestrator.analysis.canonical import in_microseconds
from otel_orchestrator.errors import RunFileError
from otel_orchestrator.model import Run
from otel_orchestrator.sources.found import Export, find, read, read_one
from otel_orchestrator.sources.jaeger import is_jaeger, wanted_in
from otel_orchestrator.sources.runfiles import list_runs, read_run

from .processes import JAEGER_BADGER, JAEGER_MEMORY, collector, jaeger
from .stack import finish, start_app, until
from .test_metrics_in_prometheus import PROGRAM

pytestmark = pytest.mark.timeout(180)

EXPORTING = """
exporters:
  file:
    path: {path}
    append: true
service:
  pipelines:
    traces/file:
      receivers: [forward/traces]
      exporters: [file]
"""


@dataclass(frozen=True)
class Recorded:
    """Three runs, labels v1, v1, v2, wherever they may be read from."""

    folder: Path
    export: Path
    jaeger_url: str
    runs: tuple[Run, ...]


@pytest.fixture(scope="module", params=[JAEGER_MEMORY, JAEGER_BADGER], ids=["memory", "badger"])
def recorded(
    request: pytest.FixtureRequest,
    jaeger_binary: Path,
    otelcol_binary: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    overlay = folder / "export.yaml"
    export = folder / "export.jsonl"
    overlay.write_text(EXPORTING.format(path=export))
    with (
        jaeger(jaeger_binary, folder, storage=request.param) as up,
        collector(otelcol_binary, up.otlp_endpoint, folder, overlays=[overlay]) as otelcol,
    ):
        for label in ("v1", "v1", "v2"):
            app = start_app(
                *(PROGRAM, "shop", "3", "0.2"),
                endpoint=otelcol.grpc_endpoint,
                folder=folder / "runs",
                OTEL_RESOURCE_ATTRIBUTES=f"orchestrator.run.label={label}",
            )
            finish(app)
        files = [file for file in list_runs(folder / "runs") if file.is_of_a_run]
        # Not by id: two may begin within one second.
        runs = tuple(sorted(map(read_run, files), key=lambda run: run.start_ns))
        for run in runs:
            word = f"jaeger:{run.id}"
            until(partial(_spans, word, folder, up.query_url), partial(eq, len(run.spans)))
        until(lambda: export.read_text().count('"spanId"'), lambda n: n >= 3 * len(runs[0].spans))
        yield Recorded(folder / "runs", export, up.query_url, runs)


def _spans(word: str, folder: Path, url: str) -> int:
    try:
        return len(read_one(find(word, folder, url)).spans)
    except RunFileError:
        return 0


def ids(recorded: Recorded, word: str) -> list[str]:
    return [run.id for run in read(find(word, recorded.folder, recorded.jaeger_url))]


def test_jaeger_gives_back_the_run_as_it_is_in_its_file(recorded: Recorded) -> None:
    """To the microsecond; without gauge points and the file's own warnings, which no trace has."""
    for run in recorded.runs:
        trace_id = run.spans[0].trace_id
        for word in (
            f"{recorded.jaeger_url}/trace/{trace_id}",
            f"{recorded.jaeger_url}/trace/{trace_id}?uiFind=x",
            f"jaeger:{trace_id}",
            f"jaeger:{run.id}",
        ):
            there = read_one(find(word, recorded.folder, recorded.jaeger_url))
            assert in_microseconds(there) == changed(in_microseconds(run), points=())


def test_runs_in_jaeger_are_found_by_what_they_are_marked_with(recorded: Recorded) -> None:
    first, second, third = (run.id for run in recorded.runs)
    assert ids(recorded, "jaeger:label=v1") == [first, second]
    assert ids(recorded, "jaeger:service=shop,label=v2") == [third]
    assert ids(recorded, "jaeger:deployment.environment.name=test") == [first, second, third]
    assert ids(recorded, "jaeger:service=shop,orchestrator.run.label=v2") == [third]


def test_a_collectors_export_holds_every_run(recorded: Recorded) -> None:
    assert ids(recorded, str(recorded.export)) == [run.id for run in recorded.runs]
    for run in recorded.runs:
        there = read_one(find(f"{recorded.export}#{run.id}", recorded.folder))
        assert there == changed(run, points=())


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("jaeger:nobody", "has no run jaeger:nobody"),
        ("jaeger:label=v3", "has no run jaeger:label=v3"),
        ("jaeger:label=v1", "that is 2 runs: name one, such as jaeger:"),
        ("{export}", "that is 3 runs: name one, such as {export}#"),
        ("{export}#nobody", "{export} does not hold the run nobody"),
        ("jaeger:", "names no run. Type jaeger:TRACE-ID"),
        ("jaeger:label=", "names no run. Type jaeger:TRACE-ID"),
        ("http://127.0.0.1:9/trace/" + 32 * "a", "http://127.0.0.1:9 does not answer: Conn"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(recorded: Recorded, word: str, said: str) -> None:
    word, said = (text.format(export=recorded.export) for text in (word, said))
    with pytest.raises(RunFileError) as error:
        read_one(find(word, recorded.folder, recorded.jaeger_url))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_report_takes_the_address_of_a_trace(recorded: Recorded) -> None:
    run = recorded.runs[0]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    told = [
        subprocess.run(
            [sys.executable, "-m", "otel_orchestrator.cli", "report", word, "--format", "json"],
            capture_output=True,
            text=True,
            env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(recorded.folder)},
        )
        for word in (f"{recorded.jaeger_url}/trace/{run.spans[0].trace_id}", run.id)
    ]
    assert [done.returncode for done in told] == [0, 0], told
    from_jaeger, from_file = (json.loads(done.stdout) for done in told)
    assert from_jaeger["run"] == from_file["run"]


def test_compare_says_the_same_wherever_runs_are_read_from(recorded: Recorded) -> None:
    """Byte for byte, but for the links, which lead to the Jaeger that is named."""
    first, second, third = (run.id for run in recorded.runs)
    export = recorded.export
    sides = [
        ([first, second], [third]),
        (["label=v1"], ["label=v2"]),
        (["jaeger:label=v1"], ["jaeger:label=v2"]),
        ([f"jaeger:{first}", f"jaeger:{second}"], [f"jaeger:{third}"]),
        ([f"{export}#{first}", f"{export}#{second}"], [f"{export}#{third}"]),
    ]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    told = [
        subprocess.run(
            [
                *(sys.executable, "-m", "otel_orchestrator.cli", "compare"),
                *(*base, "--with", *candidate),
                *("--format", "json", "--jaeger-url", recorded.jaeger_url),
            ],
            capture_output=True,
            env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(recorded.folder)},
        )
        for base, candidate in sides
    ]
    assert {done.returncode for done in told} == {0}, told
    assert len({done.stdout for done in told}) == 1


def test_words_are_told_apart(tmp_path: Path) -> None:
    assert not is_jaeger("20261124-175348-888544")
    assert not is_jaeger("http://localhost:16686/search")
    assert wanted_in("jaeger:label=v1,team=x").attributes == {
        "orchestrator.run.label": "v1",
        "team": "x",
    }
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"resourceSp')
    with pytest.raises(RunFileError, match="no line of it is OTLP JSON"):
        read_one(find(str(torn), tmp_path))
    one = tmp_path / "one.jsonl"
    one.write_text('{"resourceSpans": []}\n')
    assert find(str(one), tmp_path) == Export(one, None)

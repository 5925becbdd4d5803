"""Tail sampling, if one wants it: what is worth a look is kept, and metrics count everything."""

from __future__ import annotations

from pathlib import Path

import yaml

from otel_orchestrator.sources.runfiles import find_run, read_run

from .processes import OTEL_COLLECTOR, ROOT
from .reading import services, trace_of
from .stack import Binaries, finish, stack, start_app, until, values

TAIL_SAMPLING = ROOT / "collector" / "otel-collector.tail-sampling.yaml"
PROGRAM = """
import sys, time
import otel_orchestrator as otel
otel.configure(sys.argv[1])
try:
    with otel.run("r"), otel.task("worker", "a"):
        if sys.argv[2] == "wait":
            with otel.wait("lock"):
                time.sleep(5.2)
        with otel.node("worker"):
            if sys.argv[2] == "fail":
                raise ValueError
except ValueError:
    pass
"""


def test_the_branch_to_jaeger_is_the_same_but_for_the_sampling() -> None:
    pipelines = [
        yaml.safe_load(path.read_text())["service"]["pipelines"]["traces/jaeger"]
        for path in (OTEL_COLLECTOR, TAIL_SAMPLING)
    ]
    assert pipelines[1]["processors"].pop(0) == "tail_sampling"
    assert pipelines[0] == pipelines[1]


def test_errors_and_long_waits_are_kept_and_everything_is_counted(
    binaries: Binaries, tmp_path: Path
) -> None:
    chosen = {"OTELCOL_DECISION_WAIT": "2s", "OTELCOL_KEEP_PERCENT": "0"}
    with stack(binaries, tmp_path, overlays=[TAIL_SAMPLING], collector_environment=chosen) as up:
        runs = {}
        for what in ("none", "fail", "wait"):
            folder = tmp_path / what
            arguments = (f"{what}.test", what)
            endpoint = up.collector.grpc_endpoint
            finish(start_app(PROGRAM, *arguments, endpoint=endpoint, folder=folder))
            runs[what] = read_run(find_run(None, folder))
        for what in ("fail", "wait"):
            spans = runs[what].spans
            assert len(trace_of(up.jaeger, spans[0].trace_id, spans=len(spans))) == len(spans)
        # The run that was sent first was decided on first.
        assert services(up.jaeger, "none") == set()
        counted = 'sum(traces_span_metrics_calls_total{service_name="none.test"})'
        until(
            lambda: values(up.prometheus, counted), lambda seen: seen == [len(runs["none"].spans)]
        )

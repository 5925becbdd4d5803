"""The whole road: the demo's spans over OTLP, through the Collector, into Jaeger and back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_orchestrator.analysis.canonical import in_microseconds
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run, Span
from otel_orchestrator.sources.runfiles import find_run, read_run

from .processes import Collector, Jaeger
from .reading import services, trace_in_the_ui, trace_of, true_resource

SERVICE = "demo-orchestrator"


def run_demo(folder: Path, endpoint: str, protocol: str) -> Run:
    """Run the demo, quick, sending to `endpoint`; return what its run file says."""
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_ORCHESTRATOR_RUN_DIR": str(folder),
    }
    command = [sys.executable, "-m", "otel_orchestrator.demo", "--speed", "0.02", "--label", "e2e"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "does not take telemetry" not in done.stderr
    return read_run(find_run(None, folder))


def canonical(spans: list[Span]) -> list[str]:
    """Draw a trace as text: tree, microseconds, attributes."""
    lines = []
    for span, depth in forest_of(in_microseconds(Run("", tuple(spans))).spans).walk():
        attributes = sorted((k, v) for k, v in span.attributes.items())
        end_ns = span.end_ns or 0
        times = f"{span.start_ns // 1000}-{end_ns // 1000}"
        lines.append(
            f"{'  ' * depth}{span.span_id} {span.name} {times} {span.is_error} {attributes}"
        )
    return lines


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_jaeger_has_the_very_tree_of_the_run_file(
    jaeger: Jaeger, collector: Collector, tmp_path: Path, protocol: str
) -> None:
    endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
    run = run_demo(tmp_path, endpoint, protocol)
    trace_id = run.spans[0].trace_id
    # Jaeger keeps no half microseconds, and neither does this comparison.
    found = trace_of(jaeger, trace_id, spans=len(run.spans))
    assert canonical([shown.span for shown in found]) == canonical(list(run.spans))
    # Sorted into services for Jaeger's colours; that undone, the resource is the program's too.
    assert {s.span.span_id: s.service for s in found} == {
        s.span_id: SERVICE if s.state == "container" else f"{SERVICE}-{s.state}" for s in run.spans
    }
    assert all(true_resource(shown.resource) == run.resource for shown in found)
    assert services(jaeger, SERVICE) >= {SERVICE, f"{SERVICE}-working"}
    assert run.resource["orchestrator.run.label"] == "e2e"
    assert run.resource["host.name"]

    in_the_ui = trace_in_the_ui(jaeger, trace_id)["spans"]
    assert [span["operationName"] for span in in_the_ui if span["warnings"]] == []
    ids = {span["spanID"] for span in in_the_ui}
    parents = [ref["spanID"] for span in in_the_ui for ref in span["references"]]
    assert set(parents) <= ids, "no orphan"

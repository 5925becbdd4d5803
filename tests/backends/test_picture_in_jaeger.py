"""The picture that the project started from comes out of Jaeger as exactly that."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run

from ..picture.running import run_picture, says_who_blocked_whom
from .processes import Collector, Jaeger
from .reading import trace_of

# Clocks are compared to 20 ms. When another program holds the machine for longer than that, it is
# tried again, twice at most.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])


def test_jaeger_says_who_blocked_whom(jaeger: Jaeger, collector: Collector, tmp_path: Path) -> None:
    run, noted = run_picture(
        "supersteps", tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.grpc_endpoint
    )
    found = trace_of(jaeger, run.spans[0].trace_id, spans=len(run.spans))
    says_who_blocked_whom([shown.span for shown in found], noted)
    waiting = {s.span.span_id for s in found if s.service == "picture-waiting"}
    assert waiting == {s.span_id for s in run.spans if s.state == "waiting"}
    shown = Run(run.id, tuple(sorted((s.span for s in found), key=lambda s: s.start_ns)))
    held = [
        (b.straggler and b.straggler.task_id, b.held_ns // 1000)
        for b in study(shown).accounting.barriers
    ]
    assert held == [
        (b.straggler and b.straggler.task_id, b.held_ns // 1000)
        for b in study(run).accounting.barriers
    ]

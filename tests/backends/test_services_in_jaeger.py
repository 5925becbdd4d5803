"""Structure, work and waiting are services of their own in Jaeger, and so have a colour each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import pytest

from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.otlp import resource_of, spans_of
from otel_orchestrator.sources.runfiles import find_run, read_run

from . import processes
from .processes import Collector, Jaeger
from .reading import Shown, ids_found, services, trace_in_the_ui, trace_of, true_resource

PROGRAM = """
import sys, time
import otel_orchestrator as otel
from opentelemetry import trace

otel.configure(sys.argv[1], split_services=sys.argv[2] or None)
with otel.run("r"), otel.loop(), otel.task("worker", "a"):
    with otel.wait("lock", on="b"):
        time.sleep(0.02)
    with otel.node("worker"):
        with otel.llm_call("m"):
            pass
        with otel.tool_call("edit"):
            pass
        theirs = trace.get_tracer("theirs")
        with theirs.start_as_current_span("theirs", attributes={"service.name": "elsewhere"}):
            pass
"""

BY_STATE = """\
                 invoke_workflow r
                   loop
                     task worker
        -waiting       wait lock
        -working       node worker
        -working         chat m
        -working         execute_tool edit
        -working         theirs
"""
BY_CATEGORY = """\
                 invoke_workflow r
                   loop
                     task worker
        -waiting       wait lock
        -compute       node worker
        -llm             chat m
        -tool            execute_tool edit
        -compute         theirs
"""
NOT_AT_ALL = """\
                 invoke_workflow r
                   loop
                     task worker
                       wait lock
                       node worker
                         chat m
                         execute_tool edit
                         theirs
"""


def run_program(service: str, split_services: str, endpoint: str, folder: Path) -> Run:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, service, split_services],
        env={
            **environment,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_ORCHESTRATOR_RUN_DIR": str(folder),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return read_run(find_run(None, folder))


def drawn(found: list[Shown], service: str) -> str:
    """Draw what each bar's colour depends on, beside the tree."""
    shown = {s.span.span_id: s.service for s in found}
    assert all(name.startswith(service) for name in shown.values())
    return "".join(
        f"        {shown[span.span_id].removeprefix(service):9}{'  ' * depth}{span.name}\n"
        for span, depth in forest_of(s.span for s in found).walk()
    )


@pytest.fixture(scope="module")
def collector_that(
    otelcol_binary: Path, jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Collector]]:
    """Start a Collector for each value of OTELCOL_SPLIT_SERVICES, once."""
    started: dict[str, Collector] = {}
    with ExitStack() as until_the_end:

        def that(split_services: str) -> Collector:
            if split_services not in started:
                folder = tmp_path_factory.mktemp("otelcol")
                started[split_services] = until_the_end.enter_context(
                    processes.collector(
                        otelcol_binary,
                        jaeger.otlp_endpoint,
                        folder,
                        split_services=split_services,
                    )
                )
            return started[split_services]

        yield that


@pytest.mark.parametrize(
    ("service", "by_collector", "by_program", "expected"),
    [
        ("shipped", "", "", BY_STATE),
        ("state", "state", "", BY_STATE),
        ("category", "category", "", BY_CATEGORY),
        ("none", "none", "", NOT_AT_ALL),
        ("direct", None, "", NOT_AT_ALL),
        ("direct-state", None, "state", BY_STATE),
        ("direct-category", None, "category", BY_CATEGORY),
        ("both", "", "state", BY_STATE),
        ("program-first", "state", "category", BY_CATEGORY),
    ],
)
def test_spans_are_sorted_into_services_and_the_tree_stays_whole(
    jaeger: Jaeger,
    collector_that: Callable[[str], Collector],
    tmp_path: Path,
    service: str,
    by_collector: str | None,
    by_program: str,
    expected: str,
) -> None:
    endpoint = (
        f"http://{jaeger.otlp_endpoint}"
        if by_collector is None
        else collector_that(by_collector).grpc_endpoint
    )
    service = f"{service}.test"
    run = run_program(service, by_program, endpoint, tmp_path)
    assert run.resource[Attr.SERVICE_NAME] == service, "run files keep the true service"
    assert Attr.SERVICE not in run.resource

    trace_id = run.spans[0].trace_id
    found = trace_of(jaeger, trace_id, spans=len(run.spans))
    assert drawn(found, service) == expected
    assert services(jaeger, service) == {s.service for s in found}

    # Nothing else has changed: no helper is left, the true service is known, ids are the same.
    of_the_run_file = {s.span_id: s for s in run.spans}
    assert len(found) == len(of_the_run_file)
    for shown in found:
        assert shown.span.attributes == of_the_run_file[shown.span.span_id].attributes
        assert shown.span.parent_id == of_the_run_file[shown.span.span_id].parent_id
        assert true_resource(shown.resource) == run.resource
        assert (shown.resource.get(Attr.SERVICE) == service) is (expected != NOT_AT_ALL)

    in_the_ui = trace_in_the_ui(jaeger, trace_id)
    assert in_the_ui.get("warnings") is None
    assert [span["warnings"] for span in in_the_ui["spans"]] == [None] * len(found)
    assert len([span for span in in_the_ui["spans"] if not span["references"]]) == 1, "one root"


def test_long_waits_can_be_searched_for(
    jaeger: Jaeger, collector: Collector, tmp_path: Path
) -> None:
    """The deep links of docs/jaeger.md: by the waiting service, and by attributes alone."""
    run = run_program("searched.test", "", collector.grpc_endpoint, tmp_path)
    trace_id = run.spans[0].trace_id
    trace_of(jaeger, trace_id, spans=len(run.spans))
    by_service = {"service": "searched.test-waiting", "operation": "wait lock", "lookback": "1h"}
    assert ids_found(jaeger, urlencode({**by_service, "minDuration": "15ms"})) == {trace_id}
    assert ids_found(jaeger, urlencode({**by_service, "minDuration": "15s"})) == set()
    for service in ("searched.test", "searched.test-working", "searched.test-waiting"):
        tags = json.dumps({Attr.SERVICE: "searched.test"})
        assert ids_found(jaeger, urlencode({"service": service, "tags": tags})) == {trace_id}
    tags = json.dumps({Attr.WAIT_ON: "b"})
    query = urlencode({"service": "searched.test-waiting", "tags": tags})
    assert ids_found(jaeger, query) == {trace_id}


def test_another_branch_of_the_collector_keeps_the_true_service(
    otelcol_binary: Path, jaeger: Jaeger, tmp_path: Path
) -> None:
    """Whatever Jaeger is shown, span metrics will count, and files hold, what the program sent."""
    copy = tmp_path / "copy.jsonl"
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        textwrap.dedent(
            f"""
            exporters:
              file/copy:
                path: {copy}
            service:
              pipelines:
                traces/copy:
                  receivers: [forward/traces]
                  exporters: [file/copy]
            """
        )
    )
    with processes.collector(
        otelcol_binary, jaeger.otlp_endpoint, tmp_path, overlays=[overlay]
    ) as up:
        run = run_program("copied.test", "", up.grpc_endpoint, tmp_path / "runs")
        found = trace_of(jaeger, run.spans[0].trace_id, spans=len(run.spans))
        assert drawn(found, "copied.test") == BY_STATE
    documents = [json.loads(line) for line in copy.read_text().splitlines()]
    copied = {span.span_id: span for document in documents for span in spans_of(document)}
    assert {i: s.attributes for i, s in copied.items()} == {
        s.span_id: s.attributes for s in run.spans
    }
    assert [resource_of(document) for document in documents] == [run.resource] * len(documents)

"""A configure() that fails: one line that says why, and nothing of it is left.

Each in a process of its own: providers are global.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.sources.runfiles import find_run, read_run

from .programs import python, run_app

NOWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
NUMBER = "makes no sense. Type a number above 0, or leave the variable out"
TAKE_BACK = "Correct it, or leave it out"


def refused(variable: str, text: str, why: str) -> tuple[dict[str, str], str]:
    return {variable: text}, f"{variable}={text} makes no sense ({why}). {TAKE_BACK}"


WRONG = [
    ({"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, f"OTEL_EXPORTER_OTLP_TIMEOUT=10s {NUMBER}"),
    ({**HTTP, "OTEL_EXPORTER_OTLP_TIMEOUT": "x"}, f"OTEL_EXPORTER_OTLP_TIMEOUT=x {NUMBER}"),
    (
        {"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "0"},
        f"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=0 {NUMBER}",
    ),
    ({"OTEL_METRIC_EXPORT_INTERVAL": "0"}, f"OTEL_METRIC_EXPORT_INTERVAL=0 {NUMBER}"),
    ({"OTEL_METRIC_EXPORT_INTERVAL": "nan"}, f"OTEL_METRIC_EXPORT_INTERVAL=nan {NUMBER}"),
    refused(
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "zip",
        'Invalid value "zip" for compression envvar OTEL_EXPORTER_OTLP_TRACES_COMPRESSION',
    ),
    refused(
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        "zip",
        'Invalid value "zip" for compression envvar OTEL_EXPORTER_OTLP_METRICS_COMPRESSION',
    ),
    refused("OTEL_METRICS_EXEMPLAR_FILTER", "some", "Unknown exemplar filter 'some'."),
    refused("OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "oops", "'OOPS'"),
    refused(
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "many",
        "OTEL_SPAN_EVENT_COUNT_LIMIT must be a non-negative integer but got many",
    ),
]

FAILS_AND_THEN_NOT = """
    import contextlib, io, os, threading
    from opentelemetry import metrics, trace
    from otel_orchestrator import redaction
    from otel_orchestrator.errors import OrchestratorError

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            otel.configure(redact="hush", run_files={run_files})
        except OrchestratorError as error:
            print(error)
    assert not said.getvalue(), said.getvalue()
    assert threading.active_count() == 1, threading.enumerate()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"
    assert redaction.text("say hush") == "say hush"
    folder = os.environ["OTEL_ORCHESTRATOR_RUN_DIR"]
    assert not os.path.exists(folder) or set(os.listdir(folder)) <= {{".gitignore"}}

    for variable in {wrong}:
        del os.environ[variable]
    otel.configure()
    with otel.run("r"), otel.node("n"):
        pass
    otel.shutdown(0.5)
"""


def assert_each_span_once(folder: Path) -> None:
    found = find_run(None, folder)
    assert [s.name for s in read_run(found).spans] == ["invoke_workflow r", "node n"]
    text = found.path.read_text()
    assert [text.count(f'"name":"{name}"') for name in ("invoke_workflow r", "node n")] == [1, 1]


@pytest.mark.parametrize("run_files", [True, False])
@pytest.mark.parametrize(("wrong", "line"), WRONG, ids=[line.split()[0] for _, line in WRONG])
def test_a_wrong_variable_is_one_line_and_leaves_nothing(
    tmp_path: Path, wrong: dict[str, str], line: str, run_files: bool
) -> None:
    program = FAILS_AND_THEN_NOT.format(wrong=[*wrong], run_files=run_files)
    folder = tmp_path / "runs"
    done = python(program, folder, **NOWHERE, **wrong)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line]
    assert_each_span_once(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_SCHEDULE_DELAY": "-1"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20"},
    ],
)
def test_so_are_those_of_sending_without_run_files(tmp_path: Path, wrong: dict[str, str]) -> None:
    program = FAILS_AND_THEN_NOT.format(wrong=[*wrong], run_files=False)
    done = python(program, tmp_path / "runs", **NOWHERE, **wrong)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert all(name in line for name in wrong)
    assert line.endswith(f" {TAKE_BACK}")
    assert_each_span_once(tmp_path / "runs")


@pytest.mark.parametrize(("timeout", "is_told"), [("10000", True), ("500", False)])
def test_a_timeout_in_milliseconds_is_told(tmp_path: Path, timeout: str, is_told: bool) -> None:
    variables = {**NOWHERE, "OTEL_EXPORTER_OTLP_TIMEOUT": timeout}
    done = python("otel.configure()\notel.shutdown(0.1)", tmp_path, **variables)
    assert ("=10000 is in seconds for OpenTelemetry in Python" in done.stderr) is is_told
    assert ("Is 10 meant?" in done.stderr) is is_told


def test_a_credential_in_a_wrong_endpoint_is_not_shown(tmp_path: Path) -> None:
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hunter2@[::1"}
    done = python("otel.configure()", tmp_path, **where)
    last = done.stderr.splitlines()[-1]
    assert last.endswith(
        "_ENDPOINT=[::1 is no URL. Type: OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317"
    )
    assert "hunter2" not in done.stderr


CLOSED = """
    import opentelemetry.exporter.otlp.proto.grpc.exporter as grpc
    shut = grpc.OTLPExporterMixin.shutdown
    def shutdown(self, *arguments, **options):
        print("closed", self._exporting)
        shut(self, *arguments, **options)
    grpc.OTLPExporterMixin.shutdown = shutdown
    try:
        otel.configure({call})
    except otel.errors.OrchestratorError:
        print("failed")
"""


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ("run_dir='/proc/nope'", {}),
        ("", {"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "zip"}),
        ("", {"OTEL_METRICS_EXEMPLAR_FILTER": "some"}),
        ("run_files=False", {"OTEL_METRICS_EXEMPLAR_FILTER": "some"}),
        ("run_files=False", {"OTEL_BSP_MAX_QUEUE_SIZE": "0"}),
    ],
)
def test_a_connection_that_was_made_is_closed_once(
    tmp_path: Path, call: str, wrong: dict[str, str]
) -> None:
    done = python(CLOSED.format(call=call), tmp_path, **NOWHERE, **wrong)
    assert (done.stdout, done.stderr) == ("closed traces\nfailed\n", "")


@pytest.mark.parametrize("fails_at", ["metric_reader", "EndedInThread"])
def test_what_fails_last_leaves_nothing_of_what_was_first(tmp_path: Path, fails_at: str) -> None:
    done = python(
        f"""
        import threading
        from otel_orchestrator import sdk
        def fail(*_):
            raise RuntimeError("out of luck")
        original, sdk.{fails_at} = sdk.{fails_at}, fail
        try:
            otel.configure()
        except Exception as error:
            print("out of luck" in str(error), sdk._configured)
        assert threading.active_count() == 1, threading.enumerate()
        sdk.{fails_at} = original
        otel.configure()
        with otel.run("r"), otel.node("n"):
            pass
        otel.shutdown(0.5)
        """,
        tmp_path,
        **NOWHERE,
    )
    assert (done.returncode, done.stdout) == (0, "True None\n"), done.stderr
    assert_each_span_once(tmp_path)


def test_a_provider_of_the_users_is_not_touched(tmp_path: Path) -> None:
    done = python(
        """
        import os
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from otel_orchestrator.errors import OrchestratorError
        trace.set_tracer_provider(TracerProvider())
        for _ in range(2):
            try:
                otel.configure()
            except OrchestratorError as error:
                print(error)
        del os.environ["OTEL_METRIC_EXPORT_INTERVAL"]
        otel.configure()
        with otel.run("r"), otel.node("n"):
            pass
        """,
        tmp_path,
        OTEL_METRIC_EXPORT_INTERVAL="0",
        **NOWHERE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"OTEL_METRIC_EXPORT_INTERVAL=0 {NUMBER}"] * 2
    assert_each_span_once(tmp_path)


def test_run_says_it_in_one_line_and_runs_the_program_untraced(tmp_path: Path) -> None:
    done = run_app(
        tmp_path, "otel-orchestrator", "run", "app.py", **NOWHERE, OTEL_EXPORTER_OTLP_TIMEOUT="10s"
    )
    assert done.stderr == (
        "otel-orchestrator: not tracing this program: "
        f"OTEL_EXPORTER_OTLP_TIMEOUT=10s {NUMBER}\n"
    )  # fmt: skip
    assert done.returncode == 0
    assert not (tmp_path / "runs").exists()

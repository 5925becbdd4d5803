"""configure(): what it sets up, and what it says where it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from otel_orchestrator import _guard
from otel_orchestrator.delivery.otlp import metric_reader
from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from .programs import RUN, python, resource_of


def test_one_line_is_enough_and_says_nothing(tmp_path: Path) -> None:
    done = python("otel.configure()" + textwrap.dedent(RUN), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    run = read_run(find_run(None, tmp_path))
    assert [s.name for s in run.spans] == ["invoke_workflow r", "node n"]
    assert run.resource["host.name"] == socket.gethostname()
    assert run.resource["service.name"] == "orchestrator"


@pytest.mark.parametrize(
    ("call", "environment", "expected"),
    [
        (
            "'mine', label='before'",
            {},
            {"service.name": "mine", "orchestrator.run.label": "before"},
        ),
        ("", {"OTEL_SERVICE_NAME": "env"}, {"service.name": "env"}),
        ("'mine'", {"OTEL_SERVICE_NAME": "env"}, {"service.name": "mine"}),
        ("", {"OTEL_RESOURCE_ATTRIBUTES": "host.name=h,a=b"}, {"host.name": "h", "a": "b"}),
        ("attributes={'team': 'x'}", {}, {"team": "x"}),
    ],
)
def test_the_resource_comes_from_arguments_and_standard_variables(
    tmp_path: Path, call: str, environment: dict[str, str], expected: dict[str, str]
) -> None:
    python(f"otel.configure({call})" + textwrap.dedent(RUN), tmp_path, **environment)
    resource = resource_of(tmp_path)
    assert {key: resource[key] for key in expected} == expected


def test_the_commit_of_the_programs_code_is_recorded_unless_it_is_said(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    git = ["git", "-C", str(code), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (code / "app.py").write_text(
        "import otel_orchestrator as otel\notel.configure()" + textwrap.dedent(RUN)
    )
    key = "vcs.ref.head.revision"
    for expected in (None, "commit", "said"):
        if expected == "commit":
            subprocess.run([*git, "add", "app.py"], check=True)
            subprocess.run([*git, "commit", "-qm", "c"], check=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        said = {"OTEL_RESOURCE_ATTRIBUTES": f"{key}=mine"} if expected == "said" else {}
        runs = tmp_path / f"runs-{expected}"
        subprocess.run(
            [sys.executable, code / "app.py"],
            env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(runs), **said},
            check=True,
        )
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
        wanted = {None: None, "commit": head.strip(), "said": "mine"}[expected]
        assert resource_of(runs).get(key) == wanted


def test_a_provider_of_the_users_is_used_and_not_replaced(tmp_path: Path) -> None:
    done = python(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
        mine = TracerProvider()
        mine.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
        trace.set_tracer_provider(mine)
        otel.configure("ignored")
        assert trace.get_tracer_provider() is mine
        """
        + RUN.replace("\n    ", "\n        "),
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"name"') == 2, "exported by the user's own exporter"
    assert [s.name for s in read_run(find_run(None, tmp_path)).spans] == [
        "invoke_workflow r",
        "node n",
    ]


SENT = """
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    import opentelemetry.exporter.otlp.proto.grpc.trace_exporter as grpc

    class Exporter(SpanExporter):
        def export(self, spans):
            for s in spans:
                print(s.name, s.resource.attributes["service.name"], s.resource.attributes["team"],
                      s.resource.attributes.get("orchestrator.service"), s.dropped_events)
            return SpanExportResult.SUCCESS

    grpc.OTLPSpanExporter = Exporter
    otel.configure("svc", attributes={"team": "x"}{option})
    with otel.run("r"), otel.node("n") as node:
        for _ in range(130):
            node.span.add_event("e")
    assert node.span.resource.attributes["service.name"] == "svc"
    assert "orchestrator.service" not in node.span.resource.attributes
    otel.shutdown()
"""


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [
        ("", "", ["n svc x None 2", "r svc x None 0"]),
        (", split_services='state'", "", ["n svc-working x svc 2", "r svc x svc 0"]),
        (", split_services='category'", "", ["n svc-compute x svc 2", "r svc x svc 0"]),
        ("", "state", ["n svc-working x svc 2", "r svc x svc 0"]),
        (", split_services='category'", "state", ["n svc-compute x svc 2", "r svc x svc 0"]),
        ("", "none", ["n svc x None 2", "r svc x None 0"]),
    ],
)
def test_spans_are_sent_sorted_into_services_and_stay_as_they_are_in_the_process(
    tmp_path: Path, option: str, variable: str, expected: list[str]
) -> None:
    done = python(
        SENT.replace("{option}", option),
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_METRICS_EXPORTER="none",
        OTEL_ORCHESTRATOR_SPLIT_SERVICES=variable,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == expected
    assert resource_of(tmp_path)["service.name"] == "svc", "the run file's"


def test_sorting_into_services_is_not_for_providers_of_the_users(tmp_path: Path) -> None:
    done = python(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        otel.configure(split_services="state")
        """,
        tmp_path,
    )
    assert "split_services changes nothing: another TracerProvider sends" in done.stderr


def test_spans_of_others_are_marked_and_belong_to_their_run(tmp_path: Path) -> None:
    python(
        """
        from opentelemetry import trace
        otel.configure()
        tracer = trace.get_tracer("theirs")
        with otel.run("r"), tracer.start_as_current_span("their work"):
            pass
        with tracer.start_as_current_span("outside"):
            pass
        """,
        tmp_path,
    )
    run = read_run(find_run(None, tmp_path))
    theirs = next(s for s in run.spans if s.name == "their work")
    assert (theirs.state, theirs.category) == ("working", "compute")
    process = next(f for f in list_runs(tmp_path) if not f.is_of_a_run)
    assert [s.name for s in read_run(process).spans] == ["outside"]


def test_a_second_call_changes_nothing_and_says_so(tmp_path: Path) -> None:
    done = python("otel.configure('a')\notel.configure('b')" + textwrap.dedent(RUN), tmp_path)
    assert "called before" in done.stderr
    assert resource_of(tmp_path)["service.name"] == "a"


def test_a_second_call_adds_to_what_is_secret_and_takes_nothing_away(tmp_path: Path) -> None:
    python(
        """
        otel.configure(redact=[r"CUST-\\d+"], redact_names=["customer.*"])
        otel.configure(redact_names=["billing.*"])
        from opentelemetry import trace
        with otel.run("r"):
            span = trace.get_current_span()
            span.set_attributes(
                {"order": "of CUST-123", "customer.mail": "mail-a", "billing.mail": "mail-b"}
            )
        """,
        tmp_path,
    )
    text = find_run(None, tmp_path).path.read_text("utf-8")
    assert "of [redacted]" in text
    assert "mail-a" not in text
    assert "mail-b" not in text


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    off = python("otel.configure()" + textwrap.dedent(RUN), tmp_path, OTEL_SDK_DISABLED="true")
    assert (off.returncode, off.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
    python("otel.configure(run_files=False)" + textwrap.dedent(RUN), tmp_path)
    assert not list(tmp_path.iterdir())


def test_where_it_is_switched_off_no_library_is_touched(tmp_path: Path) -> None:
    code = """
    from subprocess import Popen
    init = Popen.__init__
    print(otel.instrument(), Popen.__init__ is init)
    """
    assert python(code, tmp_path, OTEL_SDK_DISABLED="true").stdout == "() True\n"
    assert "git" in (on := python(code, tmp_path).stdout) and on.endswith(" False\n")


@pytest.mark.parametrize(
    ("code", "environment", "said"),
    [
        ("otel.configure(label=3)", {}, "the label has to be a string"),
        ("otel.configure(3)", {}, "(service_name=3): the service name has to be a string"),
        ("otel.configure(redact_names=3)", {}, "(redact_names=...): type a list"),
        ("otel.configure(keep_runs=0)", {}, "(keep_runs=0): give a whole number from 1 on"),
        ("otel.configure(keep_runs=-1)", {}, "(keep_runs=-1): give a whole number from 1 on"),
        ("otel.configure(max_run_file_bytes='1MB')", {}, "='1MB'): give a whole number"),
        ("otel.configure(attributes=['x'])", {}, "(attributes=['x']): give a dictionary"),
        ("otel.configure()", {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317"}, "is no URL"),
        ("otel.configure()", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, "is no URL"),
        (
            "otel.configure()",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "x"},
            "Type grpc or http/protobuf",
        ),
        (
            "otel.configure(split_services='colour')",
            {},
            "configure(split_services='colour') makes no sense. Type state or category, or None",
        ),
        (
            "otel.configure()",
            {"OTEL_ORCHESTRATOR_SPLIT_SERVICES": "colour"},
            "SPLIT_SERVICES=colour makes no sense. Type state or category, or none for neither",
        ),
        ("otel.configure(run_dir='/proc/nope')", {}, "cannot be written"),
        ("otel.instrument(only=['nope'])", {}, "there is no 'nope'"),
        ("otel.instrument(nope=1)", {}, "has no option 'nope'"),
    ],
)
def test_a_mistake_at_set_up_raises_and_says_what_to_type(
    tmp_path: Path, code: str, environment: dict[str, str], said: str
) -> None:
    done = python(code, tmp_path, **environment)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("otel_orchestrator.errors.")
    assert said in last


def test_another_exporter_than_otlp_is_no_mistake_but_is_said(tmp_path: Path) -> None:
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        chosen = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "prometheus"}
        code = "otel.configure()" + textwrap.dedent(RUN)
        done = python(code, tmp_path, **{**receiver.environment, **chosen})
    assert (done.returncode, done.stdout) == (0, "")
    assert [line.partition(" is not")[0] for line in done.stderr.splitlines()] == [
        "OTEL_TRACES_EXPORTER=console",
        "OTEL_METRICS_EXPORTER=prometheus",
    ]
    assert len(receiver.taken) == 2
    assert receiver.metrics


@pytest.mark.parametrize(
    ("said", "is_on"), [("1", True), ("True", True), ("0", False), ("", False), ("yes", False)]
)
def test_a_switch_that_is_neither_on_nor_off_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: str, is_on: bool
) -> None:
    monkeypatch.setenv("OTEL_ORCHESTRATOR_FSYNC", said)
    assert _guard.is_on("OTEL_ORCHESTRATOR_FSYNC") is is_on
    warned = [record.getMessage() for record in caplog.records]
    expected = "OTEL_ORCHESTRATOR_FSYNC is neither true nor false, and so counts as false. Type 1"
    assert warned == ([expected] if said == "yes" else [])


def test_an_empty_interval_is_none_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", " ")
    reader = metric_reader(ConsoleMetricExporter())
    assert reader._export_interval_millis == 10_000
    reader.shutdown()

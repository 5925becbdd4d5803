"""Programs that run traced without a change to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from .programs import run_app


@pytest.mark.parametrize(
    "words", [["python", "app.py"], ["app.py"], ["--", sys.executable, "app.py"]]
)
def test_a_program_runs_traced_without_a_change_to_it(tmp_path: Path, words: list[str]) -> None:
    done = run_app(
        tmp_path,
        "otel-orchestrator",
        "run",
        "--label",
        "a,b=c",
        "--service-name",
        "s",
        *words,
        "--x",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n{'n': 1} ['--x']\n", "a child Python is no run of its own"
    run = read_run(find_run(None, tmp_path / "runs"))
    # Whether a node waits for a millisecond to start is chance.
    assert [s.name for s, _ in forest_of(run.spans).walk() if s.state != "waiting"] == [
        "invoke_workflow app", "loop", "superstep", "node work", "git version",
    ]  # fmt: skip
    assert run.resource["service.name"] == "s"
    assert run.resource["orchestrator.run.label"] == "a,b=c"


def test_the_programs_exit_code_is_kept(tmp_path: Path) -> None:
    assert run_app(tmp_path, "otel-orchestrator", "run", "python", "-c", "exit(3)").returncode == 3


def test_a_sitecustomize_of_the_users_still_runs(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('theirs')\n")
    done = run_app(
        tmp_path,
        "otel-orchestrator", "run", "python", "-c", "print('app')",
        PYTHONPATH=str(tmp_path / "site"),
    )  # fmt: skip
    assert done.stdout == "theirs\ntheirs\napp\n", "in our own command, and in the program"


def test_a_program_starts_untraced_when_set_up_fails(tmp_path: Path) -> None:
    done = run_app(
        tmp_path, "otel-orchestrator", "run", "app.py", OTEL_EXPORTER_OTLP_ENDPOINT="nonsense"
    )
    assert done.returncode == 0
    assert done.stdout.endswith("{'n': 1} []\n")
    assert "not tracing this program" in done.stderr


def test_plain_opentelemetry_instrument_finds_the_instrumentors(tmp_path: Path) -> None:
    (tmp_path / "sdk.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
        "trace.set_tracer_provider(provider)\n"
        "import app\n"
    )
    # OpenTelemetry's own for LangChain, which our tests need, too, has a workflow span of its own.
    done = run_app(
        tmp_path,
        "opentelemetry-instrument", "python", "sdk.py",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="langchain",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.strip().rstrip(",") for line in done.stdout.splitlines()]
    names = [json.loads(f"{{{line}}}")["name"] for line in lines if line.startswith('"name"')]
    worked = [name for name in names if not name.startswith("wait ")]
    assert worked == ["git version", "node work", "superstep", "loop", "invoke_workflow app"]


def test_a_program_that_sets_tracing_up_itself_is_heard(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import otel_orchestrator as otel\n"
        "from langgraph.graph import END, START, StateGraph\n"
        "otel.configure('mine', keep_runs=3, redact=[r'EMP-\\d+'])\n"
        "otel.instrument(loop_head='two')\n"
        "from opentelemetry import trace\n"
        "def one(state): trace.get_current_span().set_attribute('who', 'it is EMP-123')\n"
        "graph = StateGraph(dict)\n"
        "graph.add_node('one', one)\n"
        "graph.add_edge(START, 'one')\n"
        "graph.add_node('two', lambda state: None)\n"
        "graph.add_edge('one', 'two')\n"
        "graph.add_edge('two', END)\n"
        "graph.compile().invoke({})\n"
    )
    done = run_app(tmp_path, "otel-orchestrator", "run", "own.py")
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "called before" in line]
    assert told.endswith("not as it says: service_name, keep_runs")
    file = find_run(None, tmp_path / "runs")
    text = file.path.read_text("utf-8")
    assert "it is [redacted]" in text
    assert "EMP-123" not in text
    heads = [s.text(Attr.LOOP_HEAD) for s in read_run(file).spans if s.operation == "loop"]
    assert heads[-1] == "two"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_ctrl_c_before_the_program_begins_ends_it_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "openai.py").write_text(
        "print('setting up', flush=True); import time\ntime.sleep(60)"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-m", "otel_orchestrator.cli", "run", "python", "-c", "print('began')"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "setting up\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == -signal.SIGINT


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_ctrl_c_is_the_programs_once_it_has_begun(tmp_path: Path) -> None:
    interrupted = "import signal; signal.raise_signal(signal.SIGINT)"
    done = run_app(tmp_path, "otel-orchestrator", "run", "python", "-c", interrupted)
    assert done.stderr.endswith("KeyboardInterrupt\n")

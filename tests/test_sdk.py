"""configure() and shutdown(), each in a process of its own: providers are global."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

RUN = """
    with otel.run("r"):
        with otel.node("n"):
            pass
"""


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has `otel`; its run files go to `folder`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    program = "import otel_orchestrator as otel\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), **environment},
    )


def resource_of(folder: Path) -> Any:
    return read_run(find_run(None, folder)).resource


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


def black_hole() -> socket.socket:
    """A port that takes connections and never answers."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(50)
    return listening


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_a_dead_endpoint_costs_the_program_nothing_and_is_said_once(
    tmp_path: Path, protocol: str, kind: str
) -> None:
    hole = black_hole()
    port = hole.getsockname()[1]
    if kind == "refusing":
        hole.close()
    began = time.monotonic()
    done = python(
        """
        import time
        otel.configure()
        for _ in range(3):
            with otel.run("r"):
                with otel.node("n"):
                    pass
            time.sleep(0.1)
        began = time.monotonic()
        otel.shutdown(2.0)
        print(time.monotonic() - began)
        """,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://user:hunter2@127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_METRIC_EXPORT_INTERVAL="50",
        OTEL_EXPORTER_OTLP_TIMEOUT="500" if protocol == "nothing" else "1",
    )
    hole.close()
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.5, "the bound that was asked for, and a little"
    assert time.monotonic() - began < 30
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines.pop().startswith("6 spans are not sent yet. The run files keep them")
    assert len(lines) <= 1, done.stderr
    if lines:
        assert "does not take telemetry" in lines[0]
    written = [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert "hunter2" not in done.stderr + "".join(written)
    assert len([f for f in list_runs(tmp_path) if f.is_of_a_run]) == 3


def test_shutdown_is_idempotent_and_comes_by_itself_at_exit(tmp_path: Path) -> None:
    done = python(
        "otel.configure()" + textwrap.dedent(RUN) + "print(otel.shutdown(), otel.shutdown())\n",
        tmp_path,
    )
    assert done.stdout == "True True\n"
    assert python("print(otel.shutdown())", tmp_path).stdout == "True\n"


def test_shutdown_keeps_its_bound_where_the_disk_does_not_answer(tmp_path: Path) -> None:
    hole = black_hole()
    done = python(
        """
        import time
        from otel_orchestrator import sdk
        otel.configure()
        with otel.run("r"):
            pass
        sdk._configured.file._flushing.acquire()  # as a writer has it that waits for its disk
        began = time.monotonic()
        print(otel.shutdown(0.5))
        print(time.monotonic() - began)
        """,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{hole.getsockname()[1]}",
        OTEL_METRICS_EXPORTER="none",
    )
    hole.close()
    assert done.returncode == 0, done.stderr
    in_time, took_s = done.stdout.splitlines()
    assert in_time == "False"
    assert 0.4 < float(took_s) < 1.0


def test_shutdown_may_wait_without_a_bound(tmp_path: Path) -> None:
    done = python(
        "otel.configure()" + textwrap.dedent(RUN) + "print(otel.shutdown(float('inf')))\n", tmp_path
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert len(read_run(find_run(None, tmp_path)).spans) == 2


def test_console_prints_the_live_lines(tmp_path: Path) -> None:
    done = python(
        """
        otel.configure(console=True)
        with otel.run("r"), otel.loop():
            otel.observe_tasks([{"id": "a"}, {"id": "b", "depends_on": ["a"]}])
            with otel.task("worker", "a"), otel.node("worker"):
                with otel.llm_call("m"):
                    pass
        """,
        tmp_path,
    )
    import re

    lines = [re.sub(r"[\d.]+(ms|s)", r"_\1", line) for line in done.stdout.splitlines()]
    assert lines == [
        "📈 Queue: 1 ready, 0 active, 1 waiting",
        "📈 Queue: 0 ready, 1 active, 1 waiting",
        "  🤖 LLM responded in _ms",
        "📊 Node 'worker' took _s",
        "  ⏱️  Task a completed in _s",
        "📈 Queue: 1 ready, 0 active, 0 waiting",
        "🔁 Graph loop iteration 0: _s",
        "📈 Queue: 0 ready, 0 active, 0 waiting",
    ]


def test_console_survives_a_terminal_that_knows_no_emoji(tmp_path: Path) -> None:
    done = python(
        "otel.configure(console=True)" + textwrap.dedent(RUN), tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0
    assert "Node 'n' took" in done.stdout
    closed = python(
        "import sys\notel.configure(console=True)\nsys.stdout.close()" + textwrap.dedent(RUN),
        tmp_path,
    )
    assert "Traceback" not in closed.stderr


# --- the run file ---


def test_a_killed_process_keeps_what_ended_and_shows_what_was_open(tmp_path: Path) -> None:
    done = python(
        """
        import os, signal, time
        otel.configure()
        with otel.run("r"), otel.node("long"):
            with otel.node("short"):
                pass
            time.sleep(1.2)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert done.returncode == -9
    run = read_run(find_run(None, tmp_path))
    assert {(s.name, s.outcome) for s in run.spans} == {
        ("invoke_workflow r", "interrupted"),
        ("node long", "interrupted"),
        ("node short", "ok"),
    }
    assert run.warnings[0].startswith("2 spans were open when the program ended or was killed")


def test_files_are_private_and_ignored_by_git(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "runs"
    python("otel.configure()" + textwrap.dedent(RUN), folder)
    path = find_run(None, folder).path
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert (folder / ".gitignore").read_text() == "*\n"


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    code = "otel.configure()\nfor _ in range(20):" + RUN.replace("\n", "\n    ")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment = {**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path)}
    program = "import otel_orchestrator as otel\n" + textwrap.dedent(code)
    both = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)]
    assert [p.wait(30) for p in both] == [0, 0]
    runs = [read_run(f) for f in list_runs(tmp_path)]
    assert len(runs) == 40
    assert all(len(r.spans) == 2 and not r.warnings for r in runs)


def test_a_forked_child_writes_its_own_spans_once(tmp_path: Path) -> None:
    done = python(
        """
        import os
        otel.configure()
        with otel.run("parent"):
            with otel.node("before"):
                pass
            child = os.fork()
            if child == 0:
                with otel.node("child"):
                    pass
                otel.shutdown()
                os._exit(0)
            os.waitpid(child, 0)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = find_run(None, tmp_path).path.read_text()
    run = read_run(find_run(None, tmp_path))
    assert sorted(s.name for s in run.spans) == [
        "invoke_workflow parent",
        "node before",
        "node child",
    ]
    assert lines.count('"node before"') == 1
    assert run.warnings == ()


def test_a_full_file_takes_no_more_and_says_so(tmp_path: Path) -> None:
    done = python(
        """
        import time
        otel.configure(max_run_file_bytes=20_000)
        with otel.run("r"):
            for _ in range(4):
                for _ in range(40):
                    with otel.node("n"):
                        pass
                time.sleep(0.6)
        """,
        tmp_path,
    )
    assert "is full" in done.stderr
    run = read_run(find_run(None, tmp_path))
    assert find_run(None, tmp_path).path.stat().st_size < 21_000
    assert any("reached its size limit" in w for w in run.warnings)


def test_old_runs_are_removed(tmp_path: Path) -> None:
    python(
        """
        import time
        otel.configure(keep_runs=3)
        for _ in range(6):
            with otel.run("r"):
                pass
            time.sleep(0.6)
        """,
        tmp_path,
    )
    assert len(list_runs(tmp_path)) == 3


def test_a_folder_that_goes_away_does_not_disturb_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    done = python(
        """
        import os, shutil, time
        otel.configure()
        shutil.rmtree(os.environ["OTEL_ORCHESTRATOR_RUN_DIR"])
        with otel.run("r"):
            pass
        print("done")
        """,
        folder,
    )
    assert done.stdout == "done\n"
    assert "was removed, and is made again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_loses_spans_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "full"
    done = python(
        """
        import os, sys
        from otel_orchestrator.delivery import runfile
        original = os.open
        def full(path, *args, **kwargs):
            return original("/dev/full" if str(path).endswith(".jsonl") else path, *args, **kwargs)
        runfile.os.open = full
        otel.configure()
        with otel.run("r"):
            pass
        print("done")
        """,
        target,
    )
    assert done.stdout == "done\n"
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


# --- zero code ---

APP = """
import subprocess, sys
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    n: int

def work(state):
    subprocess.run(["git", "--version"], capture_output=True)
    subprocess.run([sys.executable, "-c", "import sys; print('otel_orchestrator' in sys.modules)"])
    return {"n": 1}

graph = StateGraph(State)
graph.add_node("work", work)
graph.add_edge(START, "work")
print(graph.compile(name="app").invoke({"n": 0}), sys.argv[1:], flush=True)
"""


def run_app(tmp_path: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "app.py").write_text(APP)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    bin_folder = str(Path(sys.executable).parent)
    return subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            **clean,
            "PATH": f"{bin_folder}{os.pathsep}{clean['PATH']}",
            "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path / "runs"),
            **environment,
        },
    )


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

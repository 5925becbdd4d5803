"""The command line where its output goes nowhere, and where what it is told makes no sense."""

from __future__ import annotations

import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .runs import RUN_ID, write_example
from .test_jaeger import Answering, Strange

LONG = "x" * 300
NO_STACK = ("--jaeger", "none", "--prometheus", "none", "--grafana", "none")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_example(tmp_path)
    return tmp_path


def cli(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_EXPORTER")}
    environment = {**inherited, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", *words],
        text=True,
        cwd=folder,
        env=environment,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["report", RUN_ID], 0),
        (["runs"], 0),
        (["--help"], 0),
        (["report", "--help"], 0),
        (["report", "no-such-run"], 2),
        (["stack", "check", *NO_STACK], 1),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_reader_that_went_away_changes_no_exit_code(
    folder: Path, words: list[str], code: int, unbuffered: str
) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    done = cli(folder, *words, stdout=ours, env={"PYTHONUNBUFFERED": unbuffered})
    os.close(ours)
    assert done.returncode == code
    assert done.stderr.count("\n") == (code == 2)


@pytest.mark.skipif(sys.platform == "win32", reason="streams are closed otherwise there")
def test_without_any_stdout_it_is_no_failure(folder: Path) -> None:
    done = cli(folder, "report", RUN_ID, stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_encoding_has_no_sign_for_is_replaced(folder: Path) -> None:
    environment = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = cli(folder, "report", RUN_ID, env=environment, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The run, span by span" in done.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("report", "2026"), "as of 20261125-060000-abc123, 20261124-060000-abc123"),
        (("report", "--output", "-"), "- is no name of a file: without --output it is printed"),
        (("report", "inner"), "inner is a folder. Type: --dir inner"),
        (("report", LONG), f"there is no run {LONG} in"),
        (("report", f"{LONG}#run"), f"there is no run {LONG}#run in"),
        (("report", f"./{LONG}"), f"there is no file ./{LONG}"),
        (("compare", LONG, "--with", RUN_ID), f"there is no run {LONG} in"),
        (("report", "--dir", LONG), "cannot be read: File name too long"),
        (("run", "./script"), "./script cannot be run: Exec format error. Type what runs it: sh"),
        (("stack", "check", "--jaeger", "http://localhost:abc"), "--jaeger http://localhost:abc"),
        (("stack", "check", "--endpoint", "http://h:abc"), "--endpoint http://h:abc is no URL."),
        (("report", "--jaeger-url", "localhost:16686"), "--jaeger-url localhost:16686 is no URL."),
        (("stack", "check", "--jaeger", "http://"), "--jaeger http:// is no URL. Type:"),
        (("stack", "check", "--jaeger", "http://[::1"), "--jaeger http://[::1 is no URL. Type:"),
        (("stack", "check", "--grafana", "http://a b"), "--grafana http://a b is no URL. Type:"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_makes_no_sense_is_told_in_one_line(
    folder: Path, words: tuple[str, ...], line: str
) -> None:
    (folder / "script").write_text("echo hello\n")
    (folder / "script").chmod(0o755)
    (folder / "inner").mkdir()
    (run,) = folder.glob("*.jsonl")
    run.with_name("20261125-060000-abc123.jsonl").write_bytes(run.read_bytes())
    done = cli(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["runs", "report"])
def test_metrics_that_are_still_to_be_sent_are_no_run(tmp_path: Path, command: str) -> None:
    point = '{"gauge":{"dataPoints":[{"timeUnixNano":"1795500000000000000","asInt":"1"}]}}'
    scopes = f'[{{"metrics":[{point}]}}]'
    (tmp_path / "process-1.jsonl").write_text(
        f'{{"runFile":{{"version":1}},"resourceMetrics":[{{"scopeMetrics":{scopes}}}]}}\n'
    )
    done = cli(tmp_path, command)
    assert (done.returncode, done.stdout) == (2, "")
    there_are_none = {"runs": "there are no runs in", "report": "holds no spans"}
    assert there_are_none[command] in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (100, "run what label outcome started wall tasks spans"),
        (70, "run label outcome started wall"),
        (45, "run outcome wall"),
    ],
)
def test_a_list_of_runs_has_the_columns_that_there_is_room_for(
    folder: Path, width: int, columns: str
) -> None:
    ours, theirs = os.openpty()
    cli(
        folder, "runs", stdout=theirs, env={"COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"}
    )
    os.close(theirs)
    written = re.sub(r"\x1b\[[0-9;]*m", "", os.read(ours, 65536).decode())
    header, *rows = written.splitlines()
    os.close(ours)
    assert header.split() == columns.split()
    assert all(len(row.rstrip()) <= width for row in rows)
    assert rows[0].startswith(f"{RUN_ID}  ")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_an_id_that_is_too_long_for_a_list_goes_on_in_the_next_line(folder: Path) -> None:
    (run,) = folder.glob("*.jsonl")
    run.rename(run.with_stem("nightly-" * 9))
    ours, theirs = os.openpty()
    cli(folder, "runs", stdout=theirs, env={"COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"})
    os.close(theirs)
    written = re.sub(r"\x1b\[[0-9;]*m", "", os.read(ours, 65536).decode())
    os.close(ours)
    _, *rows = written.splitlines()
    assert "".join(row.partition(" ")[0] for row in rows) == "nightly-" * 9
    assert all(len(row.rstrip()) <= 60 for row in rows)
    assert rows[0].split()[1:] == ["ok", "1.00", "s"]


class Greeting(socketserver.BaseRequestHandler):
    """Greets whoever comes, as an ssh server does."""

    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        self.request.recv(1024)


@contextmanager
def served(server: socketserver.BaseServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("part", ["jaeger", "prometheus", "grafana"])
@pytest.mark.parametrize("body", [None, b"[]", b"7", b"{"], ids=["ssh", "list", "number", "torn"])
def test_a_stack_that_is_something_else_is_said(
    folder: Path, part: str, body: bytes | None
) -> None:
    address = ("127.0.0.1", 0)
    server = Strange(address, Answering) if body else socketserver.TCPServer(address, Greeting)
    if isinstance(server, Strange):
        server.body = body or b""
    with served(server):
        url = f"http://127.0.0.1:{server.server_address[1]}"
        done = cli(folder, "stack", "check", *NO_STACK, f"--{part}", url)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{url} does not answer: what answers there is something else" in done.stdout


def test_a_prometheus_without_any_data_is_said(folder: Path) -> None:
    server = Strange(("127.0.0.1", 0), Answering)
    server.body = b"{}"
    with served(server):
        endpoint = ("--endpoint", server.url, "--protocol", "http/protobuf")
        done = cli(folder, "stack", "check", *NO_STACK, *endpoint, "--prometheus", server.url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr  # the server takes no telemetry, which is said there
    assert "the recording rules are not loaded" in done.stdout

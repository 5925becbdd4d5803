"""`watch` on a real terminal, beside a real program that runs, ends, or is killed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .reading.runs import Writer, several

pytestmark = pytest.mark.timeout(60)

PROGRAM = """
import sys, threading, time
import otel_orchestrator as otel
otel.configure("shop")
with otel.run("shop"), otel.loop():
    otel.observe_tasks([{"id": "slow", "status": "active"}, {"id": "next", "status": "planned"}])
    with otel.task("worker", "slow"), otel.node("worker"), otel.llm_call("gpt"):
        time.sleep(0.7)
        print("up", flush=True)
        sys.stdin.readline()
"""


class Terminal:
    """`watch` in a terminal of a size of ours; what it wrote."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 100, lines: int = 20) -> None:
        self.master, slave = pty.openpty()
        self._size(columns, lines)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = ""
        command = [sys.executable, "-m", "otel_orchestrator.cli", "watch", *arguments]
        clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), "TERM": "xterm"},
            start_new_session=True,
            # Whoever runs the tests in the background of a shell ignores it, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        self._size(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def wait_for(self, words: str, within_s: float = 20) -> str:
        until = time.monotonic() + within_s
        while words not in self.text:
            assert time.monotonic() < until, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += plain(os.read(self.master, 65536).decode())
        return self.text

    def type(self, keys: str) -> None:
        self.text = ""
        os.write(self.master, keys.encode())

    def ended(self) -> int:
        until = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < until:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += plain(os.read(self.master, 65536).decode())
        return self.process.wait(1)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path)},
    ) as running:
        assert running.stdout is not None and running.stdout.readline() == "up\n"
        yield running
        running.kill()


def test_a_run_is_followed_to_its_end(tmp_path: Path, program: subprocess.Popen[str]) -> None:
    terminal = Terminal(tmp_path)
    terminal.wait_for("chat gpt")
    terminal.wait_for("1 in flight")
    terminal.wait_for("1 active  1 ready  0 waiting")
    terminal.resize(60, 12)
    program.communicate("\n")
    terminal.wait_for("It has ended. Type: otel-orchestrator report")
    assert terminal.ended() == 0


def test_a_killed_program_is_said_to_be_gone(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    terminal = Terminal(tmp_path)
    terminal.wait_for("chat gpt")
    program.kill()
    program.wait()
    terminal.wait_for("Its program is gone: it was killed")
    assert terminal.ended() == 0


@pytest.mark.parametrize("keys", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_it_quits_clean(tmp_path: Path, program: subprocess.Popen[str], keys: str) -> None:
    """The run goes on, the exit code is 0, and the terminal is as before."""
    terminal = Terminal(tmp_path)
    terminal.wait_for("chat gpt")
    if keys == "\x03":
        terminal.process.send_signal(signal.SIGINT)
    else:
        terminal.type(keys)
    assert terminal.ended() == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert "Traceback" not in terminal.text
    assert program.poll() is None


def test_it_waits_for_a_run_to_start(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "none yet")
    terminal.wait_for("nothing runs; waiting for a run in")
    terminal.type("q")
    assert terminal.ended() == 0


def test_piped_it_says_what_goes_on_now(tmp_path: Path, program: subprocess.Popen[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "watch", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "chat gpt" in done.stdout
    assert "\x1b" not in done.stdout


def watch(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "watch", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder)},
    )


@pytest.mark.parametrize("content", ["a text\n", "a text", '{"format": 1}\n', "{\n}\n", "\0\1"])
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "strange").write_text(content)
    done = watch("--once", str(tmp_path / "strange"), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("strange is not a run file: no line of it is OTLP JSON\n")


@pytest.mark.parametrize("content", ["", "\n", '{"runFile":{"version":1},"resourceSp'])
def test_a_run_file_that_was_made_just_now_is_waited_for(tmp_path: Path, content: str) -> None:
    (tmp_path / "new.jsonl").write_text(content)
    done = watch("--once", str(tmp_path / "new.jsonl"), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no run has started yet" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]


def test_without_any_run_it_says_how_to_wait_for_one(tmp_path: Path) -> None:
    done = watch("--dir", str(tmp_path / "none"), folder=tmp_path)
    assert done.returncode == 2
    wait = f"otel-orchestrator watch --wait --dir {tmp_path / 'none'}\n"
    assert done.stderr.endswith(f"To wait for the first, type: {wait}")


def test_piped_it_waits_for_the_first_run_if_that_is_wanted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "otel_orchestrator.cli", "watch", "--wait"]
    environment = {**os.environ, "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path / "none yet")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as watching:  # type: ignore[call-overload]
        assert watching.stderr.readline().startswith("nothing runs; waiting for a run in")
        (tmp_path / "none yet").mkdir()
        (tmp_path / "none yet" / "strange.jsonl").write_text("no run\n")
        time.sleep(0.5)
        assert watching.poll() is None
        with Writer(tmp_path / "none yet").span("invoke_workflow shop", 0, None):
            said, _ = watching.communicate(timeout=20)
        assert watching.returncode == 0
        assert "shop" in said


def test_several_runs_in_one_file_are_told_apart(tmp_path: Path) -> None:
    both = several(tmp_path, "first", "second")
    done = watch(str(both), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"that is 2 runs: name one, such as {both}#second" in done.stderr
    assert "second" in watch(f"{both}#second", folder=tmp_path).stdout


def test_a_damaged_file_whose_spans_are_each_others_parents_is_no_circle(tmp_path: Path) -> None:
    parents = {"invoke_workflow g": (1, 0), "loop a": (2, 3), "loop b": (3, 2), "task t": (4, 4)}
    spans = [
        {
            "traceId": "a" * 32,
            "spanId": f"{n:016x}",
            "parentSpanId": f"{of:016x}",
            "name": name,
            "startTimeUnixNano": str(10**18 + n),
        }
        for name, (n, of) in parents.items()
    ]
    blocks = [{"resource": {}, "scopeSpans": [{"spans": spans}]}]
    line = {"runFile": {"version": 1}, "resourceSpans": blocks}
    (tmp_path / "r.jsonl").write_text(json.dumps(line) + "\n")
    done = watch("--once", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")

"""shutdown(), by hand or at exit; endpoints that are dead hold nothing up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import stored
from .programs import RUN, python


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
    assert lines.pop().startswith("6 spans are not sent yet to http://")
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


def test_metrics_do_not_wait_for_a_disk_that_takes_all_of_the_time(tmp_path: Path) -> None:
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        done = python(
            """
            from otel_orchestrator import sdk
            otel.configure()
            with otel.run("r"), otel.node("n"):
                pass
            sdk._configured.file._flushing.acquire()  # as a writer has it that is far behind
            print(otel.shutdown(3))
            """,
            tmp_path,
            **receiver.environment,
        )
    assert done.stdout == "False\n"
    assert receiver.count_of("orchestrator.node.duration") == 1


def test_shutdown_may_wait_without_a_bound(tmp_path: Path) -> None:
    done = python(
        "otel.configure()" + textwrap.dedent(RUN) + "print(otel.shutdown(float('inf')))\n", tmp_path
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert len(read_run(find_run(None, tmp_path)).spans) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_ctrl_c_at_the_end_waits_no_longer_and_says_what_is_not_sent(tmp_path: Path) -> None:
    hole = black_hole()
    program = "import otel_orchestrator as otel\notel.configure()" + textwrap.dedent(RUN)
    with subprocess.Popen(
        [sys.executable, "-c", program + "\nprint('done', flush=True)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{hole.getsockname()[1]}",
        },
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    hole.close()
    assert process.returncode == 0
    (line,) = said.splitlines()
    assert line.startswith("2 spans are not sent yet to http://")


def test_a_program_sends_all_that_it_recorded_though_no_thread_can_be_started_at_exit(
    tmp_path: Path,
) -> None:
    """As on Python 3.12.0 and 3.12.1, where it ends before the sender had anything to send."""
    with receiving(Receiver()) as receiver:
        done = python(
            """
            import threading
            otel.configure()
            with otel.run("r"):
                with otel.node("n"):
                    pass
            def fail(_):
                raise RuntimeError("can't create new thread at interpreter shutdown")
            threading.Thread.start = fail
            """,
            tmp_path,
            **receiver.environment,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert receiver.counted() == stored(tmp_path)
        assert len(receiver.taken) == 2

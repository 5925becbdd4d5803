"""What a forked child pays: most only exec another program, and start no thread before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import stored
from .programs import python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")

CHILD = """
    import os, sys, threading, time
    otel.configure()
    def threads():
        return sorted(t.name for t in threading.enumerate() if t.name != "MainThread")
    def child():
        {child}
    with otel.run("parent"):
        pass
    if os.fork() == 0:
        child()
    else:
        os.wait()
"""


def ran(child: str, folder: Path, to: Receiver | None = None) -> str:
    """Run a program with a forked child that ends as programs do; what it printed."""
    done = python(CHILD.format(child=child), folder, **({} if to is None else to.environment))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_child_without_telemetry_starts_no_thread(tmp_path: Path) -> None:
    with receiving(Receiver()) as receiver:
        ours = 'print([name for name in threads() if name.startswith("otel-orchestrator")])'
        assert ran(ours, tmp_path, receiver) == "[]\n", "what the SDK starts is the SDK's"


def test_a_child_with_telemetry_ends_as_its_parent_does(tmp_path: Path) -> None:
    with receiving(Receiver()) as receiver:
        child = 'otel.run("child").__enter__(); print("otel-orchestrator-shutdown" in threads())'
        assert ran(child, tmp_path, receiver) == "True\n"
        assert len(receiver.taken) == 2, "the open one, too"
        assert receiver.counted() == stored(tmp_path)


def test_a_child_asks_for_the_end_itself(tmp_path: Path) -> None:
    assert ran("print(otel.shutdown(), threads())", tmp_path).startswith("True")


def test_a_child_without_telemetry_ends_where_no_thread_can_be_started_any_more(
    tmp_path: Path,
) -> None:
    """As at exit, from Python 3.12 on."""
    child = """
        def fail(_):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        threading.Thread.start = fail
        began = time.monotonic()
        print(otel.shutdown(), time.monotonic() - began < 4)  # of the 5 s that it has
    """
    assert ran(child.strip(), tmp_path) == "True True\n"


def test_a_child_of_a_program_that_has_ended_its_telemetry_ends_it_no_second_time(
    tmp_path: Path,
) -> None:
    done = python(
        """
        import os, sys
        otel.configure()
        otel.shutdown()
        if os.fork() == 0:
            with otel.run("late"):
                pass
            sys.exit()
        os.wait()
        """,
        tmp_path,
    )
    assert "shutdown can only be called once" not in done.stderr
    assert done.returncode == 0

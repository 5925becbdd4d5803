"""How a program may end, and what is in its run files then: as the table in docs/reliability.md."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_orchestrator.sources.runfiles import list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import started

pytestmark = pytest.mark.timeout(90)

ENDS_WITHIN_S = 15
"""What no ending takes, on a busy machine, Python's start included."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as up:
        yield up


def outcomes(folder: Path) -> dict[str, str]:
    """How each span ended, by name; every name is used once."""
    spans = [span for file in list_runs(folder) for span in read_run(file).spans]
    names = Counter(span.name for span in spans)
    assert not [name for name, count in names.items() if count > 1]
    return {span.name.removeprefix("invoke_workflow "): span.outcome for span in spans}


def ended(
    folder: Path, code: str, to: Receiver | None = None, exit_code: int = 0
) -> tuple[dict[str, str], str]:
    """Run a program to its end; how its spans ended, and what it wrote to stderr."""
    program = started(code, folder, to)
    began = time.monotonic()
    _, errors = program.communicate(timeout=60)
    assert program.returncode == exit_code, errors
    assert time.monotonic() - began < ENDS_WITHIN_S
    return outcomes(folder), errors


def test_an_exit_without_shutdown(tmp_path: Path, receiver: Receiver) -> None:
    found, errors = ended(
        tmp_path, "otel.configure()\nwith otel.run('r'), otel.node('n'): pass", receiver
    )
    assert (found, errors) == ({"r": "ok", "node n": "ok"}, "")
    assert len(receiver.taken) == 2


def test_an_exception_that_nobody_catches(tmp_path: Path, receiver: Receiver) -> None:
    code = """
        otel.configure()
        with otel.run("r"), otel.node("n"):
            raise ValueError("why")
        """
    found, errors = ended(tmp_path, code, receiver, exit_code=1)
    assert found == {"r": "error", "node n": "error"}
    assert errors.splitlines()[-1] == "ValueError: why"
    assert len(receiver.taken) == 2


def test_sys_exit_in_the_middle(tmp_path: Path, receiver: Receiver) -> None:
    code = """
        import sys
        otel.configure()
        with otel.run("r"), otel.node("n"):
            sys.exit(3)
        """
    found, errors = ended(tmp_path, code, receiver, exit_code=3)
    assert (set(found), errors) == ({"r", "node n"}, "")
    assert not {"open", "interrupted"} & set(found.values())
    assert len(receiver.taken) == 2


def test_sys_exit_in_a_thread(tmp_path: Path, receiver: Receiver) -> None:
    """It ends the thread, and its spans with it; the program goes on."""
    code = """
        import sys, threading
        def work():
            with otel.run("thread"):
                sys.exit(3)
        otel.configure()
        with otel.run("main"):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        """
    found, errors = ended(tmp_path, code, receiver)
    assert (found.pop("main"), errors) == ("ok", "")
    assert set(found) == {"thread"} and not {"open", "interrupted"} & set(found.values())
    assert len(receiver.taken) == 2


KILLED = """
    import os, signal, time
    otel.configure()
    with otel.run("open"):
        with otel.node("ended"):
            pass
        time.sleep(1.2)
        {end}
        time.sleep(60)
    """


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os._exit(4)", 4),
        ("os.abort()", -6),
    ],
    ids=["SIGTERM", "SIGKILL", "os._exit", "abort"],
)
def test_an_end_without_a_word(tmp_path: Path, receiver: Receiver, end: str, code: int) -> None:
    """Python runs nothing at the end: what ended is there, what was open is sent by the next."""
    found, _ = ended(tmp_path, KILLED.format(end=end), receiver, exit_code=code)
    assert found == {"open": "interrupted", "node ended": "ok"}
    ended(tmp_path, "otel.configure()\nwith otel.run('next'): pass", receiver)
    assert sorted(span.name for span in receiver.taken) == [
        "invoke_workflow next",
        "invoke_workflow open",
        "node ended",
    ]


def test_a_handler_of_sigterm_that_exits(tmp_path: Path, receiver: Receiver) -> None:
    code = KILLED.format(
        end="""signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        os.kill(os.getpid(), signal.SIGTERM)"""
    ).replace("import os", "import sys, os")
    found, errors = ended(tmp_path, code, receiver)
    assert (found.pop("node ended"), errors) == ("ok", "")
    assert set(found) == {"open"} and not {"open", "interrupted"} & set(found.values())
    assert len(receiver.taken) == 2


def test_daemon_threads_when_python_ends(tmp_path: Path, receiver: Receiver) -> None:
    """What they had open is interrupted by the end; what they do after it is nowhere, and said."""
    code = """
        import threading, time
        inside = threading.Event()
        def work():
            with otel.run("thread"):
                inside.set()
                time.sleep(60)
        otel.configure()
        with otel.run("main"):
            threading.Thread(target=work, daemon=True).start()
            inside.wait()
            time.sleep(0.7)
        """
    found, errors = ended(tmp_path, code, receiver)
    assert (found, errors) == ({"main": "ok", "thread": "interrupted"}, "")
    assert len(receiver.taken) == 2


def test_an_event_loop_that_is_closed_early(tmp_path: Path, receiver: Receiver) -> None:
    code = """
        import asyncio, warnings
        async def work():
            with otel.run("task"):
                await asyncio.sleep(60)
        async def main():
            global task
            task = asyncio.create_task(work())
            await asyncio.sleep(0.7)
        otel.configure()
        loop = asyncio.new_event_loop()
        with otel.run("main"):
            loop.run_until_complete(main())
        loop.close()
        """
    found, _ = ended(tmp_path, code, receiver)
    assert found == {"main": "ok", "task": "interrupted"}
    assert len(receiver.taken) == 2


def test_what_runs_at_exit_after_our_shutdown(tmp_path: Path, receiver: Receiver) -> None:
    code = """
        import atexit
        def late():
            with otel.run("late"):
                print("done", flush=True)
        atexit.register(late)
        otel.configure()
        with otel.run("r"):
            pass
        """
    found, errors = ended(tmp_path, code, receiver)
    assert found == {"r": "ok"}
    assert "spans are lost to the run file: they ended after shutdown()" in errors


def test_a_failing_exit_function_of_the_program(tmp_path: Path, receiver: Receiver) -> None:
    code = """
        import atexit
        otel.configure()
        @atexit.register
        def fail():
            with otel.run("at exit"):
                raise ValueError("at exit")
        with otel.run("r"):
            pass
        """
    found, errors = ended(tmp_path, code, receiver)
    assert found == {"r": "ok", "at exit": "error"}
    assert "ValueError: at exit" in errors


# --- more than one process ---

FORKED = """
    import os, sys, time
    otel.configure()
    with otel.run("both"):
        with otel.node("before"):
            pass
        time.sleep({before_s})
        child = os.fork()
        if child == 0:
            with otel.node("of the child"):
                pass
            {end}
        forked = time.monotonic()
        os.waitpid(child, 0)
        took_s = time.monotonic() - forked
        assert took_s < 4, f"the child took {{took_s:.1f}} s to end"
        with otel.node("of the parent"):
            pass
    """


@pytest.mark.parametrize("before_s", [0, 0.7], ids=["unwritten", "written"])
@pytest.mark.parametrize("end", ["otel.shutdown(); os._exit(0)", "sys.exit()"])
def test_a_forked_child(tmp_path: Path, receiver: Receiver, end: str, before_s: float) -> None:
    """Each writes its own spans; what the parent has open, the parent ends."""
    found, errors = ended(tmp_path, FORKED.format(end=end, before_s=before_s), receiver)
    # Python 3.12 warns of every fork of a program that has threads.
    assert all("fork" in line for line in errors.splitlines())
    assert found == dict.fromkeys(
        ["both", "node before", "node of the child", "node of the parent"], "ok"
    )
    assert receiver.counted() == Counter(receiver.counted().keys())
    assert len(receiver.taken) == 4


def test_a_forked_child_that_says_nothing_at_its_end(tmp_path: Path, receiver: Receiver) -> None:
    """What it made in its last half second is lost; the parent's is not."""
    found, _ = ended(tmp_path, FORKED.format(end="os._exit(0)", before_s=0), receiver)
    found.pop("node of the child", None)
    assert found == dict.fromkeys(["both", "node before", "node of the parent"], "ok")


WORKERS = """
import multiprocessing
import sys
import otel_orchestrator as otel

def work(how):
    if how != "fork":
        otel.configure()
    with otel.run("child of " + how):
        pass

if __name__ == "__main__":
    how = sys.argv[1]
    otel.configure()
    with otel.run("parent"):
        child = multiprocessing.get_context(how).Process(target=work, args=(how,))
        child.start()
        child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing(tmp_path: Path, receiver: Receiver, how: str) -> None:
    """It ends by `os._exit`, which passes over `atexit`: everything is there nevertheless."""
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    environment = {"OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path / "runs"), **receiver.environment}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(script), how],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert outcomes(tmp_path / "runs") == {"parent": "ok", f"child of {how}": "ok"}
    assert len(receiver.taken) == 2


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_process_pool(tmp_path: Path, receiver: Receiver, how: str) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        WORKERS.partition("if __name__")[0]
        + f"""
def part(number):
    with otel.run(f"part {{number}}"):
        pass

if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    otel.configure()
    context = multiprocessing.get_context({how!r})
    set_up = None if {how!r} == "fork" else otel.configure
    with otel.run("parent"), ProcessPoolExecutor(2, context, set_up) as pool:
        list(pool.map(part, range(4)))
"""
    )
    environment = {"OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path / "runs"), **receiver.environment}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = outcomes(tmp_path / "runs")
    assert found == dict.fromkeys(["parent", *(f"part {i}" for i in range(4))], "ok")
    assert len(receiver.taken) == 5

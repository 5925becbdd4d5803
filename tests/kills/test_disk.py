"""A full disk, a folder that is removed or closed, a clock that is set: the program goes on.

One line says so, and its results are the same.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_orchestrator.sources.runfiles import list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import started, stored

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as up:
        yield up


WORK = """
    import os, resource, shutil, sys, time
    from pathlib import Path
    otel.configure()
    folder = Path(os.environ["OTEL_ORCHESTRATOR_RUN_DIR"])

    def work(name):
        total = 0
        with otel.run(name):
            for i in range(200):
                with otel.node(name):
                    total += i
        return total

    results = [work("before")]
    time.sleep(0.8)
    {trouble}
    results.append(work("during"))
    time.sleep(0.8)
    {over}
    results.append(work("after"))
    print(results)
    """


def worked(folder: Path, to: Receiver | None, trouble: str, over: str = "") -> list[str]:
    """Run a program that gets into trouble; the lines that it wrote to stderr."""
    program = started(WORK.format(trouble=trouble, over=over), folder, to)
    began = time.monotonic()
    output, errors = program.communicate(timeout=60)
    assert (program.returncode, output) == (0, "[19900, 19900, 19900]\n"), errors
    assert time.monotonic() - began < 30
    assert "Traceback" not in errors
    return errors.splitlines()


def names(folder: Path) -> Counter[str]:
    return Counter(span.name for file in list_runs(folder) for span in read_run(file).spans)


FILL = "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))"
EMPTY = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"


def test_a_full_disk_loses_what_it_has_no_room_for_and_sends_it_nevertheless(
    tmp_path: Path, receiver: Receiver
) -> None:
    said = worked(tmp_path, receiver, FILL, EMPTY)
    assert [line for line in said if "the disk is full" in line or "cannot be written" in line]
    assert len(said) <= 3, said
    found = names(tmp_path)
    assert found["node before"] == found["node after"] == 200
    assert not any(w for f in list_runs(tmp_path) for w in read_run(f).warnings if "JSON" in w)
    sent = Counter(span.name for span in receiver.taken)
    assert sent["node before"] == sent["node during"] == sent["node after"] == 200
    assert set(receiver.counted().values()) == {1}


def test_a_folder_that_is_removed_is_made_again(tmp_path: Path, receiver: Receiver) -> None:
    runs = tmp_path / "runs"
    said = worked(runs, receiver, "shutil.rmtree(folder)")
    assert [line for line in said if "was removed, and is made again" in line]
    assert len(said) <= 2, said
    found = names(runs)
    assert found["node before"] == 0
    assert found["node during"] == found["node after"] == 200
    assert (runs.stat().st_mode & 0o777) == 0o700
    assert Counter(span.name for span in receiver.taken)["node during"] == 200
    assert list(runs.glob("*.alive")) == []


def test_a_folder_that_is_removed_while_spans_are_open(tmp_path: Path) -> None:
    """They are noted again, so a kill after that still shows what was open."""
    runs = tmp_path / "runs"
    program = started(
        """
        import os, shutil, time
        otel.configure()
        with otel.run("r"), otel.node("open"):
            time.sleep(0.8)
            shutil.rmtree(os.environ["OTEL_ORCHESTRATOR_RUN_DIR"])
            with otel.node("ended"):
                pass
            time.sleep(1.5)
            os.kill(os.getpid(), 9)
        """,
        runs,
        None,
    )
    program.communicate(timeout=60)
    (file,) = list_runs(runs)
    assert {span.name: span.outcome for span in read_run(file).spans} == {
        "invoke_workflow r": "interrupted",
        "node open": "interrupted",
        "node ended": "ok",
    }


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root becomes nobody")
def test_a_folder_that_may_not_be_written_any_more(tmp_path: Path, receiver: Receiver) -> None:
    """Nothing is kept of what happens then, and it is sent from memory."""
    said = worked(tmp_path, receiver, "os.seteuid(65534)", "os.seteuid(0)")
    assert [line for line in said if "cannot be written: Permission denied" in line]
    assert len(said) <= 3, said
    assert names(tmp_path)["node after"] == 200
    sent = Counter(span.name for span in receiver.taken)
    assert sent["node before"] == sent["node during"] == sent["node after"] == 200


@pytest.mark.parametrize("step_s", [-3600, 3600], ids=["back", "forward"])
def test_a_clock_that_is_set(tmp_path: Path, receiver: Receiver, step_s: int) -> None:
    """Everything is there and sent once; no span ends before it starts."""
    trouble = f"""really = time.time_ns
    time.time_ns = lambda: really() + {step_s} * 10**9"""
    said = worked(tmp_path, receiver, trouble)
    assert [f"the clock was set by {step_s:+d} s" in line for line in said] == [True]
    spans = [span for file in list_runs(tmp_path) for span in read_run(file).spans]
    assert len(spans) == 603
    assert all(span.end_ns is not None and span.end_ns >= span.start_ns for span in spans)
    assert receiver.counted() == stored(tmp_path)


@pytest.mark.parametrize("chosen", ["argument", "variable", "off"])
def test_fsync_by_option(tmp_path: Path, chosen: str) -> None:
    """What is asked of the system: a power cut cannot be had in a test."""
    program = started(
        f"""
        import os
        synced = []
        really = os.fsync
        os.fsync = lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{{fd}}")), really(fd))
        otel.configure({"fsync=True" if chosen == "argument" else ""})
        with otel.run("r"):
            pass
        otel.shutdown()
        print([os.path.basename(path) for path in synced])
        """,
        tmp_path,
        None,
        **({"OTEL_ORCHESTRATOR_FSYNC": "1"} if chosen == "variable" else {}),
    )
    output, errors = program.communicate(timeout=60)
    assert errors == ""
    (file,) = list_runs(tmp_path)
    # The file, and the folder that it is new in.
    expected = [] if chosen == "off" else [file.path.name, tmp_path.name]
    assert output.strip() == str(expected)

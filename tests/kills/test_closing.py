"""A killed program's open spans: shown as interrupted with their age, and sent as such, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from otel_orchestrator.alive import SignOfLife, close_left, writer_of
from otel_orchestrator.delivery.closing import close_dead
from otel_orchestrator.model import Run
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import ran, ship, started, stored

pytestmark = pytest.mark.timeout(90)

OPEN_FOR_S = 1.5
KILLED = f"""
    import sys, time
    otel.configure()
    with otel.run("killed"), otel.node("open"):
        with otel.node("ended"):
            pass
        time.sleep({OPEN_FOR_S})
        print("now", flush=True)
        sys.stdin.readline()
    otel.shutdown()
    """


def killed(folder: Path, to: Receiver | None, code: str = KILLED) -> None:
    """Run a program until it says so, and kill it."""
    program = started(code, folder, to)
    assert program.stdout is not None and program.stdout.readline() == "now\n"
    program.send_signal(signal.SIGKILL)
    program.communicate()


def only_run(folder: Path) -> Run:
    (file,) = [file for file in list_runs(folder) if file.is_of_a_run]
    return read_run(file)


def cli(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", *arguments, "--dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_open_shows_as_interrupted_as_old_as_it_was(tmp_path: Path) -> None:
    killed(tmp_path, None)
    time.sleep(1)  # nothing of this is its age
    run = only_run(tmp_path)
    assert [(s.name, s.outcome) for s in run.spans] == [
        ("invoke_workflow killed", "interrupted"),
        ("node open", "interrupted"),
        ("node ended", "ok"),
    ]
    for span in run.spans[:2]:
        age = span.attributes[Attr.OPEN_AGE]
        assert isinstance(age, float)
        assert age == pytest.approx(run.duration_of(span) / 1e9)
        assert OPEN_FOR_S - 1 < age < OPEN_FOR_S + 0.9
    assert run.warnings == (
        "2 spans were open when the program ended or was killed: interrupted then",
    )
    report = cli(tmp_path, "report")
    assert "interrupted" in report and "open when the program ended or was killed" in report
    watched = cli(tmp_path, "watch", "--once")
    assert "Its program is gone: it was killed" in watched
    assert "node open" in watched


def test_the_closed_file_says_the_same_as_the_unclosed_one(tmp_path: Path) -> None:
    killed(tmp_path, None)
    before = only_run(tmp_path)
    close_dead(tmp_path)
    assert only_run(tmp_path) == before
    assert all(s.end_ns is not None for s in before.spans)
    assert list(tmp_path.glob("*.alive")) == []
    content = find_run(None, tmp_path).path.read_bytes()
    close_dead(tmp_path)
    assert find_run(None, tmp_path).path.read_bytes() == content


def test_the_next_process_sends_what_was_open_once(tmp_path: Path) -> None:
    with receiving(Receiver()) as receiver:
        killed(tmp_path, receiver)
        for name in ("next", "last"):
            ran(f"otel.configure()\nwith otel.run('{name}'): pass", tmp_path, receiver)
        assert ship(tmp_path, to=receiver)[0] == 0
    assert Counter(span.name for span in receiver.taken) == {
        "invoke_workflow killed": 1,
        "node open": 1,
        "node ended": 1,
        "invoke_workflow next": 1,
        "invoke_workflow last": 1,
    }
    assert receiver.counted() == stored(tmp_path)
    (sent,) = [span for span in receiver.taken if span.name == "node open"]
    told = {pair.key: pair.value for pair in sent.attributes}
    assert told[Attr.OUTCOME].string_value == "interrupted"
    assert told[Attr.OPEN_AGE].double_value == pytest.approx(
        (sent.end_time_unix_nano - sent.start_time_unix_nano) / 1e9
    )


@pytest.mark.parametrize("named", [True, False])
def test_ship_sends_what_was_open_once(tmp_path: Path, named: bool) -> None:
    with receiving(Receiver()) as receiver:
        killed(tmp_path, receiver)
        arguments = (list_runs(tmp_path)[0].id,) if named else ()
        for _ in range(2):
            assert ship(tmp_path, *arguments, to=receiver)[0] == 0
    assert sorted(receiver.counted().values()) == [1, 1, 1]


def test_a_run_of_a_living_process_is_never_touched(tmp_path: Path) -> None:
    with receiving(Receiver()) as receiver:
        program = started(KILLED, tmp_path, receiver)
        assert program.stdout is not None and program.stdout.readline() == "now\n"
        path = find_run(None, tmp_path).path
        content = path.read_bytes()
        assert [s.outcome for s in only_run(tmp_path).spans] == ["open", "open", "ok"]
        ran("otel.configure()\nwith otel.run('next'): pass", tmp_path, receiver)
        assert ship(tmp_path, path.stem, to=receiver)[0] == 0
        assert path.read_bytes() == content
        program.communicate("go on\n", timeout=30)
    assert {s.outcome for s in read_run(find_run(path.stem, tmp_path)).spans} == {"ok"}
    assert set(receiver.counted().values()) == {1}
    assert list(tmp_path.glob("*.alive")) == []


TWO_IN_ONE_RUN = """
    import sys, time
    from opentelemetry import baggage, context, trace
    otel.configure()
    tracer = trace.get_tracer("t")
    with tracer.start_as_current_span("of " + sys.argv[1], attributes={"orchestrator.run.id": "r"}):
        time.sleep(1.2)
        print("now", flush=True)
        sys.stdin.readline()
    otel.shutdown()
    """


def test_what_two_processes_have_open_is_closed_when_both_are_gone(tmp_path: Path) -> None:
    programs = [
        started(TWO_IN_ONE_RUN.replace("sys.argv[1]", repr(name)), tmp_path, None)
        for name in ("a", "b")
    ]
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "now\n"
    a, b = programs
    a.kill()
    a.communicate()
    close_dead(tmp_path)
    assert {s.name: s.outcome for s in only_run(tmp_path).spans} == {"of a": "open", "of b": "open"}
    b.communicate("go on\n", timeout=30)
    assert {s.name: s.outcome for s in only_run(tmp_path).spans} == {
        "of a": "interrupted",
        "of b": "ok",
    }
    close_dead(tmp_path)
    assert {s.name: s.outcome for s in only_run(tmp_path).spans} == {
        "of a": "interrupted",
        "of b": "ok",
    }
    assert list(tmp_path.glob("*.alive")) == []


def test_many_who_close_at_once_close_once(tmp_path: Path) -> None:
    killed(tmp_path, None)
    threads = [threading.Thread(target=close_dead, args=(tmp_path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [
        span["spanId"]
        for line in find_run(None, tmp_path).path.read_text().splitlines()
        for block in json.loads(line)["resourceSpans"]
        for scope in block["scopeSpans"]
        for span in scope["spans"]
        if span.get("endTimeUnixNano")
    ]
    assert sorted(Counter(ended).values()) == [1, 1, 1]


def test_a_line_that_a_kill_tore_does_not_swallow_what_is_written_after_it(tmp_path: Path) -> None:
    killed(tmp_path, None)
    path = find_run(None, tmp_path).path
    with path.open("ab") as file:
        file.write(b'{"resourceSpans":[{"resour')
    close_dead(tmp_path)
    run = only_run(tmp_path)
    assert [s.outcome for s in run.spans] == ["interrupted", "interrupted", "ok"]
    ran(
        TWO_IN_ONE_RUN.replace("sys.argv[1]", '"c"').replace('"r"', repr(path.stem)), tmp_path, None
    )
    assert "of c" in {s.name for s in only_run(tmp_path).spans}


def test_what_another_process_appends_to_a_torn_file_is_whole(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b'{"resourceSpans":[{"resour')
    code = """
        from opentelemetry import trace
        otel.configure()
        of_run = {"orchestrator.run.id": "r"}
        with trace.get_tracer("t").start_as_current_span("c", attributes=of_run):
            pass
        """
    ran(code, tmp_path, None)
    assert {s.name: s.outcome for s in only_run(tmp_path).spans} == {"c": "ok"}


def test_a_full_file_is_not_closed_for_what_looks_open_may_have_ended(tmp_path: Path) -> None:
    killed(tmp_path, None)
    path = find_run(None, tmp_path).path
    with path.open("ab") as file:
        file.write(b'{"resourceSpans":[],"runFile":{"version":1,"full":true}}\n')
    assert [s.outcome for s in only_run(tmp_path).spans] == ["open", "open", "ok"]
    content = path.read_bytes()
    close_dead(tmp_path)
    assert path.read_bytes() == content


def test_the_real_end_counts_more_than_one_that_was_made_up(tmp_path: Path) -> None:
    """Where locks fail, a living program may be taken for dead: its spans end twice then."""
    killed(tmp_path, None)
    close_dead(tmp_path)
    path = find_run(None, tmp_path).path
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    span = lines[-1]["resourceSpans"][0]["scopeSpans"][0]["spans"][-1]
    span["endTimeUnixNano"] = str(int(span["endTimeUnixNano"]) + 10**9)
    span["attributes"] = [{"key": Attr.OUTCOME, "value": {"stringValue": "ok"}}]
    real = json.dumps(lines[-1]) + "\n"
    for order in (path.read_text() + real, real + path.read_text()):
        path.write_text(order)
        by_name = {s.name: s.outcome for s in only_run(tmp_path).spans}
        assert by_name["node open"] == "ok"
        assert not any("two different spans" in w for w in only_run(tmp_path).warnings)


# --- the sign of life itself ---


def test_a_sign_of_life_names_files_while_spans_are_open_in_them(tmp_path: Path) -> None:
    run_file = tmp_path / "r.jsonl"
    sign = SignOfLife(tmp_path, "process-1")
    assert writer_of(run_file) is None
    sign.say({"r", "other"})
    writer = writer_of(run_file)
    assert writer is not None and writer.is_alive
    sign.say({"other"})
    assert writer_of(run_file) is None
    sign.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_kernel_takes_the_lock_of_a_killed_process_but_not_of_its_parent(
    tmp_path: Path,
) -> None:
    """A forked child that is killed, or that goes on alone, says nothing of its parent."""
    sign = SignOfLife(tmp_path, "process-1")
    sign.say({"r"})
    child = os.fork()
    if child == 0:
        sign.leave_to_parent()
        os._exit(0)
    os.waitpid(child, 0)
    writer = writer_of(tmp_path / "r.jsonl")
    assert writer is not None and writer.is_alive
    closed: list[Path] = []
    close_left(tmp_path, lambda path, _: closed.append(path))
    assert closed == []
    sign.remove()


@pytest.mark.parametrize("names", [{"r"}, {"r", "other"}], ids=["as before", "more"])
def test_a_file_of_the_programs_own_that_got_our_descriptor_stays_as_it_is(
    tmp_path: Path, names: set[str]
) -> None:
    """A daemon closes every descriptor that it finds, and opens its own."""
    sign = SignOfLife(tmp_path, "process-1")
    sign.say({"r"})
    theirs = tmp_path / "theirs.txt"
    text = b"a text that is longer than what a sign of life says"
    theirs.write_bytes(text)
    number = sign._descriptor
    assert number is not None
    os.close(number)
    file = os.open(theirs, os.O_RDWR)
    assert file == number
    sign.say(names)
    writer = writer_of(tmp_path / "r.jsonl")
    assert writer is not None and writer.is_alive
    sign.remove()
    assert os.read(file, 100) == text
    os.close(file)
    assert list(tmp_path.iterdir()) == [theirs]


def test_a_file_that_cannot_be_closed_is_left_to_the_next(tmp_path: Path) -> None:
    sign = SignOfLife(tmp_path, "process-1")
    sign.say({"r"})
    sign.leave_to_parent()  # as if it had been killed
    (tmp_path / "r.jsonl").touch()

    def fail(path: Path, seen_ns: int) -> None:
        raise OSError(28, "No space left on device")

    close_left(tmp_path, fail)
    assert sign.path.exists()
    closed: list[Path] = []
    close_left(tmp_path, lambda path, _: closed.append(path))
    assert closed == [tmp_path / "r.jsonl"]
    assert not sign.path.exists()


def test_a_file_that_a_kill_left_empty_is_no_run(tmp_path: Path) -> None:
    killed(tmp_path, None)
    (tmp_path / "z.jsonl").touch()
    assert only_run(tmp_path).id != "z"

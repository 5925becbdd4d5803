"""What an endpoint has not acknowledged is sent again: by this process, the next one, or `ship`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_orchestrator.delivery.ledger import open_ledger, owed_to, path_of
from otel_orchestrator.delivery.stored import read_batch
from otel_orchestrator.sources.runfiles import list_runs, read_run

from .receiver import Receiver, receiving

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as up:
        yield up


def started(code: str, folder: Path, to: Receiver | None, **more: str) -> subprocess.Popen[str]:
    """Start a program that has `otel`; its run files go to `folder`, its spans to `to`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment = {} if to is None else to.environment
    return subprocess.Popen(
        [sys.executable, "-c", "import otel_orchestrator as otel\n" + textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), **environment, **more},
    )


def ran(code: str, folder: Path, to: Receiver | None) -> str:
    """Run such a program to its end; what it wrote to stderr."""
    program = started(code, folder, to)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    return errors


def ship(folder: Path, *arguments: str, to: Receiver | None = None) -> tuple[int, str]:
    """Run `otel-orchestrator ship`; its exit code and what it said."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "ship", "--dir", str(folder), *arguments],
        capture_output=True,
        text=True,
        env={**clean, **({} if to is None else to.environment)},
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def stored(folder: Path) -> Counter[str]:
    """Every span that ended and is in a run file, by id."""
    return Counter(
        span.span_id
        for file in list_runs(folder)
        for span in read_run(file).spans
        if span.end_ns is not None
    )


RUNS = """
    otel.configure()
    for _ in range(3):
        with otel.run("r"), otel.node("n") as node:
            node.span.add_event("e", {"k": [1, 2]})
"""


def test_what_is_sent_is_what_is_stored_each_span_once(tmp_path: Path, receiver: Receiver) -> None:
    assert ran(RUNS, tmp_path, receiver) == ""
    assert len(receiver.taken) == 6
    assert receiver.counted() == stored(tmp_path)
    assert all(owed_to(file.path) == {} for file in list_runs(tmp_path))
    code, said = ship(tmp_path, to=receiver)
    assert (code, said.splitlines()[0].partition(" has ")[2]) == (
        0,
        "everything that was meant for it",
    )


def test_what_was_meant_for_another_address_is_told_and_not_sent_unasked(
    tmp_path: Path, receiver: Receiver
) -> None:
    closed = Receiver()
    with receiving(closed):
        pass
    ran(RUNS, tmp_path, closed)
    code, said = ship(tmp_path, to=receiver)
    last = list_runs(tmp_path)[0].id
    assert code == 0 and receiver.taken == []
    assert f" does not have all of {last} and 2 more. To send that to http://" in said
    assert f"name it: otel-orchestrator ship {last} --dir {tmp_path}" in said


def test_this_process_sends_the_rest_when_the_endpoint_is_back(tmp_path: Path) -> None:
    receiver = Receiver()
    with receiving(receiver):
        pass
    program = started(
        """
        import sys
        otel.configure()
        with otel.run("during the outage"):
            for _ in range(1200):
                with otel.node("n"):
                    pass
        print("ran", flush=True)
        sys.stdin.readline()
        with otel.run("after it"):
            pass
        otel.shutdown(20)
        """,
        tmp_path,
        receiver,
    )
    assert program.stdout is not None and program.stdout.readline() == "ran\n"
    time.sleep(3)  # until it has given up on the endpoint, and forgotten what it held in memory
    with receiving(receiver):
        receiver.wait_for(1201)
        program.communicate("go on\n", timeout=30)
        assert receiver.counted() == stored(tmp_path)
        assert len(receiver.counted()) == 1202
        assert max(receiver.requests) <= 1024


def test_the_next_process_sends_what_a_killed_one_could_not(tmp_path: Path) -> None:
    receiver = Receiver()
    with receiving(receiver):
        pass
    program = started(
        """
        import os, time
        otel.configure()
        with otel.run("killed"), otel.node("open"):
            for _ in range(5):
                with otel.node("ended"):
                    pass
            time.sleep(1.2)
            print("now", flush=True)
            time.sleep(60)
        """,
        tmp_path,
        receiver,
    )
    assert program.stdout is not None and program.stdout.readline() == "now\n"
    program.send_signal(signal.SIGKILL)
    program.communicate()
    with receiving(receiver):
        assert ran("otel.configure()\nwith otel.run('next'): pass", tmp_path, receiver) == ""
    assert receiver.counted() == stored(tmp_path)
    assert Counter(span.name for span in receiver.taken) == {
        "node ended": 5,
        "node open": 1,
        "invoke_workflow killed": 1,
        "invoke_workflow next": 1,
    }


def test_what_was_recorded_without_an_endpoint_is_sent_on_request_only(
    tmp_path: Path, receiver: Receiver
) -> None:
    ran(RUNS, tmp_path, None)
    ran("otel.configure()\nwith otel.run('next'): pass", tmp_path, receiver)
    assert [span.name for span in receiver.taken] == ["invoke_workflow next"]
    oldest = list_runs(tmp_path)[-1].id
    assert ship(tmp_path, oldest, to=receiver)[0] == 0
    assert len(receiver.taken) == 3


def test_ship_sends_a_run_and_a_second_try_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    ran(
        """
        otel.configure()
        with otel.run("r"):
            for _ in range(1300):
                with otel.node("n"):
                    pass
        """,
        tmp_path,
        None,
    )
    receiver = Receiver()
    # It takes a batch, and then nothing any more.
    receiver.answer = lambda spans: 200 if not receiver.taken else 503
    with receiving(receiver):
        code, said = ship(tmp_path, list_runs(tmp_path)[0].id, to=receiver)
        first = len(receiver.taken)
        assert code == 2
        assert 0 < first < 1301
        assert f"{first} spans were sent. The next try sends the others only" in said
        receiver.answer = lambda spans: 200
        code, said = ship(tmp_path, list_runs(tmp_path)[0].id, to=receiver)
    assert code == 0
    assert (
        f"{1301 - first} spans sent to {receiver.environment['OTEL_EXPORTER_OTLP_ENDPOINT']}, "
        in (said)
    )
    assert f", {first} were there" in said
    assert receiver.counted() == stored(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--endpoint", "localhost:4317"], "--endpoint localhost:4317 is no URL. Type: --endpoint"),
        ([], "where to? Type --endpoint http://localhost:4317"),
        (["nothing", "--endpoint", "http://127.0.0.1:9"], "there is no run nothing in"),
        (["2", "--endpoint", "http://127.0.0.1:9"], "http://127.0.0.1:9 does not take the spans"),
    ],
)
def test_ship_says_in_a_line_what_is_wrong(tmp_path: Path, arguments: list[str], said: str) -> None:
    ran("otel.configure()\nwith otel.run('r'): pass", tmp_path, None)
    code, errors = ship(tmp_path, *arguments)
    assert code == 2
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_a_span_that_the_endpoint_refuses_does_not_hold_up_the_others(
    tmp_path: Path, receiver: Receiver
) -> None:
    def answer(spans: list[Span]) -> int:
        return 400 if any(span.name == "node poison" for span in spans) else 200

    receiver.answer = answer
    ran(
        """
        otel.configure()
        with otel.run("r"):
            for i in range(20):
                with otel.node("poison" if i == 7 else "n"):
                    pass
        """,
        tmp_path,
        receiver,
    )
    receiver.wait_for(20)
    (file,) = list_runs(tmp_path)
    assert owed_to(file.path) == {}
    last = json.loads(path_of(file.path).read_text().splitlines()[-1])
    assert (last["count"], last["refused"]) == (20, 1)


def test_a_torn_ledger_costs_a_second_sending_and_nothing_else(
    tmp_path: Path, receiver: Receiver
) -> None:
    ran(RUNS, tmp_path, receiver)
    for file in list_runs(tmp_path):
        ledger = path_of(file.path)
        ledger.write_text(ledger.read_text().splitlines()[0] + '\n{"to": "http:')
    assert ship(tmp_path, to=receiver)[0] == 0
    assert receiver.counted() == stored(tmp_path) + stored(tmp_path)


def test_nobody_sends_a_run_file_that_another_program_is_sending(
    tmp_path: Path, receiver: Receiver
) -> None:
    ran(RUNS, tmp_path, None)
    (file, *_) = list_runs(tmp_path)
    with open_ledger(file.path):
        code, said = ship(tmp_path, file.id, to=receiver)
    assert code == 2
    assert "is being sent by another program right now" in said
    assert receiver.taken == []


def test_two_programs_that_write_one_run_send_each_span_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    code = """
    import os, time
    otel.configure()
    with otel.run("shared"):
        for _ in range(40):
            with otel.node("n"):
                time.sleep(0.05)
    """
    shared = "from otel_orchestrator import runs\nruns.new_run_id = lambda: 'shared'\n"
    programs = [started(shared + textwrap.dedent(code), tmp_path, receiver) for _ in range(2)]
    for program in programs:
        assert program.communicate(timeout=60)[1] == ""
    assert [file.id for file in list_runs(tmp_path)] == ["shared"]
    assert len(receiver.counted()) == 82
    assert receiver.counted() == stored(tmp_path)


def test_a_full_file_is_sent_all_the_same(tmp_path: Path, receiver: Receiver) -> None:
    ran(
        """
        otel.configure(max_run_file_bytes=20_000)
        with otel.run("r"):
            for _ in range(300):
                with otel.node("n"):
                    pass
        """,
        tmp_path,
        receiver,
    )
    assert len(receiver.counted()) == 301
    assert len(stored(tmp_path)) < 301


def test_force_flush_returns_when_the_endpoint_has_everything(
    tmp_path: Path, receiver: Receiver
) -> None:
    program = started(
        """
        import os, signal
        from opentelemetry import trace
        otel.configure()
        with otel.run("r"):
            pass
        assert trace.get_tracer_provider().force_flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
        receiver,
    )
    assert program.wait(30) == -signal.SIGKILL
    assert len(receiver.taken) == 1


def test_a_run_that_must_make_room_before_it_was_sent_is_counted(tmp_path: Path) -> None:
    errors = ran(
        """
        otel.configure(keep_runs=2)
        for _ in range(4):
            with otel.run("r"):
                pass
            import time; time.sleep(0.7)
        """,
        tmp_path,
        Receiver(port=9),
    )
    assert "was removed before http://127.0.0.1:9 took all of it" in errors
    assert len(list(tmp_path.glob("*.sent"))) == 2


def test_a_stored_line_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Whatever a span can carry: what is exported again is what was exported."""
    ran(
        """
        from opentelemetry import trace
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        trace.set_tracer_provider(TracerProvider(span_limits=SpanLimits(max_events=2)))
        otel.configure(attributes={"team": "x", "n": 3})
        tracer = trace.get_tracer("scope", "1.2", None, "https://example.org/s", {"of": "scope"})
        remote = SpanContext(7, 9, True, TraceFlags(1), trace.TraceState([("vendor", "state")]))
        above = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        with tracer.start_as_current_span(
            "all", above, SpanKind.CLIENT, {"s": "ü", "i": 2**40, "f": 0.5, "b": False,
            "list": ["a", "b"], "empty": [], "zero": 0}, [Link(remote, {"l": 1})]
        ) as span:
            for i in range(4):
                span.add_event("event", {"i": i})
            span.set_status(Status(StatusCode.ERROR, "why"))
        """,
        tmp_path,
        None,
    )
    (file,) = list_runs(tmp_path)
    lines = [json.loads(line) for line in file.path.read_text().splitlines()]
    ended = [o for o in lines if '"endTimeUnixNano"' in json.dumps(o)]
    batch = read_batch(file.path, 0, file.path.stat().st_size)
    assert batch is not None and batch.end == file.path.stat().st_size
    assert len(batch.spans) == 1
    again = encode_spans(batch.spans).to_dict()
    assert again["resourceSpans"] == ended[0]["resourceSpans"]
    assert '"droppedEventsCount": 2' in json.dumps(again)

"""What a forked child pays: most only exec another program, and start no thread before."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

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


def test_what_a_child_writes_and_sends_names_the_child(tmp_path: Path) -> None:
    child = """
        with otel.run("child"):
            otel.observe_tasks([{"id": "a", "status": "planned"}])
            print(os.getpid())
        """
    with receiving(Receiver()) as receiver:
        pid = ran(child.strip(), tmp_path, receiver).strip()
        bodies = b"".join(receiver.bodies)
    said = f'{{"key":"process.pid","value":{{"intValue":"{pid}"}}}}'
    files = [path.read_text() for path in tmp_path.glob("*.jsonl")]
    (of_child,) = (text for text in files if "invoke_workflow child" in text)
    assert of_child.count(said) == of_child.count('"process.pid"') >= 2, "spans, and the queue"
    sent = ExportTraceServiceRequest.FromString(bodies)  # one after the other they are one
    pids = {
        attribute.value.int_value
        for block in sent.resource_spans
        for attribute in block.resource.attributes
        if attribute.key == "process.pid"
    }
    assert len(pids) == 2
    assert int(pid) in pids


def test_what_the_parent_has_counted_no_child_sends_again(tmp_path: Path) -> None:
    program = """
        import os
        from opentelemetry import metrics
        otel.configure()
        jobs = metrics.get_meter("user").create_counter("user.jobs")
        with otel.run("r"):
            for _ in range(5):
                with otel.node("n"):
                    pass
            jobs.add(5)
            for _ in range(3):
                if os.fork() == 0:
                    with otel.node("n"):
                        jobs.add(1)
                    raise SystemExit
                os.wait()
        """
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        done = python(program, tmp_path, **receiver.environment)
    assert done.stderr == ""
    counters = [metric.sum.data_points for metric in receiver.metrics if metric.name == "user.jobs"]
    assert sum(point.as_int for points in counters for point in points) == 8
    assert receiver.count_of("orchestrator.node.duration") == 8


@pytest.mark.parametrize("does", ["pass", "jobs.add(1)"])
def test_a_child_sends_metrics_only_if_it_has_some(tmp_path: Path, does: str) -> None:
    program = f"""
        import os
        from opentelemetry import metrics
        otel.configure()
        jobs = metrics.get_meter("user").create_counter("user.jobs")
        child = os.fork()
        if child == 0:
            {does}
            raise SystemExit
        os.waitpid(child, 0)
        os._exit(0)
        """
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        done = python(program, tmp_path, **receiver.environment)
    assert done.stderr == ""
    assert bool(receiver.metrics) is (does != "pass")
    assert ("user.jobs" in [m.name for m in receiver.metrics]) is (does != "pass")


OBSERVED = """
    import os, time
    from opentelemetry import metrics
    from opentelemetry.metrics import Observation
    otel.configure()
    done = 1000
    began_in = os.getpid()
    meter = metrics.get_meter("user")
    {makes}
    metrics.get_meter_provider().force_flush()
    child = os.fork()
    if child == 0:
        {does}
        raise SystemExit
    os.waitpid(child, 0)
    os._exit(0)
    """
COUNTS = (
    'meter.create_observable_counter("user.seen", [lambda _: [Observation(done)]]);'
    ' meter.create_observable_counter("user.cpu",'
    " [lambda _: [Observation(500 if os.getpid() == began_in else 5)]])"
)
WATCHES = 'meter.create_observable_gauge("user.seen", [lambda _: [Observation(done)]])'


@pytest.mark.parametrize("own", ["pass", 'jobs = otel.run("r"); jobs.__enter__()'])
def test_what_a_counter_has_inherited_no_child_sends_again(tmp_path: Path, own: str) -> None:
    program = OBSERVED.format(makes=COUNTS, does=f"time.sleep(0.5); done += 1; {own}")
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        done = python(program, tmp_path, **receiver.environment)
    assert done.stderr == ""

    def sent(name: str) -> list[float]:
        of_it = [metric.sum.data_points for metric in receiver.metrics if metric.name == name]
        return [point.as_int for points in of_it for point in points]

    assert sent("user.seen") == [1000, 1]
    assert sent("user.cpu") == [500, 0], "it began anew in the child"


def test_a_child_that_only_watches_sends_what_it_sees(tmp_path: Path) -> None:
    program = OBSERVED.format(makes=WATCHES, does="done = 7")
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        done = python(program, tmp_path, **receiver.environment)
    assert done.stderr == ""
    seen = [m.gauge.data_points[0].as_int for m in receiver.metrics if m.name == "user.seen"]
    assert seen == [1000, 7]


def test_a_child_without_telemetry_does_not_wait_for_an_endpoint_that_never_answers(
    tmp_path: Path,
) -> None:
    program = """
        import os, time
        otel.configure()
        child = os.fork()
        if child == 0:
            raise SystemExit
        began = time.monotonic()
        os.waitpid(child, 0)
        print(time.monotonic() - began < 3, flush=True)  # of the 5 s that it has
        os._exit(0)
        """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = python(
            program,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        )
    assert done.stdout == "True\n", done.stderr


def test_a_child_records_though_a_thread_of_the_parent_did_as_it_was_forked(
    tmp_path: Path,
) -> None:
    program = """
        import os, signal, threading
        from opentelemetry import metrics
        otel.configure()
        with otel.run("r"):
            pass
        consumer = metrics.get_meter_provider()._measurement_consumer
        (storage,) = consumer._reader_storages.values()
        locks = [consumer._lock, storage._lock]
        for matches in storage._instrument_view_instrument_matches.values():
            locks += [match._lock for match in matches]
        held, forked = threading.Event(), threading.Event()
        def hold():
            for lock in locks:
                lock.acquire()
            held.set()
            forked.wait()
            for lock in locks:
                lock.release()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            with otel.run("r"):
                pass
            signal.alarm(0)
            raise SystemExit
        os.waitpid(child, 0)
        forked.set()
        """
    with receiving(Receiver(signals="traces,metrics")) as receiver:
        done = python(program, tmp_path, **receiver.environment)
    assert done.returncode == 0, done.stderr
    assert len(receiver.taken) == 2
    assert receiver.count_of("gen_ai.invoke_workflow.duration") == 2


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

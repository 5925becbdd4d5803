"""Fill the disk of each store, make room again, and count the spans: the table of docs/scale.md.

`make soak-full-disk`: about 8 minutes; needs root, for disks in memory

Each store writes into a small disk of its own. Runs are sent until nothing goes any more, then the
disk is made larger, and what was ended by it is started again. Every span that was taken has to be
there in the end.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from otel_orchestrator.sources.runfiles import find_run

from . import processes, scaled
from .checking import check
from .jvms import cassandra_program, kafka_program
from .load import Recording, again, post, recording_of
from .processes import Jaeger, Program
from .reading import spans_in
from .sizing import binary
from .traffic import ACCEPTED, SENT, counted, start_demo


@dataclass(frozen=True, slots=True)
class Disk:
    """A small disk, in memory."""

    folder: Path

    def fill(self, leave_mib: float) -> None:
        """Take all room but this, as others on the same disk would."""
        free = os.statvfs(self.folder)
        size = int(free.f_bavail * free.f_frsize - leave_mib * 2**20)
        with (self.folder / "others").open("wb") as others:
            os.posix_fallocate(others.fileno(), 0, size)

    def grow(self) -> None:
        """Make room."""
        _run("mount", "-o", "remount,size=4g", str(self.folder))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """Mount a disk of that size until the block is left."""
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder))
    try:
        yield Disk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


def main() -> int:
    """Fill one disk after the other; 1 if a span is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(_TRIALS), action="append")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("full_disk: needs root, for disks in memory", file=sys.stderr)
        return 2
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    print(
        f"\n{today}\n\n| full | what it did | spans taken | lost | doubled |\n|---|---|--:|--:|--:|"
    )
    is_right = True
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-full-") as temporary:
        folder = Path(temporary)
        if start_demo("http://127.0.0.1:9", folder / "demo").wait(600) != 0:
            raise SystemExit("full_disk: the demo failed")
        recording = recording_of(find_run(None, folder / "demo").path)
        for name, trial in _TRIALS.items():
            if not options.only or name in options.only:
                own = folder / name
                own.mkdir()
                is_right &= trial(own, recording)
    return 0 if is_right else 1


def _queue(folder: Path, recording: Recording) -> bool:
    jaeger, up = processes.jaeger_program(binary("jaeger"), folder)
    with small_disk(folder / "small", 24) as disk:
        one = scaled.node(
            binary("otelcol"),
            folder,
            "otelcol",
            jaeger_endpoint=up.otlp_endpoint,
            environment={"OTELCOL_STORAGE": str(disk.folder)},
        )
        with one.program:
            sent, answer = _send_until(recording, [one.collector.http_endpoint], lambda: False)
            seen = f"refuses ({answer}), and {_state(one.program)}"
            disk.grow()
            with jaeger:
                return _report("the Collector's queue", seen, up, sent)


def _badger(folder: Path, recording: Recording) -> bool:
    with small_disk(folder / "small", 64) as disk:
        jaeger, up = processes.jaeger_program(binary("jaeger"), folder)
        jaeger.environment = {**jaeger.environment, "JAEGER_STORAGE_FOLDER": str(disk.folder)}
        one = scaled.node(binary("otelcol"), folder, "otelcol", jaeger_endpoint=up.otlp_endpoint)
        with jaeger, one.program:
            sent, _ = _send_until(
                recording, [one.collector.http_endpoint], lambda: _is_behind(one, jaeger)
            )
            seen = f"{_state(jaeger)}; the Collector queues"
            disk.grow()
            _again(jaeger)
            return _report("Jaeger's Badger", seen, up, sent)


def _kafka(folder: Path, recording: Recording) -> bool:
    with small_disk(folder / "small", 48) as disk:
        kafka, broker = kafka_program(disk.folder)
        cassandra, contact = cassandra_program(folder)
        return _in_the_chain(
            folder, recording, disk, (kafka, broker), (cassandra, contact), kafka, leave_mib=1
        )


def _cassandra(folder: Path, recording: Recording) -> bool:
    with small_disk(folder / "small", 400) as disk:
        kafka, broker = kafka_program(folder)
        cassandra, contact = cassandra_program(disk.folder)
        return _in_the_chain(
            folder, recording, disk, (kafka, broker), (cassandra, contact), cassandra, leave_mib=8
        )


def _in_the_chain(
    folder: Path,
    recording: Recording,
    disk: Disk,
    kafka: tuple[Program, str],
    cassandra: tuple[Program, str],
    full: Program,
    *,
    leave_mib: float,
) -> bool:
    environment = {"KAFKA_BROKERS": f"[{kafka[1]}]", "CASSANDRA_SERVERS": f"[{cassandra[1]}]"}
    gateway = scaled.gateway(
        binary("otelcol"), folder, "gateway-1", overlays=[scaled.KAFKA], environment=environment
    )
    port = int(cassandra[1].rpartition(":")[2])
    ingester, _ = scaled.ingester_program(binary("jaeger"), folder / "ingester", environment, port)
    query, up = scaled.jaeger_program(binary("jaeger"), folder / "query", environment)
    with kafka[0], cassandra[0], ingester, query, gateway.program:
        disk.fill(leave_mib)
        log = full.log if full is kafka[0] else ingester.log
        sent, _ = _send_until(
            recording, [gateway.collector.http_endpoint], lambda: _says_full(full, log)
        )
        seen = f"{_state(full)}; {_last_words(log)}"
        disk.grow()
        _again(full)
        return _report("Kafka" if full is kafka[0] else "Cassandra", seen, up, sent)


_TRIALS = {"queue": _queue, "badger": _badger, "kafka": _kafka, "cassandra": _cassandra}


def _send_until(
    recording: Recording, endpoints: Sequence[str], is_full: Callable[[], bool]
) -> tuple[dict[str, list[str]], str]:
    """Send runs until one is refused or the disk is full; return the spans that were taken."""
    taken: dict[str, list[str]] = {}
    ids = [_ids_in(recording, request) for request in recording.requests]
    deadline = time.monotonic() + 300
    while not is_full():
        if time.monotonic() > deadline:
            raise SystemExit("full_disk: it never was full")
        trace_id, requests = again(recording)
        for request, of_it in zip(requests, ids, strict=True):
            try:
                post(endpoints[0], request)
            except urllib.error.HTTPError as error:
                return taken, f"HTTP {error.code}"
            taken.setdefault(trace_id, []).extend(of_it)
    return taken, ""


def _ids_in(recording: Recording, request: str) -> list[str]:
    return [span_id for span_id in recording.span_ids if f'"spanId": "{span_id}"' in request]


def _is_behind(one: scaled.Node, jaeger: Program) -> bool:
    """Whether Jaeger has taken nothing for 10 s of what the Collector has for it."""
    assert jaeger.process is not None
    if jaeger.process.poll() is not None:
        return True
    sent = counted(one.metrics_url, SENT)
    if counted(one.metrics_url, ACCEPTED) - sent < 5000:
        return False
    time.sleep(10)
    return counted(one.metrics_url, SENT) == sent


def _says_full(program: Program, log: Path) -> bool:
    assert program.process is not None
    words = ("No space left", "disk usage exceeds")
    return program.process.poll() is not None or any(word in log.read_text() for word in words)


def _state(program: Program) -> str:
    assert program.process is not None
    try:  # Kafka takes a moment to give up, once its only folder has failed
        return f"ends ({program.process.wait(15)})"
    except subprocess.TimeoutExpired:
        return "goes on"


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if "space" in line or "disk" in line]
    return lines[-1][:160] if lines else "says nothing"


def _again(program: Program) -> None:
    assert program.process is not None
    if program.process.poll() is not None:
        program.start()


def _report(what: str, seen: str, jaeger: Jaeger, sent: dict[str, list[str]]) -> bool:
    """Wait until all is there, or nothing more has come for a while; print what was seen."""

    def there() -> int:
        try:
            return sum(len(spans_in(jaeger, one)) for one in sent)
        except OSError:
            return 0

    wanted = sum(map(len, sent.values()))
    last, changed = -1, time.monotonic()
    while (now := there()) < wanted and time.monotonic() < changed + 90:
        if now != last:
            last, changed = now, time.monotonic()
        time.sleep(2)
    outcome = check(sent, {one: spans_in(jaeger, one) for one in sent})
    print(f"| {what} | {seen} | {outcome.spans} | {outcome.lost} | {outcome.doubled} |", flush=True)
    return outcome.lost == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())

"""A program that starts workers with `environment()` and sends them tasks as lines of text."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import IO

import otel_orchestrator as otel
from tests.processes.program import Sent, tell

WORKERS = 2
TASKS_EACH = 2


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.processes.line_worker"],
        env=otel.environment(),
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def send(queue: IO[str], task_id: str) -> None:
    message = {"task": task_id, "carrier": otel.inject(), "sent_ns": time.time_ns()}
    print(json.dumps(message), file=queue, flush=True)


def main() -> None:
    otel.configure("starter", label="lines")
    record = []
    with otel.run("started", concurrency_limit=WORKERS):
        workers = [start() for _ in range(WORKERS)]
        with otel.node("director"):
            for n, worker in enumerate(workers):
                for i in range(TASKS_EACH):
                    assert worker.stdin is not None
                    send(worker.stdin, f"t{n}{i}")
        for worker in workers:
            answers, _ = worker.communicate()
            for answer in map(json.loads, answers.splitlines()):
                otel.received(answer["carrier"])
                record.append(Sent(**answer["record"]))
            assert worker.returncode == 0
    tell(record)


if __name__ == "__main__":
    main()

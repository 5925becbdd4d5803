"""The program on the second host, whose clock may be wrong by so many seconds."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Client, Connection
from typing import Any

true_time_ns = time.time_ns
AHEAD_NS = int(float(os.environ.get("CLOCK_AHEAD_S", "0")) * 1e9)
if AHEAD_NS:
    # Before anybody takes these functions for their own.
    time.time_ns = lambda: true_time_ns() + AHEAD_NS
    time.time = lambda: time.time_ns() / 1e9


def connect(address: str, port: int) -> Connection[Any, Any]:
    until = time.monotonic() + 20
    while True:
        try:
            return Client((address, port))
        except OSError:  # nobody listens yet, or the network is not quite up
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def main(address: str, port: int) -> None:
    import otel_orchestrator as otel

    otel.configure("far-worker")
    with connect(address, port) as director:
        while (message := director.recv()) is not None:
            started_ns = true_time_ns()
            task_id, carrier, sent_ns = message
            with otel.task("worker", task_id, carrier=carrier) as task:
                task.span.set_attribute("pid", os.getpid())
                with otel.node("worker"):
                    time.sleep(0.05)
                director.send((task_id, sent_ns, started_ns, otel.inject()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

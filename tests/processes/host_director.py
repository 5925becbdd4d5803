"""The program on the first host: sends tasks over the network, and takes the results."""

from __future__ import annotations

import sys
import time
from multiprocessing.connection import Listener

import otel_orchestrator as otel
from tests.processes.program import Sent, tell

TASKS = 4


def main(address: str, port: int) -> None:
    otel.configure("director")
    with Listener((address, port)) as listener, listener.accept() as worker:
        with otel.run("far"), otel.node("director"):
            for i in range(TASKS):
                worker.send((f"t{i}", otel.inject(), time.time_ns()))
            record = []
            for _ in range(TASKS):
                task_id, sent_ns, started_ns, carrier = worker.recv()
                otel.received(carrier)
                record.append(Sent(task_id, sent_ns, started_ns))
        worker.send(None)
    tell(record)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

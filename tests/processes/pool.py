"""A program with a process pool: `python -m tests.processes.pool fork 2`."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import otel_orchestrator as otel
from tests.processes.program import Sent, tell

otel.configure("pool")


def work(task_id: str, carrier: dict[str, str], sent_ns: int) -> tuple[Sent, dict[str, str]]:
    record = Sent.now(task_id, sent_ns)
    with otel.task("worker", task_id, carrier=carrier) as task:
        task.span.set_attribute("pid", os.getpid())
        with otel.node("worker"):
            time.sleep(0.05)
        return record, otel.inject()


def main(start_method: str, workers: int) -> None:
    context = multiprocessing.get_context(start_method)
    with otel.run("pooled", concurrency_limit=workers), otel.node("director"):
        # All workers begin at once: a fast one would else do everything.
        ready = context.Barrier(workers)
        with ProcessPoolExecutor(workers, context, initializer=ready.wait) as pool:
            futures = [
                pool.submit(work, f"t{i}", otel.inject(), time.time_ns())
                for i in range(3 * workers)
            ]
            answers = [future.result() for future in futures]
        for _, carrier in answers:
            otel.received(carrier)
    tell(record for record, _ in answers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

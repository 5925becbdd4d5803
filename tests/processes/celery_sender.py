"""A program that has its tasks done by Celery."""

from __future__ import annotations

import os
import time

import otel_orchestrator as otel
from tests.processes.celery_app import app, untold, work
from tests.processes.program import Sent, tell

TASKS = 6


def main() -> None:
    otel.configure("sender")
    with_instrumentation = bool(os.environ.get("WITH_INSTRUMENTATION"))
    if with_instrumentation:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    with otel.run("queued", concurrency_limit=2), otel.node("director"):
        sent = [work.delay(f"t{i}", otel.inject(), time.time_ns()) for i in range(TASKS)]
        answers = [result.get(timeout=30) for result in sent]
        for answer in answers:
            otel.received(answer["carrier"])
        if with_instrumentation:
            untold.delay("u").get(timeout=30)
    app.close()
    tell(Sent(*answer["record"]) for answer in answers)


if __name__ == "__main__":
    main()

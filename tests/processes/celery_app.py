"""A Celery application, as its worker and its sender see it: the carrier is an argument."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

import otel_orchestrator as otel
from tests.processes.program import Sent

app: Any = Celery("jobs", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


def set_up(**_: Any) -> None:
    otel.configure("celery-worker")
    if os.environ.get("WITH_INSTRUMENTATION"):
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]


worker_process_init.connect(set_up)


@app.task  # type: ignore[untyped-decorator]
def work(task_id: str, carrier: dict[str, str], sent_ns: int) -> dict[str, Any]:
    record = Sent.now(task_id, sent_ns)
    with otel.task("worker", task_id, carrier=carrier) as task:
        task.span.set_attribute("pid", os.getpid())
        with otel.node("worker"):
            time.sleep(0.1)
        return {"record": [record.task_id, sent_ns, record.started_ns], "carrier": otel.inject()}


@app.task  # type: ignore[untyped-decorator]
def untold(task_id: str) -> None:
    """Work that is told nothing: only Celery's instrumentation carries the trace."""
    with otel.task("untold", task_id) as task:
        task.span.set_attribute("pid", os.getpid())

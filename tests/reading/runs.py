"""Runs to read, made by the real SDK with instants that a test chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from otel_orchestrator.delivery.runfile import RunFileProcessor
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.lifecycle.spans import Operation
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.semconv import Attr

START_NS = 1_795_500_000_000_000_000
RUN_ID = "20261124-060000-abc123"


class Counting(IdGenerator):
    """Ids 1, 2, 3, …"""

    def __init__(self) -> None:
        self._next = 0

    def generate_span_id(self) -> int:
        self._next += 1
        return self._next

    def generate_trace_id(self) -> int:
        return 1


class Writer:
    """Writes one run, with instants in milliseconds after its start."""

    def __init__(
        self, folder: Path, run_id: str = RUN_ID, resource: Resource | None = None
    ) -> None:
        resource = resource or Resource({"service.name": "svc", Attr.RUN_LABEL: "before"})
        self._processor = RunFileProcessor(folder, resource)
        self._provider = TracerProvider(
            resource=resource, id_generator=Counting(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(self._processor)
        self._run_id = run_id
        self._open: list[Operation] = []

    @contextmanager
    def span(
        self,
        name: str,
        start_ms: float,
        end_ms: float | None,
        state: Any = "working",
        category: str | None = None,
        outcome: Any = "ok",
        attributes: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Write a span around those inside of the block; one without an end stays open."""
        spans.use_provider(self._provider)
        operation = spans.start(
            name,
            state=state,
            category=category,
            parent=self._open[-1].context if self._open else None,
            attributes={Attr.RUN_ID: self._run_id, **(attributes or {})},
            start_ns=START_NS + int(start_ms * 1e6),
        )
        self._open.append(operation)
        yield
        self._open.pop()
        if end_ms is not None:
            error = "builtins.ValueError" if outcome == "error" else None
            end_ns = START_NS + int(end_ms * 1e6)
            operation.end(outcome, error_type=error, end_ns=end_ns)

    def queue(self, at_ms: float, ready: int, active: int, waiting: int) -> None:
        """Write a change of the queue."""
        at_ns = START_NS + int(at_ms * 1e6)
        change = QueueChange(self._run_id, at_ns, ready, active, waiting, at_ms / 1e3, 0.0)
        self._processor.queue_changed(change)

    def close(self) -> None:
        """Write everything."""
        self._provider.shutdown()
        spans.use_provider(None)


def write_example(folder: Path) -> Path:
    """Write a small orchestrator's run: two loops, three tasks, waits, one error."""
    run = Writer(folder)
    run.queue(0, 2, 0, 1)
    with run.span("invoke_workflow orchestrator", 0, 1000, "container"):
        with run.span("loop", 0, 700, "container", attributes={Attr.LOOP_INDEX: 0}):
            with run.span("superstep", 0, 100, "container", attributes={Attr.SUPERSTEP_INDEX: 1}):
                with run.span("node director", 1, 99, category="compute"):
                    with run.span("chat gpt-4o", 5, 95, category="llm"):
                        with run.span("POST", 6, 60, category="http"):
                            pass
            with run.span("superstep", 101, 700, "container", attributes={Attr.SUPERSTEP_INDEX: 2}):
                for i, end in (("a", 690.0), ("b", 300.0)):
                    task = {Attr.TASK_ID: i, Attr.TASK_NAME: "worker"}
                    with run.span("task worker", 101, 699, "container", attributes=task):
                        with run.span("wait queue", 101, 150, "waiting", "queue"):
                            pass
                        with run.span("node worker", 151, end, category="compute"):
                            with run.span("git commit", 160, 180, category="git"):
                                pass
                            with run.span("chat gpt-4o", 181, end - 1, category="llm"):
                                pass
        with run.span("loop", 701, 999, "container", attributes={Attr.LOOP_INDEX: 1}):
            with run.span("superstep", 701, 999, "container", attributes={Attr.SUPERSTEP_INDEX: 3}):
                with run.span("node director", 702, 998, category="compute", outcome="error"):
                    pass
    run.queue(151, 0, 2, 1)
    run.queue(690, 1, 0, 0)
    run.close()
    return folder / f"{RUN_ID}.jsonl"


def several(folder: Path, *run_ids: str) -> Path:
    """Write run files of one span each, and put them together to one file."""
    written = []
    for number, run_id in enumerate(run_ids, 2):
        run = Writer(folder / "each", run_id)
        with run.span(f"invoke_workflow {run_id}", number, number + 1000, "container"):
            pass
        run.close()
        text = (folder / "each" / f"{run_id}.jsonl").read_text()
        written.append(text.replace(f"{1:032x}", f"{number:032x}"))
    together = folder / "together.jsonl"
    together.write_text("".join(written))
    return together

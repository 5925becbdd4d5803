"""A program whose half-read generators the collector closes wherever it happens to run.

Started by itself, with how to read the gauges: if it hangs, only from outside is that seen.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import otel_orchestrator as otel
from otel_orchestrator import metrics
from otel_orchestrator.queue import tasks

from .boards import plan


class Stream:
    """In a cycle with its own generator."""

    def __init__(self) -> None:
        self.items = self._read()

    def _read(self) -> Iterator[int]:
        with otel.run("inner"), otel.task("stream", "s"), otel.wait("queue"):
            yield 1


def main(*, is_measured: bool) -> None:
    """Run it; print what is left open."""
    reader = InMemoryMetricReader()
    if is_measured:
        metrics.use_provider(MeterProvider([reader]))
    todo = plan(**{f"t{i}": [f"t{i - 1}"] if i else [] for i in range(40)})
    gc.disable()
    for objects in range(1, 400, 7):
        with otel.run("outer"):
            stream = Stream()
            next(stream.items)
            del stream
            # Each time it comes a little later: when so many objects more have been made.
            gc.set_threshold(objects)
            gc.enable()
            otel.observe_tasks(todo)
            with otel.task("worker", "t0"):
                pass
            if is_measured:
                reader.get_metrics_data()
            gc.disable()
            gc.collect()
    print(dict(tasks._open), dict(tasks._boards))


if __name__ == "__main__":
    main(is_measured=sys.argv[1:] == ["measured"])

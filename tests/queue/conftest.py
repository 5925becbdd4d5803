"""Listens to the queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_orchestrator.queue import tasks
from otel_orchestrator.queue.gauges import QueueChange


@pytest.fixture
def changes() -> Iterator[list[QueueChange]]:
    seen: list[QueueChange] = []
    stop = tasks.subscribe(seen.append)
    yield seen
    stop()

"""Plans, and how deep a queue is."""

from __future__ import annotations

from typing import Any

from otel_orchestrator.queue import tasks
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.queue.tasks import QueueBoard

Depth = tuple[int, int, int]


def opened(run_id: str) -> QueueBoard:
    tasks.open_board(run_id)
    board = tasks.board(run_id)
    assert board is not None
    return board


def depths(changes: list[QueueChange]) -> list[Depth]:
    return [(c.ready, c.active, c.waiting) for c in changes]


def plan(**needs: list[str]) -> list[dict[str, Any]]:
    return [{"id": i, "status": "planned", "depends_on": d} for i, d in needs.items()]


def now(board: QueueBoard) -> Depth:
    queue = board.snapshot()
    return queue.ready, queue.active, queue.waiting

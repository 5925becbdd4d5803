"""Nobody waits for the queue: not the collector that comes amid a change, nor another thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_orchestrator import _guard, metrics
from otel_orchestrator.queue import gauges, tasks
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.queue.tasks import QueueBoard
from otel_orchestrator.queue.turns import Turns

from .boards import depths, now, opened, plan

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("how", ["measured", "unmeasured"])
def test_the_collector_may_end_a_span_amid_any_change(how: str) -> None:
    command = [sys.executable, "-m", "tests.queue.collected", how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "{} {}\n"), done.stderr


@contextmanager
def amid_a_change(board: QueueBoard) -> Iterator[Callable[[], None]]:
    """Another thread observes a task of the board's; gives what lets it go on."""
    is_amid, goes_on = threading.Event(), threading.Event()

    def sees_nodes() -> bool:
        is_amid.set()
        return not goes_on.wait(20)

    def observe() -> None:
        board.observe(plan(a=[]), sees_nodes=sees_nodes)

    def let_go() -> None:
        goes_on.set()
        thread.join()

    thread = threading.Thread(target=observe)
    thread.start()
    assert is_amid.wait(20)
    try:
        yield let_go
    finally:
        let_go()


def test_a_node_does_not_wait_for_a_change_that_another_thread_is_amid(
    changes: list[QueueChange],
) -> None:
    board = opened("r")
    with amid_a_change(board) as let_go:
        board.started("a")
        board.started("b")
        assert depths(changes) == []
        assert now(board) == (0, 0, 0)
        let_go()
    assert depths(changes) == [(1, 0, 0), (0, 1, 0), (0, 2, 0)]
    tasks.close_board("r")


def test_what_has_a_result_waits_but_not_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PATIENCE_S", 0.05)
    board = opened("r")
    tasks.open_board("another")
    with amid_a_change(board):
        assert board.passed_barrier(1) == {}
        assert tasks.board("another") is None
        tasks.close_board("r")
        assert tasks.find_board("r") is board
    assert tasks.find_board("r") is None, "closed by the thread that was amid a change"
    tasks.close_board("another")


def test_a_listener_that_is_slow_keeps_nobody(changes: list[QueueChange]) -> None:
    board = QueueBoard("r")
    is_told, goes_on = threading.Event(), threading.Event()

    def slow(_: QueueChange) -> None:
        is_told.set()
        assert goes_on.wait(20)

    stop = tasks.subscribe(slow)
    thread = threading.Thread(target=board.started, args=("a",))
    thread.start()
    assert is_told.wait(20)
    board.started("b")  # would wait until the test is over
    assert now(board) == (0, 2, 0)
    goes_on.set()
    thread.join()
    stop()
    assert depths(changes) == [(0, 1, 0), (0, 2, 0)]


def test_of_what_a_listener_never_comes_back_for_the_newest_is_kept_and_the_rest_is_said(
    changes: list[QueueChange], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "_untold", deque(maxlen=2))
    monkeypatch.setattr(_guard, "_last_logged", {})
    board = QueueBoard("r")
    is_told, goes_on = threading.Event(), threading.Event()

    def stuck(_: QueueChange) -> None:
        is_told.set()
        assert goes_on.wait(20)

    stop = tasks.subscribe(stuck)
    thread = threading.Thread(target=board.started, args=("a",))
    thread.start()
    assert is_told.wait(20)
    for task_id in "bcde":
        board.started(task_id)
    assert len(tasks._telling._due) <= 1
    goes_on.set()
    thread.join()
    stop()
    assert depths(changes) == [(0, 1, 0), (0, 4, 0), (0, 5, 0)]
    assert caplog.text.count("changes of the queue are lost") == 1
    caplog.clear()


def test_a_forked_child_has_turns_of_its_own() -> None:
    board = QueueBoard("r")
    with amid_a_change(board):
        if (child := os.fork()) == 0:
            tasks.open_board("child")
            found = tasks.board("child")
            os._exit(0 if found is not None else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_work_is_done_once_and_in_order_by_many_threads() -> None:
    turns, done = Turns(), []
    given = [[(n, i) for i in range(500)] for n in range(4)]

    def give(work: list[Any]) -> None:
        for one in work:
            turns.do(lambda one=one: done.append(one))  # type: ignore[misc]

    threads = [threading.Thread(target=give, args=(work,)) for work in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[one for one in done if one[0] == n] for n in range(4)] == given


def test_work_that_comes_amid_work_is_done_after_it() -> None:
    turns, done = Turns(), []

    def outer() -> None:
        turns.do(lambda: done.append("inner"), patience_s=20)
        done.append("outer")

    turns.do(outer)
    assert done == ["outer", "inner"]


def test_gauges_are_made_once_by_all_who_come_at_once(
    measured: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Meter:
        """As if the collector came here amid it."""

        def create_observable_gauge(self, name: str, *args: Any, **kwargs: Any) -> None:
            made.append(name)
            gauges.make(lambda _: [])

    monkeypatch.setattr(metrics, "meter", Meter)
    gauges.make(lambda _: [])
    assert len(made) == 2

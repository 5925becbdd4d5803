"""The guard: what goes wrong inside of it costs a log line, and at worst not even that."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from otel_orchestrator import _guard
from otel_orchestrator._guard import guarded


@pytest.fixture(autouse=True)
def as_in_a_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(_guard, "_last_logged", {})
    yield


def test_a_handler_of_the_programs_that_raises_does_not_reach_the_program() -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError

    handler = Raising()
    logging.getLogger().addHandler(handler)
    try:
        with guarded("testing"):
            raise KeyError
    finally:
        logging.getLogger().removeHandler(handler)
    assert list(_guard._last_logged) == ["testing"]


def test_a_stack_that_has_no_room_for_the_log_does_not_reach_the_program() -> None:
    def well() -> str:
        with guarded("testing"):
            pass
        return "goes on"

    def ill() -> str:
        _guard._last_logged.clear()
        with guarded("testing"):
            raise KeyError
        return "goes on"

    def below(calls: int, do: Callable[[], str]) -> str:
        return below(calls - 1, do) if calls else do()

    def has_room(calls: int) -> bool:
        try:
            return below(calls, well) == "goes on"
        except RecursionError:
            return False

    deepest = next(calls for calls in range(sys.getrecursionlimit(), 0, -1) if has_room(calls))
    assert {below(deepest - room, ill) for room in range(60)} == {"goes on"}

"""Compare what spans say with what really happened, on machines that are busy now and then."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.trace import ReadableSpan

TOLERANCE_S = 0.020
# What is wrong is wrong every time, what is late on a busy machine is late once.
TRIES = 6


class Differs(Exception):
    """A phase is not what really happened."""


def same(name: str, measured_s: float, real_s: float) -> None:
    if abs(measured_s - real_s) > TOLERANCE_S:
        raise Differs(f"{name}: {measured_s:.3f} s, really {real_s:.3f} s")


def until_it_agrees(scenario: Callable[[], None], forget: Callable[[], None]) -> None:
    """Try a scenario until its clocks agree; `forget` takes away what the last try left."""
    for left in reversed(range(TRIES)):
        forget()
        try:
            scenario()
            return
        except Differs:
            if not left:
                raise


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9

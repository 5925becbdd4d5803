"""What this package itself does and costs: spans kept, dropped and waiting, and its own time.

Read when metrics are collected, from numbers that are counted anyway: nothing is recorded where a
span starts or ends. The SDK tells of its own part, such as `otel.sdk.span.started`, by itself where
`OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED` is `true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import CallbackOptions, Observation

from .. import metrics
from .._guard import spent_s
from ..semconv import Attr, Metric

_COMPONENT: Final = "orchestrator_run_file"
_RUN_FILE: Final = {Attr.COMPONENT_TYPE: _COMPONENT, Attr.COMPONENT_NAME: f"{_COMPONENT}/0"}
_DROPPED: Final = {**_RUN_FILE, Attr.ERROR_TYPE: "not_written"}


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of the spans that this process ended.

    Attributes:
        written: to run files.
        dropped: for which there was no room in memory or on the disk.
        unsent: written, but not sent yet; None if they are sent nowhere.
    """

    written: int
    dropped: int
    unsent: int | None


def register(kept: Callable[[], Kept | None]) -> None:
    """Make the instruments, once there is a provider for them.

    Args:
        kept: what became of spans by now; None without run files.
    """

    def processed(_: CallbackOptions) -> Iterable[Observation]:
        if (now := kept()) is not None:
            yield Observation(now.written, _RUN_FILE)
            yield Observation(now.dropped, _DROPPED)

    def unsent(_: CallbackOptions) -> Iterable[Observation]:
        if (now := kept()) is not None and now.unsent is not None:
            yield Observation(now.unsent)

    meter = metrics.meter()
    meter.create_observable_counter(
        Metric.PROCESSED,
        [processed],
        unit="{span}",
        description="Ended spans that the run file took, or with error.type could not.",
    )
    meter.create_observable_gauge(
        Metric.SELF_UNSENT,
        [unsent],
        unit="{span}",
        description="Spans of this process in run files that the endpoint does not have yet.",
    )
    meter.create_observable_counter(
        Metric.SELF_TIME,
        [_time],
        unit="s",
        description="What this package took: of the program's threads, and CPU of its own.",
    )


def _time(_: CallbackOptions) -> Iterable[Observation]:
    for part, seconds in spent_s().items():
        yield Observation(seconds, {Attr.SELF_PART: part})

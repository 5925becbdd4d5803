"""Histograms of how long things took, and the bucket bounds that reach far enough.

Instruments are made through the OpenTelemetry API with advisory bucket bounds, so that a view of
the user's still wins. The gauges here are written once, at a run's end; those of the queue are in
`queue.gauges`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter, MeterProvider, _Gauge
from opentelemetry.util.types import AttributeValue

from . import semconv
from .semconv import Metric

SCOPE: Final = "otel_orchestrator"

_OURS: Final = ("s", semconv.ORCHESTRATOR_SECONDS)
_GENAI: Final = ("s", semconv.GENAI_SECONDS)
_HISTOGRAMS: Final[Mapping[str, tuple[str, tuple[float, ...], str]]] = {
    Metric.LOOP_DURATION: (*_OURS, "One turn of the graph's cycle."),
    Metric.SUPERSTEP_DURATION: (*_OURS, "One LangGraph superstep, planning to applied writes."),
    Metric.NODE_DURATION: (*_OURS, "One attempt of a node."),
    Metric.TASK_DURATION: (*_OURS, "A task, from scheduled to the barrier."),
    Metric.WAIT_DURATION: (*_OURS, "A wait, by category."),
    Metric.GIT_DURATION: (*_OURS, "One git process."),
    Metric.WORKFLOW_DURATION: (*_OURS, "A graph run."),
    Metric.AGENT_DURATION: (*_OURS, "An agent run."),
    Metric.TOOL_DURATION: (*_GENAI, "One tool call."),
    Metric.LLM_DURATION: (*_GENAI, "One logical LLM call with all its retries."),
    Metric.LLM_TIME_TO_FIRST_CHUNK: (*_GENAI, "Request to first chunk with content."),
    Metric.LLM_TIME_PER_OUTPUT_CHUNK: (*_GENAI, "Gap between chunks after the first."),
    Metric.LLM_ATTEMPTS: (
        "{attempt}",
        tuple(map(float, semconv.ATTEMPTS)),
        "HTTP requests for each logical LLM call.",
    ),
    Metric.LLM_RATE_LIMITED: (*_GENAI, "Time an LLM call waited for rate limits, if it did."),
    Metric.TOKEN_USAGE: ("{token}", tuple(map(float, semconv.TOKENS)), "Tokens of an LLM call."),
}

_GAUGES: Final[Mapping[str, tuple[str, str]]] = {
    Metric.RUN_DURATION: ("s", "A run, from start to end."),
    Metric.RUN_WORK: ("s", "What a run's spans of a category of work took together."),
    Metric.RUN_WAIT: ("s", "What a run's tasks and nodes waited, by category."),
    Metric.RUN_TASKS: ("{task}", "Tasks of the application that a run worked on."),
    Metric.RUN_LLM_CALLS: ("{call}", "Logical LLM calls of a run."),
    Metric.RUN_TOKENS: ("{token}", "Tokens of all LLM calls of a run."),
}

_provider: MeterProvider | None = None
_generation = 0
_NOBODY_ASKED: Final[tuple[MeterProvider | None, bool]] = (None, False)
_asked = _NOBODY_ASKED
_made: dict[str, Histogram] = {}
_gauges: dict[str, _Gauge] = {}


def use_provider(provider: MeterProvider | None) -> None:
    """Make all instruments from `provider`; None means the global one."""
    global _provider, _generation, _asked  # noqa: PLW0603 - one for the process, like the API's own
    _provider = provider
    _asked = _NOBODY_ASKED
    _generation += 1
    _made.clear()
    _gauges.clear()


def generation() -> int:
    """Return a number that changes with the provider: instruments made before belong to another."""
    return _generation


def meter() -> Meter:
    """Return this package's meter."""
    return metrics.get_meter(SCOPE, meter_provider=_provider, schema_url=semconv.SCHEMA_URL)


def are_heard() -> bool:
    """Return whether anything measured is kept: by the API's own providers nothing is.

    To ask costs more than to record one value into nothing: it is for where much would be.
    """
    global _asked  # noqa: PLW0603 - found out once for each provider
    provider = _provider or metrics.get_meter_provider()
    if provider is not _asked[0]:
        made_by = type(provider.get_meter(SCOPE)).__module__
        _asked = provider, not made_by.startswith(metrics.__name__)
    return _asked[1]


def record(
    name: str,
    value: float,
    attributes: Mapping[str, AttributeValue],
    context: Context | None = None,
) -> None:
    """Record `value` in the histogram `name`; `context` links an exemplar to its span."""
    histogram = _made.get(name)
    if histogram is None:
        unit, bounds, description = _HISTOGRAMS[name]
        histogram = meter().create_histogram(
            name, unit=unit, description=description, explicit_bucket_boundaries_advisory=bounds
        )
        _made[name] = histogram
    histogram.record(value, attributes, context)


def set_gauge(name: str, value: float, attributes: Mapping[str, AttributeValue]) -> None:
    """Write `value` into the gauge `name`; it is exported once."""
    gauge = _gauges.get(name)
    if gauge is None:
        unit, description = _GAUGES[name]
        gauge = _gauges[name] = meter().create_gauge(name, unit=unit, description=description)
    gauge.set(value, attributes)

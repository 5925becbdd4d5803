"""`configure()` and `shutdown()`: the OpenTelemetry SDK, set up in one line.

Everything follows the standard `OTEL_*` variables. OTLP is sent only where an endpoint is set, so
a first run neither tries nor complains; the run file is written in any case.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Final

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api
from opentelemetry.context import attach
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.util.types import AttributeValue

from .. import interruptions, messages, metrics, redaction, runs
from .._guard import guarded, is_disabled, is_on, logger
from ..delivery import clean
from ..delivery.metric_exporter import StoringMetricExporter
from ..delivery.otlp import (
    Signal,
    SplitServices,
    metric_exporter,
    metric_reader,
    span_exporter,
    split_services_from,
)
from ..delivery.runfile import KEEP_RUNS, MAX_FILE_BYTES, RunFileProcessor
from ..delivery.sender import Sender
from ..lifecycle import spans
from ..queue import tasks
from ..run_folder import absolute, folder_from_environment
from ..semconv import Attr
from . import self_metrics, variables
from .arguments import check
from .console import ConsoleProcessor, print_queue
from .ending import EndedInThread, at_exit, say_unsent, soon_after
from .marking import MarkingProcessor
from .resource import label_of, resource_of
from .run_totals import RunTotals
from .variables import explained

__all__ = ("configure", "shutdown")

_SHUTDOWN_TIMEOUT_S: Final = 5.0


@dataclass
class _Configured:
    """What `configure()` made and `shutdown()` has to end.

    Attributes:
        provider: of spans.
        is_mine: whether that was made here; else it is the program's own.
        file: what writes run files.
        sends: what sends spans: of run files, if there are any.
        meter_provider: None where metrics are sent nowhere, or by the program itself.
        metrics: what keeps metrics that cannot be sent.
        local: what works in this process.
        remote: what ends that which sends.
        ending: the process ends.
        is_written: what there was to write to run files then is written, or there is no time left.
        closes: how each part is closed again, as long as another may fail.
    """

    provider: trace_api.TracerProvider
    is_mine: bool
    file: RunFileProcessor | None = None
    sends: Sender | BatchSpanProcessor | None = None
    meter_provider: MeterProvider | None = None
    metrics: StoringMetricExporter | None = None
    local: list[SpanProcessor] = field(default_factory=list)
    remote: list[EndedInThread] = field(default_factory=list)
    unsubscribe: list[Callable[[], None]] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    is_written: threading.Event = field(default_factory=threading.Event)
    closes: dict[str, Callable[[], object]] = field(default_factory=dict)

    @property
    def sender(self) -> Sender | None:
        return self.sends if isinstance(self.sends, Sender) else None

    def close(self) -> None:
        for close in reversed(self.closes.values()):
            with guarded("closing what was made in vain"):
                close()


_configured: _Configured | None = None


def configure(
    service_name: str | None = None,
    *,
    label: str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    console: bool = False,
    run_files: bool = True,
    run_dir: str | os.PathLike[str] | None = None,
    max_run_file_bytes: int = MAX_FILE_BYTES,
    keep_runs: int = KEEP_RUNS,
    fsync: bool | None = None,
    split_services: SplitServices | None = None,
    pending_spans: bool | None = None,
    redact: redaction.Rule | Iterable[redaction.Rule] | bool | None = None,
    redact_names: Iterable[str] | None = None,
) -> None:
    """Set up OpenTelemetry for this process: call it once, before the first run.

    A provider that is already set is used, not replaced: then the run file and the marks are
    added to it, and sending stays as it was set up. A second call, as of a program that is started
    by `otel-orchestrator run`, says what else is secret from then on, and changes nothing else.

    Args:
        service_name: `service.name`; default `OTEL_SERVICE_NAME`, else the program's name.
        label: `orchestrator.run.label`, which runs are compared by.
        attributes: further resource attributes.
        console: print a live line for each task, node, LLM call, git command and loop.
        run_files: write run files.
        run_dir: where to; default `OTEL_ORCHESTRATOR_RUN_DIR`, else `.otel-orchestrator/runs`.
        max_run_file_bytes: a run file takes no more spans past this size.
        keep_runs: older runs are removed; of what is outside of runs, as many files are kept.
        fsync: have the disk keep what is written, so that a power cut takes no more than a kill;
            default `OTEL_ORCHESTRATOR_FSYNC`, else off: then the system writes it in its own time.
        split_services: send spans that work and spans that wait as services of their own, which
            Jaeger gives a colour each: `"state"` as `<service>-working` and `<service>-waiting`,
            `"category"` as `<service>-llm`, `<service>-git` ... and `<service>-waiting`. For
            those who send straight to Jaeger: the shipped Collector does it by itself. Default
            `OTEL_ORCHESTRATOR_SPLIT_SERVICES`, else off. Run files and metrics keep the true name.
        pending_spans: send `pending {name}`, a span without length, for each that has been open for
            half a second, so that Jaeger shows what goes on; not written to run files. Default
            `OTEL_ORCHESTRATOR_PENDING_SPANS`, else off.
        redact: what is secret besides tokens, passwords and the like, which never leave the
            process: regular expressions, functions from a text to a text, or several of these;
            False lets everything through.
        redact_names: names of attributes whose values are secret, with `*` for anything.

    Raises:
        OrchestratorError: an argument or an `OTEL_*` variable that makes no sense, or an
            unwritable `run_dir`. Then nothing is set up, and the next call may be a right one.
    """
    global _configured  # noqa: PLW0603 - OpenTelemetry's providers are global, too
    given = dict(locals())
    if _configured is not None:
        _say_again(given)
        return
    if is_disabled():
        return
    check(given)
    traces, measures = _signals()
    split = split_services_from(split_services)
    provider = trace_api.get_tracer_provider()
    made = _Configured(provider, isinstance(provider, trace_api.ProxyTracerProvider))
    # All that may fail comes before anything that others see; if it does, it is closed again.
    try:
        made.closes["rules"] = redaction.use
        redaction.use(redact, redact_names)
        clean.read_limits()
        resource = clean.resource(resource_of(service_name, label, attributes or {}))
        if made.is_mine:
            made.provider = _tracer_provider(resource)
        exporter = partial(_span_exporter, made, traces, split) if made.is_mine and traces else None
        if run_files and isinstance(made.provider, TracerProvider):
            folder = folder_from_environment() if run_dir is None else absolute(Path(run_dir))
            if traces and exporter:
                pending = _is_on("PENDING_SPANS", pending_spans)
                made.sends = Sender(folder, traces.shown, exporter, shows_pending=pending)
            made.file = RunFileProcessor(
                folder,
                clean.resource(made.provider.resource),
                max_file_bytes=max_run_file_bytes,
                keep_runs=keep_runs,
                fsync=_is_on("FSYNC", fsync),
                sender=made.sender,
            )
            made.closes["file"] = made.file.shutdown
        elif exporter:
            made.sends = _sending_by_itself(made, exporter(is_probed=False))
        made.meter_provider = _meter_provider(made, measures, resource)
        _start_ending(made)
    except BaseException:
        made.close()
        raise
    made.closes.clear()
    _configured = made
    at_exit(_shutdown_at_exit)
    if split is not None and not made.is_mine:
        logger.warning("split_services changes nothing: another TracerProvider sends the spans")
    _put_to_work(
        made, getattr(made.provider, "resource", resource), _is_on("CONSOLE", console or None)
    )


def _say_again(given: Mapping[str, Any]) -> None:
    """Take of a second call what can still be had, and say what cannot."""
    usual = {name: p.default for name, p in signature(configure).parameters.items()}
    said = [name for name, value in given.items() if value != usual[name]]
    if redacting := [name for name in said if name in ("redact", "redact_names")]:
        redaction.use(given["redact"], given["redact_names"], adds=True)
    ignored = ", ".join(name for name in said if name not in redacting)
    logger.warning(
        "configure() was called before, as by otel-orchestrator run: this changes nothing%s%s",
        " but what is secret" if redacting else "",
        f", so these are not as it says: {ignored}" if ignored else "",
    )


# --- what may fail ---


def _signals() -> tuple[Signal | None, Signal | None]:
    with explained(variables.OTLP):
        traces, measures = Signal.from_environment("traces"), Signal.from_environment("metrics")
    if traces or measures:
        variables.check_numbers()
    return traces, measures


def _tracer_provider(resource: Resource) -> TracerProvider:
    with explained("OTEL_"):
        limits = SpanLimits()  # of the standard variables
        return TracerProvider(resource=resource, span_limits=limits, shutdown_on_exit=False)


def _span_exporter(
    made: _Configured, signal: Signal, split: SplitServices | None, *, is_probed: bool = True
) -> SpanExporter:
    with explained(variables.OTLP):
        exporter = span_exporter(signal, split, is_probed=is_probed)
    made.closes["traces"] = exporter.shutdown
    return exporter


def _sending_by_itself(made: _Configured, exporter: SpanExporter) -> BatchSpanProcessor:
    with explained("OTEL_BSP_"):
        processor = BatchSpanProcessor(clean.CleanSpanExporter(exporter))
    made.closes["traces"] = processor.shutdown  # of its exporter, too
    return processor


def _meter_provider(
    made: _Configured, signal: Signal | None, resource: Resource
) -> MeterProvider | None:
    if signal is None or isinstance(metrics_api.get_meter_provider(), MeterProvider):
        return None
    with explained("OTEL_METRICS_EXEMPLAR_FILTER"):
        # Read for the sake of an error only: a reader starts a thread, so it has to come last.
        MeterProvider(resource=resource, shutdown_on_exit=False)
    with explained(variables.OTLP):
        exporter = metric_exporter(signal, is_probed=made.file is not None)
    made.closes["metrics"] = exporter.shutdown
    if made.file is not None:
        exporter = made.metrics = StoringMetricExporter(
            exporter, signal.shown, made.file.folder, made.file.keep_metrics, made.ending.is_set
        )
    with explained(variables.METRIC_INTERVAL):
        reader = metric_reader(clean.CleanMetricExporter(exporter))
    made.closes["metrics"] = reader.shutdown  # of its exporter, too
    return MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)


def _start_ending(made: _Configured) -> None:
    made.closes["metrics' end"], made.closes["spans' end"] = made.ending.set, made.is_written.set
    if made.is_mine and isinstance(made.provider, TracerProvider):
        made.remote.append(EndedInThread(made.provider.shutdown, made.is_written))
    if made.meter_provider is not None:
        end = soon_after(made.is_written, made.meter_provider.shutdown)
        made.remote.append(EndedInThread(end, made.ending))


# --- what others see ---


def _put_to_work(made: _Configured, resource: Resource, shows_lines: bool) -> None:
    totals = RunTotals(label_of(resource))
    if isinstance(made.provider, TracerProvider):
        made.local += [MarkingProcessor(), totals]
        if made.file is not None:
            made.local.append(made.file)
            made.unsubscribe.append(tasks.subscribe(made.file.queue_changed))
            interrupted = made.file.folder / "interrupted"
            interruptions.keep_in(interruptions.FileStore(interrupted))
        if shows_lines:
            made.local.append(ConsoleProcessor())
            made.unsubscribe.append(tasks.subscribe(print_queue))
        for processor in made.local:
            made.provider.add_span_processor(processor)
        if made.sends is not None:
            made.provider.add_span_processor(made.sends)
    else:
        logger.warning(
            "%s is no provider of the OpenTelemetry SDK: run files and live lines are off",
            type(made.provider).__name__,
        )
    _join(resource, made.file)
    if made.is_mine:
        trace_api.set_tracer_provider(made.provider)
    if made.meter_provider is not None:
        metrics_api.set_meter_provider(made.meter_provider)
    spans.use_provider(None)
    metrics.use_provider(None)
    totals.register()
    self_metrics.register(partial(_kept, made))


def _join(resource: Resource, file: RunFileProcessor | None) -> None:
    """Make this process part of what its environment says, and what it starts a part of it."""
    pass_on = {} if file is None else {"OTEL_ORCHESTRATOR_RUN_DIR": str(file.folder.resolve())}
    host = resource.attributes.get(Attr.HOST_NAME) or socket.gethostname()
    messages.say_of_this_process(str(host), pass_on)
    inherited = messages.inherited()
    if inherited:
        runs.inherit(inherited)  # for threads of ours and theirs, which begin with nothing
        attach(inherited)  # for spans of other instrumentations


def _kept(made: _Configured) -> self_metrics.Kept | None:
    if made.file is None:
        return None
    unsent = None if made.sender is None else made.sender.unsent()
    return self_metrics.Kept(made.file.written, made.file.dropped, unsent)


def _is_on(variable: str, chosen: bool | None) -> bool:
    return is_on(f"OTEL_ORCHESTRATOR_{variable}") if chosen is None else chosen


# --- the end ---


def shutdown(timeout_s: float = _SHUTDOWN_TIMEOUT_S) -> bool:
    """Write and send what is left, in at most `timeout_s`; called at exit by itself.

    Returns:
        Whether everything could be written and sent in time.
    """
    made = _configured
    if made is None or made.ending.is_set():
        return True
    until = time.monotonic() + timeout_s
    spans.make_late_spans()
    for unsubscribe in made.unsubscribe:
        with guarded("shutting down"):
            unsubscribe()
    made.ending.set()
    is_written = _write_the_rest(made.file, until)
    made.is_written.set()
    in_time, unsent, lost = False, 0, 0
    with guarded("shutting down"):
        try:
            in_time = all(part.wait(_left_s(until)) for part in made.remote)
        finally:
            if made.metrics is not None and not in_time:
                made.metrics.keep_in_flight()
        if made.sender is not None:
            unsent, lost = say_unsent(made.sender), made.sender.dropped
    return is_written and in_time and not unsent and not lost


def _shutdown_at_exit() -> None:
    try:
        shutdown()
    except KeyboardInterrupt:  # of somebody who does not want to wait for an endpoint
        if _configured is not None and _configured.sender is not None:
            say_unsent(_configured.sender)


def _write_the_rest(file: RunFileProcessor | None, until: float) -> bool:
    """Write what is left to the run files; whether the disk took it in time."""
    if file is None:
        return True
    with guarded("shutting down"):
        is_written = file.force_flush(_left_ms(until))
        file.shutdown(_left_ms(until))
        return is_written
    return False


def _left_s(until: float) -> float:
    return min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX)


def _left_ms(until: float) -> int:
    return int(1_000 * _left_s(until))

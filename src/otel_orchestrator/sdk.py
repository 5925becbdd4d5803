"""`configure()` and `shutdown()`: the OpenTelemetry SDK, set up in one line.

Everything follows the standard `OTEL_*` variables. OTLP is sent only where an endpoint is set, so
a first run neither tries nor complains; the run file is written in any case.
"""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context, attach, get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.types import AttributeValue

from . import (
    interruptions,
    messages,
    metrics,
    redaction,
    runs,
    self_metrics,
    semconv,
)
from ._guard import guarded, is_disabled, logger
from .console import ConsoleProcessor, print_queue
from .delivery import clean
from .delivery.metric_exporter import StoringMetricExporter
from .delivery.otlp import (
    Signal,
    SplitServices,
    metric_exporter,
    metric_reader,
    span_exporter,
    split_services_from,
)
from .delivery.runfile import RunFileProcessor
from .delivery.sender import Sender
from .errors import OrchestratorError
from .lifecycle import spans
from .llm import chat
from .queue import tasks
from .run_folder import folder_from_environment
from .run_totals import RunTotals
from .semconv import Attr

_SHUTDOWN_TIMEOUT_S: Final = 5.0
_GIT_TIMEOUT_S: Final = 2.0


class _Remote:
    """Ends what sends, in a thread that was started in time: at exit Python starts no more."""

    def __init__(self, end: Callable[[], object], ending: threading.Event) -> None:
        self.ended = threading.Event()
        self._end = end
        self._ending = ending
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        threading.Thread(target=self._run, name="otel-orchestrator-shutdown", daemon=True).start()

    def _run(self) -> None:
        self._ending.wait()
        with guarded("shutting down"):
            self._end()
        self.ended.set()


@dataclass
class _Configured:
    """What `configure()` made and `shutdown()` has to end."""

    local: list[SpanProcessor] = field(default_factory=list)
    remote: list[_Remote] = field(default_factory=list)
    unsubscribe: list[Callable[[], None]] = field(default_factory=list)
    sender: Sender | None = None
    metrics: StoringMetricExporter | None = None
    ending: threading.Event = field(default_factory=threading.Event)


_configured: _Configured | None = None


class MarkingProcessor(SpanProcessor):
    """Marks spans of other instrumentations as work, and as part of their run."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add what every span of a run carries, where it is missing."""
        with guarded("marking a span"):
            attributes = span.attributes or {}
            if Attr.STATE not in attributes:
                span.set_attribute(Attr.STATE, semconv.WORKING)
                span.set_attribute(Attr.CATEGORY, _category(attributes, parent_context))
            if Attr.RUN_ID not in attributes:
                # Not what the process inherited: without a parent it is in a trace of its own.
                # An empty context, as a span without a parent is given, is false, and is one.
                context = get_current() if parent_context is None else parent_context
                run_id = runs.run_id_of(context)
                if run_id is not None:
                    span.set_attribute(Attr.RUN_ID, run_id)


def _category(attributes: Mapping[str, object], parent: Context | None) -> str:
    if Attr.OPERATION in attributes:
        return semconv.TOOL if attributes[Attr.OPERATION] == "execute_tool" else semconv.LLM
    if semconv.is_http(attributes):
        return chat.category_of_http(parent)
    return semconv.COMPUTE


def configure(
    service_name: str | None = None,
    *,
    label: str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    console: bool = False,
    run_files: bool = True,
    run_dir: str | os.PathLike[str] | None = None,
    max_run_file_bytes: int = 256 * 2**20,
    keep_runs: int = 100,
    fsync: bool | None = None,
    split_services: SplitServices | None = None,
    pending_spans: bool | None = None,
    redact: redaction.Rule | Iterable[redaction.Rule] | bool | None = None,
    redact_names: Iterable[str] | None = None,
) -> None:
    """Set up OpenTelemetry for this process: call it once, before the first run.

    A provider that is already set is used, not replaced: then the run file and the marks are
    added to it, and sending stays as it was set up. A second call changes nothing.

    Args:
        service_name: `service.name`; default `OTEL_SERVICE_NAME`, else the program's name.
        label: `orchestrator.run.label`, which runs are compared by.
        attributes: further resource attributes.
        console: print a live line for each task, node, LLM call, git command and loop.
        run_files: write run files.
        run_dir: where to; default `OTEL_ORCHESTRATOR_RUN_DIR`, else `.otel-orchestrator/runs`.
        max_run_file_bytes: a run file takes no more spans past this size.
        keep_runs: older run files are removed.
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
            unwritable `run_dir`.
    """
    global _configured  # noqa: PLW0603 - OpenTelemetry's providers are global, too
    if _configured is not None:
        logger.warning("configure() was called before; this call changes nothing")
        return
    if is_disabled():
        return
    if label is not None and not isinstance(label, str):
        raise OrchestratorError(f"configure(label={label!r}): the label has to be a string")
    # All are read before anything is set up, so that a mistake leaves nothing half-made.
    traces, measures = Signal.from_environment("traces"), Signal.from_environment("metrics")
    split = split_services_from(split_services)
    limits = _limits()
    redaction.use(redact, redact_names)
    clean.read_limits()
    made = _Configured()
    resource = clean.resource(_resource(service_name, label, attributes or {}))
    provider = trace_api.get_tracer_provider()
    mine = isinstance(provider, trace_api.ProxyTracerProvider)
    if mine:
        provider = TracerProvider(resource=resource, span_limits=limits, shutdown_on_exit=False)
        made.remote.append(_Remote(provider.shutdown, made.ending))
    elif split is not None:
        logger.warning("split_services changes nothing: another TracerProvider sends the spans")
    totals = RunTotals(_label_of(getattr(provider, "resource", resource)))
    file = None
    if isinstance(provider, TracerProvider):
        made.local += [MarkingProcessor(), totals]
        if run_files:
            folder = Path(run_dir) if run_dir is not None else folder_from_environment()
            made.sender = _sender(folder, traces if mine else None, split, pending_spans)
            file = RunFileProcessor(
                folder,
                clean.resource(provider.resource),
                max_file_bytes=max_run_file_bytes,
                keep_runs=keep_runs,
                fsync=_is_on("FSYNC", fsync),
                sender=made.sender,
            )
            made.local.append(file)
            made.unsubscribe.append(tasks.subscribe(file.queue_changed))
            interruptions.keep_in(interruptions.FileStore(folder / "interrupted"))
        if _is_on("CONSOLE", console or None):
            made.local.append(ConsoleProcessor())
            made.unsubscribe.append(tasks.subscribe(print_queue))
        for processor in made.local:
            provider.add_span_processor(processor)
        if mine and traces is not None:
            provider.add_span_processor(made.sender or _by_itself(traces, split))
    else:
        logger.warning(
            "%s is no provider of the OpenTelemetry SDK: run files and live lines are off",
            type(provider).__name__,
        )
    _join(getattr(provider, "resource", resource), file)
    if mine:
        trace_api.set_tracer_provider(provider)
    _set_meter_provider(made, measures, resource, file)
    spans.use_provider(None)
    metrics.use_provider(None)
    totals.register()
    self_metrics.register(partial(_kept, file, made.sender))
    _configured = made
    _shut_down_at_the_end()


def _kept(file: RunFileProcessor | None, sender: Sender | None) -> self_metrics.Kept | None:
    if file is None:
        return None
    unsent = None if sender is None else sender.unsent()
    return self_metrics.Kept(file.written, file.dropped, unsent)


def _is_on(variable: str, chosen: bool | None) -> bool:
    if chosen is not None:
        return chosen
    said = os.environ.get(f"OTEL_ORCHESTRATOR_{variable}", "")
    return said.strip().lower() in ("1", "true")


def _shut_down_at_the_end() -> None:
    atexit.register(shutdown)
    # A worker of multiprocessing, as in a process pool, ends by os._exit: that passes over atexit.
    multiprocessing.util.register_after_fork(shutdown, _shut_down_with_worker)
    if multiprocessing.parent_process() is not None:
        _shut_down_with_worker(None)


def _shut_down_with_worker(_: object) -> None:
    multiprocessing.util.Finalize(None, shutdown, exitpriority=-1)


def _limits() -> SpanLimits:
    try:
        return SpanLimits()  # of the standard variables
    except ValueError as error:
        raise OrchestratorError(f"{error}. Type a number, or leave the variable out") from None


def _by_itself(signal: Signal, split: SplitServices | None) -> SpanProcessor:
    return BatchSpanProcessor(clean.CleanSpanExporter(span_exporter(signal, split)))


def _join(resource: Resource, file: RunFileProcessor | None) -> None:
    """Make this process part of what its environment says, and what it starts a part of it."""
    pass_on = {} if file is None else {"OTEL_ORCHESTRATOR_RUN_DIR": str(file.folder.resolve())}
    host = resource.attributes.get(Attr.HOST_NAME) or socket.gethostname()
    messages.say_of_this_process(str(host), pass_on)
    inherited = messages.inherited()
    if inherited:
        runs.inherit(inherited)  # for threads of ours and theirs, which begin with nothing
        attach(inherited)  # for spans of other instrumentations


def _sender(
    folder: Path, signal: Signal | None, split: SplitServices | None, pending_spans: bool | None
) -> Sender | None:
    if signal is None:
        return None
    exporter = partial(span_exporter, signal, split)
    shows_pending = _is_on("PENDING_SPANS", pending_spans)
    return Sender(folder, signal.shown, exporter, shows_pending=shows_pending)


def _set_meter_provider(
    made: _Configured, signal: Signal | None, resource: Resource, file: RunFileProcessor | None
) -> None:
    if signal is None or isinstance(metrics_api.get_meter_provider(), MeterProvider):
        return
    exporter = metric_exporter(signal)
    if file is not None:
        exporter = made.metrics = StoringMetricExporter(
            exporter, signal.shown, file.folder, file.keep_metrics, made.ending.is_set
        )
    provider = MeterProvider(
        metric_readers=[metric_reader(clean.CleanMetricExporter(exporter))],
        resource=resource,
        shutdown_on_exit=False,
    )
    metrics_api.set_meter_provider(provider)
    made.remote.append(_Remote(provider.shutdown, made.ending))


def _resource(
    service_name: str | None, label: str | None, attributes: Mapping[str, AttributeValue]
) -> Resource:
    chosen: dict[str, AttributeValue] = dict(attributes)
    if service_name is not None:
        chosen[Attr.SERVICE_NAME] = service_name
    if label is not None:
        chosen[Attr.RUN_LABEL] = label
    found = Resource.create(chosen)
    if str(found.attributes.get(Attr.SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({Attr.SERVICE_NAME: _program_name()}))
    # Without a host name Jaeger takes every span for one from another host (clock skew).
    if Attr.HOST_NAME not in found.attributes:
        found = found.merge(Resource({Attr.HOST_NAME: socket.gethostname()}))
    if Attr.REF_HEAD_REVISION not in found.attributes and (revision := _revision()):
        found = found.merge(Resource({Attr.REF_HEAD_REVISION: revision}))
    return found.merge(Resource({Attr.PROCESS_PID: os.getpid()}))


def _revision() -> str | None:
    """Return the commit of the program's own code, if it lies in a git repository."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = Path(script).resolve().parent if script else Path.cwd()
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _label_of(resource: Resource) -> str | None:
    label = resource.attributes.get(Attr.RUN_LABEL)
    return None if label is None else str(label)


def _program_name() -> str:
    stem = Path(sys.argv[0] if sys.argv else "").stem
    return stem if stem and stem not in ("__main__", "-c", "-m") else "orchestrator"


def shutdown(timeout_s: float = _SHUTDOWN_TIMEOUT_S) -> bool:
    """Write and send what is left, in at most `timeout_s`; called at exit by itself.

    Returns:
        Whether everything could be sent in time. The run file is complete in any case.
    """
    made = _configured
    if made is None or made.ending.is_set():
        return True
    spans.make_late_spans()
    for end in (*made.unsubscribe, *(processor.shutdown for processor in made.local)):
        with guarded("shutting down"):
            end()
    # In threads: OpenTelemetry's own shutdown waits for a dead endpoint longer than anybody wants.
    made.ending.set()
    until = time.monotonic() + timeout_s
    in_time, unsent = False, 0
    with guarded("shutting down"):
        in_time = all(r.ended.wait(max(0.0, until - time.monotonic())) for r in made.remote)
        if made.metrics is not None and not in_time:
            made.metrics.keep_in_flight()
        unsent = 0 if made.sender is None else made.sender.unsent()
    if unsent:
        logger.warning(
            "%d spans are not sent yet. The run files keep them, and the next program that writes"
            " and sends there sends them; or type: otel-orchestrator ship",
            unsent,
        )
    return in_time and not unsent

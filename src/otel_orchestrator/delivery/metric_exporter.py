"""Metrics that the endpoint does not take are kept in the run file of the process, and sent later.

Histograms go as deltas, so one that is lost is a hole for ever. In the ordinary case nothing is
written; after a failure everything goes through the file until it is empty, in order, for a
Collector that adds deltas up drops what comes late.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from .._guard import guarded, log_once_a_minute, logger
from . import answers
from .forwarding import ForwardingMetricExporter
from .ledger import Ledger, Sent, metrics_of, open_ledger, owed_to
from .sending import NOTHING, NotServedError, UnansweredError, UnreachableError
from .stored_metrics import read_metrics

_EMPTY: Final = MetricsData([])


class StoringMetricExporter(ForwardingMetricExporter):
    """Stands before an exporter, and keeps what that cannot send.

    Args:
        inner: sends.
        endpoint: the name of the endpoint in ledgers.
        folder: the run files; what earlier processes left in them is sent, too.
        store: writes metrics to the process's run file and returns which that is; calls what it is
            given with the file and its size before.
        is_ending: whether the process ends, and has no time for a dead endpoint.
    """

    def __init__(
        self,
        inner: Any,
        endpoint: str,
        folder: Path,
        store: Callable[[MetricsData, Callable[[Path, int], None]], Path | None],
        is_ending: Callable[[], bool],
    ) -> None:
        super().__init__(inner)
        self._endpoint = endpoint
        self._name = metrics_of(endpoint)
        self._folder = folder
        self._store = store
        self._is_ending = is_ending
        self._is_down = False
        self._is_served = True
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        # In a forked child as well: what the parent has kept or is sending, the parent sends.
        self._owed: set[Path] | None = None  # run files; None before the first look
        self._kept_from: dict[Path, int] = {}  # where what is kept in a file begins
        self._in_flight: MetricsData | None = None

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send metrics, or keep them; what is kept counts as taken."""
        if self._owed is None:
            self._owed = _owed_in(self._folder, self._name)
        # At the end nobody waits for an endpoint that was dead a moment ago.
        is_left_alone = self._is_down and self._is_ending()
        if not is_left_alone and (not self._owed or not self._is_served):
            self._in_flight = metrics_data
            try:
                self._send(metrics_data)
                self._is_served = True
                return MetricExportResult.SUCCESS
            except NotServedError:
                self._say_not_served()
                return MetricExportResult.SUCCESS
            except UnreachableError:
                pass
            finally:
                self._in_flight = None
        if not self._keep(metrics_data):
            return MetricExportResult.FAILURE
        if not (self._is_down and self._is_ending()):
            self._send_stored(self._owed)
        return MetricExportResult.SUCCESS

    def _say_not_served(self) -> None:
        if self._is_served:
            logger.warning(
                "%s takes no metrics at all: none are sent there. Set"
                " OTEL_EXPORTER_OTLP_METRICS_ENDPOINT to where they are to go, or"
                " OTEL_METRICS_EXPORTER=none",
                self._endpoint,
            )
        self._is_served = False

    def keep_in_flight(self) -> None:
        """Keep what is being sent: the process ends before the endpoint has answered."""
        in_flight = self._in_flight
        if in_flight is not None:
            self._keep(in_flight)

    def _keep(self, metrics_data: MetricsData) -> bool:
        assert self._owed is not None
        with guarded("keeping metrics that could not be sent"):
            run_file = self._store(metrics_data, self._note_debt)
            if run_file is not None:
                self._owed.add(run_file)
                return True
        log_once_a_minute("metrics lost", "metrics are lost: neither sent nor stored")
        return False

    def _note_debt(self, run_file: Path, size: int) -> None:
        # Whoever sends the file's spans may hold its ledger now: then it is noted the next time.
        # And a file that was removed begins anew.
        first = self._kept_from[run_file] = min(size, self._kept_from.get(run_file, size))
        with suppress(OSError), open_ledger(run_file) as ledger:
            if ledger.sent_to(self._name) is None:
                ledger.note(self._name, Sent(first))

    def _send_stored(self, run_files: set[Path]) -> None:
        with guarded("sending stored metrics"):
            try:
                for run_file in sorted(run_files, key=_changed):
                    with suppress(UnansweredError):  # that of another process may be answered
                        self._send_file(run_file, run_files)
            except NotServedError:
                self._say_not_served()
            except UnreachableError:
                return

    def _send_file(self, run_file: Path, owed: set[Path]) -> None:
        start = Sent(self._kept_from.get(run_file, 0))
        try:
            if run_file.exists():  # or opening its ledger would leave one without a run file
                with open_ledger(run_file) as ledger:
                    send_stored_metrics(ledger, run_file, self._name, self._send, start)
            owed.discard(run_file)
        except BlockingIOError:
            return  # somebody else is sending it; what is left is for the next time
        except OSError as error:
            owed.discard(run_file)
            log_once_a_minute(
                "stored metrics",
                "the metrics that are kept in %s cannot be read: %s",
                run_file.name,
                error.strerror,
            )

    def _send(self, metrics_data: MetricsData) -> int:
        try:
            refused = export_metrics(self._inner, metrics_data)
        except UnreachableError as error:
            self._is_down = not isinstance(error, NotServedError)
            raise
        self._is_down = False
        if refused or (points := answers.rejected()):
            log_once_a_minute(
                "metrics refused",
                "%s refuses %s for good",
                self._endpoint,
                "an export of metrics" if refused else f"{points} points of an export of metrics",
            )
        return refused


def send_stored_metrics(
    ledger: Ledger,
    run_file: Path,
    name: str,
    send: Callable[[MetricsData], int],
    start: Sent = NOTHING,
) -> Sent:
    """Send the metrics that are kept in a run file, and note each that is taken.

    Args:
        ledger: the run file's, open.
        run_file: what to send.
        name: under which the ledger knows the endpoint's metrics.
        send: sends; returns how many exports were refused.
        start: where what is kept begins, if the ledger does not say what was taken.

    Raises:
        UnreachableError: the endpoint takes nothing; what it took before is noted.
        UnansweredError: it does not answer to one of them, but may take other files.
        OSError: the file cannot be read.
    """
    sent = ledger.sent_to(name) or start
    end = run_file.stat().st_size
    while (found := read_metrics(run_file, sent.bytes, end)) is not None:
        at, data = found
        refused = 0 if data is None else send(data)
        taken = 0 if data is None else 1 - refused
        sent = Sent(at, sent.count + taken, sent.refused + refused)
        if data is not None or at == end:
            with suppress(OSError):
                ledger.note(name, sent)
    return sent


def export_metrics(exporter: MetricExporter, metrics_data: MetricsData) -> int:
    """Export metrics; return 1 if the endpoint refuses just these, else 0.

    Raises:
        NotServedError: it takes no metrics, and says so.
        UnreachableError: it takes nothing at all, or asks for this later.
        UnansweredError: it takes what is empty, but does not answer to this.
    """
    if _is_taken(exporter, metrics_data):
        return 0
    # Out of memory, a Collector still takes what is empty: then that would tell nothing.
    if answers.wants_it_later():
        raise UnreachableError
    if not _is_taken(exporter, _EMPTY):
        raise UnreachableError if answers.is_served() else NotServedError
    if _is_taken(exporter, metrics_data):
        return 0
    if answers.wants_it_later():
        raise UnreachableError
    if answers.said_nothing():
        raise UnansweredError
    return 1


def _is_taken(exporter: MetricExporter, metrics_data: MetricsData) -> bool:
    answers.forget()
    return exporter.export(metrics_data) is MetricExportResult.SUCCESS


def _owed_in(folder: Path, name: str) -> set[Path]:
    with guarded("looking for metrics that earlier programs could not send"):
        return {path for path in folder.glob("*.jsonl") if name in owed_to(path)}
    return set()


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0

"""Send stored runs to an OTLP endpoint, on request: what `otel-orchestrator ship` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import OrchestratorError
from .closing import close_dead
from .ledger import Ledger, Sent, is_of_metrics, metrics_of, open_ledger, owed_to
from .metric_exporter import export_metrics, send_stored_metrics
from .otlp import Signal, metric_exporter, span_exporter, split_services_from
from .sending import (
    NOTHING,
    NotServedError,
    UnansweredError,
    UnreachableError,
    send_stored,
)


@dataclass(frozen=True, slots=True)
class Shipped:
    """What became of one run file.

    Attributes:
        spans: how many were sent now.
        before: how many the endpoint had acknowledged before.
        refused: how many it does not take, not even one by one, or that cannot be read back.
    """

    spans: int
    before: int
    refused: int


class NotThisRunError(OrchestratorError):
    """One run cannot be sent; others may be."""


class Shipper:
    """Sends run files to the endpoint that the `OTEL_EXPORTER_OTLP_*` variables name.

    Raises:
        OrchestratorError: no endpoint is named, or a variable makes no sense.
    """

    def __init__(self) -> None:
        signal = Signal.from_environment("traces")
        if signal is None:
            raise OrchestratorError(
                "where to? Type --endpoint http://localhost:4317, or set"
                " OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        self.endpoint = signal.shown
        self._exporter = span_exporter(signal, split_services_from(None), is_told=False)
        self._metrics = Signal.from_environment("metrics")
        metrics = self._metrics
        self._metric_exporter = metric_exporter(metrics, is_told=False) if metrics else None

    def owed(self, run_files: Sequence[Path]) -> list[Path]:
        """Return those that were meant for this endpoint and that it does not have all of."""
        for folder in {path.parent for path in run_files}:
            close_dead(folder)
        names = {self.endpoint}
        if self._metrics is not None:
            names.add(metrics_of(self._metrics.shown))
        return [path for path in run_files if names & owed_to(path).keys()]

    def owed_to_others(self, run_files: Sequence[Path]) -> dict[str, list[Path]]:
        """Return the runs that were meant for other endpoints which do not have all of them."""
        others: dict[str, list[Path]] = {}
        for path in run_files:
            for name in owed_to(path):
                if name != self.endpoint and not is_of_metrics(name):
                    others.setdefault(name, []).append(path)
        return others

    def ship(
        self, run_file: Path, progress: Callable[[int], None], *, again: bool = False
    ) -> Shipped:
        """Send what the endpoint does not have of a run file.

        Args:
            run_file: which.
            progress: called with the bytes that the endpoint has, after each batch.
            again: send every span, whatever was acknowledged.

        Raises:
            OrchestratorError: the endpoint takes nothing.
            NotThisRunError: it does not answer to this, or the file cannot be sent from.
        """
        count, what = 0, "spans"
        close_dead(run_file.parent)

        def note(sent: Sent, spans: int) -> None:
            nonlocal count
            count += spans
            progress(sent.bytes)

        try:
            with open_ledger(run_file) as ledger:
                if again:
                    ledger.note(self.endpoint, NOTHING)
                before = ledger.sent_to(self.endpoint) or NOTHING
                end = run_file.stat().st_size
                sent = send_stored(
                    ledger, run_file, self.endpoint, self._exporter, end=end, progress=note
                )
                what = "metrics"
                self._ship_metrics(ledger, run_file)
        except UnansweredError:
            raise NotThisRunError(
                f"{self.endpoint} does not answer to all {what} of {run_file.stem}; {count} spans"
                " were sent. Give it more time: OTEL_EXPORTER_OTLP_TIMEOUT=60"
            ) from None
        except UnreachableError:
            raise OrchestratorError(
                f"{self.endpoint} does not take the {what} of {run_file.stem}; {count} spans were"
                " sent. The next try sends the others only. Is that an OTLP endpoint, and of this"
                " protocol (grpc is usually port 4317, http/protobuf 4318)?"
            ) from None
        except BlockingIOError:
            raise NotThisRunError(
                f"{run_file.name} is being sent by another program right now; try again later"
            ) from None
        except OSError as error:
            raise NotThisRunError(
                f"{run_file} cannot be sent: {error.strerror}. Its folder has to be writable, for"
                " what is acknowledged is noted there"
            ) from error
        refused = sent.refused - before.refused
        return Shipped(count - refused, before.count, refused)

    def _ship_metrics(self, ledger: Ledger, run_file: Path) -> None:
        exporter, signal = self._metric_exporter, self._metrics
        if exporter is None or signal is None:
            return
        name = metrics_of(signal.shown)
        if ledger.sent_to(name) is not None:  # else its metrics were sent when they were made
            with suppress(NotServedError):  # they stay owed, to an endpoint that may serve them yet
                send_stored_metrics(
                    ledger, run_file, name, lambda data: export_metrics(exporter, data)
                )

    def close(self) -> None:
        """End the connections."""
        self._exporter.shutdown()
        if self._metric_exporter is not None:
            self._metric_exporter.shutdown()

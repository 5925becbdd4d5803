"""Send a run file to an endpoint, from where the endpoint's acknowledgements end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentelemetry import context as context_api
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from . import answers
from .ledger import Ledger, Sent
from .stored import Batch, read_batch

NOTHING: Final = Sent()


class UnreachableError(Exception):
    """The endpoint takes nothing now, whatever it is, or asks for it later.

    Attributes:
        done: how many spans, from the first on, it had taken or refused before.
        refused: how many of these it refused.
    """

    def __init__(self, done: int = 0, refused: int = 0) -> None:
        super().__init__()
        self.done = done
        self.refused = refused


class NotServedError(UnreachableError):
    """The endpoint says that it never takes such a signal."""


class UnansweredError(UnreachableError):
    """The endpoint takes what is empty, but does not answer to what comes after `done`."""


def send_stored(
    ledger: Ledger,
    run_file: Path,
    endpoint: str,
    exporter: SpanExporter,
    *,
    known: Sent = NOTHING,
    end: int,
    held: Callable[[int], Batch | None] | None = None,
    progress: Callable[[Sent, int], None],
) -> Sent:
    """Send what an endpoint does not have yet of a run file, and note each batch that it takes.

    Of a batch that is taken in part before the endpoint takes nothing more, the whole lines are
    noted. The rest of a line is sent again: the ledger knows no less than a line. So is all of it
    where some was refused and it does not end with a line: in which line that was is not known.

    Args:
        ledger: the run file's, open.
        run_file: what to send.
        endpoint: the name under which the ledger knows where `exporter` sends to.
        exporter: sends.
        known: what the endpoint has as far as the caller knows, should the ledger know less.
        end: the offset to stop at.
        held: gives the batch that starts at an offset if it is still in memory, so that it need
            not be read.
        progress: called after each batch, with what the endpoint has by now and the number of
            spans in the batch.

    Returns:
        What the endpoint has by now.

    Raises:
        UnreachableError: the endpoint takes nothing; what it took before is noted.
        UnansweredError: it does not answer to one of the spans, but may take other files.
        OSError: the file cannot be read.
    """
    sent = max(ledger.sent_to(endpoint) or NOTHING, known)
    while sent.bytes < end:
        batch = (held and held(sent.bytes)) or read_batch(run_file, sent.bytes, end)
        if batch is None:
            break
        stopped = None
        try:
            refused = export(exporter, batch.spans)
        except UnreachableError as error:
            stopped, refused = error, error.refused
            batch = batch.beginning(error.done)
            if not batch.spans or (refused and len(batch.spans) < error.done):
                raise
        taken = sent.count + len(batch.spans) - refused
        sent = Sent(batch.end, taken, sent.refused + refused + batch.unreadable)
        with suppress(OSError):  # a full disk: then the next one to send it sends some twice
            ledger.note(endpoint, sent)
        progress(sent, len(batch.spans) + batch.unreadable)
        if stopped is not None:
            raise stopped
    return sent


def export(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> int:
    """Export spans, in parts if the endpoint does not take them together.

    An exporter does not tell a dead endpoint from one that refuses a batch, for its size say. So
    an empty batch is sent after a failure: if that is taken, it is the batch. Not so where the
    endpoint asks for it later: a Collector that is out of memory still takes an empty batch. What
    is not answered may be too large, or the endpoint too slow: it is sent in parts, and a single
    span is kept.

    Returns:
        How many spans the endpoint refuses even one by one, or says that it has refused.

    Raises:
        UnreachableError: it does not even take an empty batch, or asks for this one later.
        UnansweredError: it takes an empty batch, but does not answer to a single span.
    """
    if not spans:
        return 0
    if _is_taken(exporter, spans):
        return min(answers.rejected(), len(spans))
    if answers.wants_it_later() or not _is_taken(exporter, ()):
        raise UnreachableError
    if len(spans) == 1:
        if _is_taken(exporter, spans):
            return 0
        if answers.wants_it_later():
            raise UnreachableError
        if answers.said_nothing():
            raise UnansweredError
        return 1
    middle = len(spans) // 2
    refused = export(exporter, spans[:middle])
    try:
        return refused + export(exporter, spans[middle:])
    except UnreachableError as error:
        raise type(error)(middle + error.done, refused + error.refused) from None


_UNTRACED: Final = context_api._SUPPRESS_INSTRUMENTATION_KEY


def _is_taken(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> bool:
    # As OpenTelemetry's own batch processor does: sending spans must not make any.
    answers.forget()
    token = context_api.attach(context_api.set_value(_UNTRACED, True))
    try:
        return exporter.export(spans) is SpanExportResult.SUCCESS
    except Exception:  # a defect of the exporter's must not end the thread that sends
        return False
    finally:
        context_api.detach(token)

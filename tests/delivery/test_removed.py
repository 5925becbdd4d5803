"""A run file that somebody removes while it is sent, and that the same run begins anew."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_orchestrator.delivery import sender
from otel_orchestrator.delivery.ledger import owed_to
from otel_orchestrator.delivery.owed import Owed
from otel_orchestrator.delivery.sender import Sender
from otel_orchestrator.delivery.stored import Batch

from .test_dead_endpoint import until
from .test_robust import Endpoint, owed_exports, storing
from .test_unanswered import writing


class Takes(SpanExporter):
    """Takes so many batches, and then nothing."""

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.batches:
            return SpanExportResult.FAILURE
        self.batches -= 1
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


@pytest.mark.parametrize("removed", [".", "one.*", "one.jsonl"])
def test_what_is_written_afterwards_is_sent_and_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    monkeypatch.setattr(sender, "_SOONEST_S", 0.1)
    folder = tmp_path / "runs"
    exporter = Takes(1)
    to = Sender(folder, "there", lambda: exporter)
    processor, make = writing(folder, to)
    for _ in range(1_200):
        make("before", "one")
    processor.force_flush()
    until(lambda: to._is_down)
    sent = len(exporter.taken)
    assert 0 < sent < 1_200
    if removed == ".":
        shutil.rmtree(folder)
    else:
        for path in folder.glob(removed):
            path.unlink()
    make("after", "one")
    processor.force_flush()
    assert owed_to(folder / "one.jsonl").keys() == {"there"}, "a kill now loses nothing"
    assert (to.unsent(), to.dropped) == (1, 1_200 - sent)
    exporter.batches = 10
    assert to.force_flush(10_000)
    assert exporter.taken[sent:] == ["after"]
    assert owed_to(folder / "one.jsonl") == {}
    to.shutdown()
    processor.shutdown()


def test_what_is_written_while_the_one_before_is_sent_is_sent(tmp_path: Path) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    class Slow(Takes):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            begun.set()
            goes_on.wait(10)
            return super().export(spans)

    exporter = Slow(10)
    to = Sender(tmp_path, "there", lambda: exporter)
    processor, make = writing(tmp_path, to)
    make("before", "one")
    processor.force_flush()
    assert begun.wait(10)
    (tmp_path / "one.jsonl").unlink()
    make("after", "one")
    processor.force_flush()
    goes_on.set()
    assert to.force_flush(10_000)
    assert exporter.taken == ["before", "after"] and to.unsent() == 0
    to.shutdown()
    processor.shutdown()


def test_a_file_that_is_looked_up_while_it_is_written_was_not_removed(tmp_path: Path) -> None:
    """Else what is sent of it by then would be sent once more."""
    to = Sender(tmp_path, "there", lambda: Takes(0))
    to._is_stopping = True  # no thread
    path = tmp_path / "one.jsonl"
    to._owed[path] = Owed(100)
    to.written(path, Batch(0, 100, ()))
    assert not to._owed[path].begins_anew
    to.written(path, Batch(0, 50, ()))
    assert to._owed[path].begins_anew


def test_metrics_that_are_kept_afterwards_are_owed(tmp_path: Path) -> None:
    exporter, processor = storing(tmp_path, Endpoint())
    run_file = processor._files.path_of(processor._process_file)
    run_file.write_text("x" * 10_000 + "\n")
    exporter.export(MetricsData([]))
    for path in tmp_path.glob("process-*"):
        path.unlink()
    exporter.export(MetricsData([]))
    assert owed_exports(tmp_path) == 1

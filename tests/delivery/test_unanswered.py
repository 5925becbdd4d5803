"""What an endpoint does not answer to is kept, and holds up only what is behind it in its file."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_orchestrator.delivery import answers, metric_exporter, sender
from otel_orchestrator.delivery.ledger import open_ledger, owed_to
from otel_orchestrator.delivery.runfile import RunFileProcessor
from otel_orchestrator.delivery.sender import Sender
from otel_orchestrator.delivery.sending import NOTHING, UnansweredError
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import list_runs

from .receiver import HANG_UP, Receiver, receiving
from .test_dead_endpoint import until
from .test_delivery import ran, ship, stored
from .test_robust import Endpoint, owed_exports, storing

pytestmark = pytest.mark.timeout(60)


class Silent(SpanExporter):
    """Answers to no batch with a span of that name."""

    def __init__(self, name: str, takes_s: float = 0.0) -> None:
        self.name, self.takes_s = name, takes_s
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        names = [span.name for span in spans]
        if self.name in names:
            time.sleep(self.takes_s)
            answers._heard.said_nothing = True
            return SpanExportResult.FAILURE
        self.taken += names
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def writing(folder: Path, to: Sender | None) -> tuple[RunFileProcessor, Callable[..., None]]:
    """Return what writes to a folder, and what makes a span of a run."""
    processor = RunFileProcessor(folder, Resource({}), sender=to)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")

    def make(name: str, run: str) -> None:
        tracer.start_span(name, attributes={Attr.RUN_ID: run}).end()

    return processor, make


def test_other_files_are_sent_meanwhile(tmp_path: Path) -> None:
    exporter = Silent("slow")
    to = Sender(tmp_path, "there", lambda: exporter)
    processor, make = writing(tmp_path, to)
    make("before", "one")
    make("slow", "one")
    make("behind", "one")
    make("other", "two")
    processor.force_flush()
    until(lambda: "other" in exporter.taken)
    make("later", "two")
    make("behind", "one")
    processor.force_flush()
    until(lambda: "later" in exporter.taken)
    assert not to._is_down
    assert "behind" not in exporter.taken
    began = time.monotonic()
    to.shutdown()
    assert time.monotonic() - began < 5, "nobody waits for it at the end"
    assert to.unsent() == 4 and to.dropped == 0
    assert owed_to(tmp_path / "two.jsonl") == {} != owed_to(tmp_path / "one.jsonl")
    processor.shutdown()


def test_it_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_LATEST_S", 0.1)
    exporter = Silent("slow")
    to = Sender(tmp_path, "there", lambda: exporter)
    processor, make = writing(tmp_path, to)
    make("slow", "one")
    processor.force_flush()
    until(lambda: any(owed.rests_until for owed in to._owed.values()))
    make("behind", "one")
    processor.force_flush()
    exporter.name = "none"
    assert to.force_flush(10_000)
    assert exporter.taken == ["slow", "behind"]
    assert (to.unsent(), owed_to(tmp_path / "one.jsonl"), to._held) == (0, {}, 0)
    to.shutdown()
    processor.shutdown()


def test_most_of_the_time_is_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_LATEST_S", 0.1)
    exporter = Silent("slow", takes_s=0.2)
    to = Sender(tmp_path, "there", lambda: exporter)
    processor, make = writing(tmp_path, to)
    for name in ["before"] * 20 + ["slow"]:
        make(name, "one")
    began = time.monotonic()
    processor.force_flush()
    until(lambda: any(owed.rests_until for owed in to._owed.values()))
    took = time.monotonic() - began
    (owed,) = to._owed.values()
    assert took > 1 and owed.rests_until - began > 8 * took
    to.shutdown()
    processor.shutdown()


def test_no_file_is_always_the_first_that_is_taken_over(tmp_path: Path) -> None:
    """However short each program is, one that is never answered holds up the others only once."""
    processor, make = writing(tmp_path, None)
    runs = [f"run-{n}" for n in range(8)]
    for run in runs:
        make(run, run)
    processor.shutdown()
    orders = [taken_over(tmp_path, runs, f"there-{turn}") for turn in range(10)]
    assert all(sorted(order) == runs for order in orders)
    assert len({order[0] for order in orders}) > 1


def taken_over(folder: Path, runs: Sequence[str], endpoint: str) -> list[str]:
    for run in runs:
        with open_ledger(folder / f"{run}.jsonl") as ledger:
            ledger.note(endpoint, NOTHING)
    exporter = Silent("none")
    to = Sender(folder, endpoint, lambda: exporter)
    to._go()
    assert to.force_flush(10_000)
    to.shutdown()
    return exporter.taken


def test_what_is_in_no_file_gets_through_behind_it(tmp_path: Path) -> None:
    exporter = Silent("slow")
    to = Sender(tmp_path, "there", lambda: exporter)
    names = ["before", "slow", "behind"]
    to.not_written(
        [ReadableSpan(n, resource=Resource({}), start_time=5, end_time=9) for n in names]
    )
    until(lambda: "behind" in exporter.taken)
    assert (to.unsent(), to.dropped) == (1, 0)
    exporter.name = "none"
    to.shutdown()
    assert exporter.taken[-1] == "slow" and (to.unsent(), to.dropped) == (0, 0)


def test_metrics_of_other_files_are_sent_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, processor = storing(tmp_path, Endpoint())
    processor._process_file = "process-before"
    exporter.export(MetricsData([]))
    for path in tmp_path.glob("*.jsonl"):
        os.utime(path, (0, 0))
    endpoint = Endpoint()
    exporter, _ = storing(tmp_path, endpoint)
    exporter.export(MetricsData([]))
    assert owed_exports(tmp_path) == 2
    tried: list[MetricsData] = []

    def answered_but_the_first(_exporter: object, data: MetricsData) -> int:
        tried.append(data)
        if len(tried) == 1:
            raise UnansweredError
        return 0

    monkeypatch.setattr(metric_exporter, "export_metrics", answered_but_the_first)
    exporter.export(MetricsData([]))
    assert (len(tried), owed_exports(tmp_path)) == (3, 1)


def test_a_program_goes_on_with_its_other_runs(tmp_path: Path) -> None:
    """The real exporter, and an endpoint that hangs up on whatever holds that span."""
    hangs_up = Receiver(
        answer=lambda spans: HANG_UP if any("slow" in s.name for s in spans) else 200
    )
    with receiving(hangs_up):
        program = """
            import time
            otel.configure()
            for name in ("slow", "other", "another"):
                with otel.run(name):
                    pass
                time.sleep(1)  # a file each, and more than one try
            """
        ran(textwrap.dedent(program), tmp_path, hangs_up)
        taken = {span.name for span in hangs_up.taken}
        assert taken == {"invoke_workflow other", "invoke_workflow another"}
        hangs_up.answer = lambda _spans: 200
        assert ship(tmp_path, to=hangs_up)[0] == 0
        assert hangs_up.counted() == stored(tmp_path)


def test_ship_goes_on_with_the_other_runs(tmp_path: Path) -> None:
    receiver = Receiver(answer=lambda _spans: 503)
    with receiving(receiver):
        for name in ("slow", "other"):
            ran(f"otel.configure()\nwith otel.run('{name}'): pass", tmp_path, receiver)
        receiver.answer = lambda spans: HANG_UP if any("slow" in s.name for s in spans) else 200
        code, said = ship(tmp_path, to=receiver)
        assert code == 2 and "does not answer to all spans of" in said and "1 spans sent" in said
        assert [span.name for span in receiver.taken] == ["invoke_workflow other"]
        receiver.answer = lambda _spans: 200
        assert ship(tmp_path, to=receiver)[0] == 0
    assert len(receiver.taken) == 2


def test_ship_goes_on_where_another_program_sends_a_run(tmp_path: Path) -> None:
    receiver = Receiver(answer=lambda _spans: 503)
    with receiving(receiver):
        for name in ("busy", "other"):
            ran(f"otel.configure()\nwith otel.run('{name}'): pass", tmp_path, receiver)
        receiver.answer = lambda _spans: 200
        with open_ledger(list_runs(tmp_path)[-1].path):
            code, said = ship(tmp_path, to=receiver)
        assert code == 2 and "is being sent by another program right now" in said
        assert [span.name for span in receiver.taken] == ["invoke_workflow other"]

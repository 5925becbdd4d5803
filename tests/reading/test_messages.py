"""Work on messages: it counts although its sender has ended, and by one clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from otel_orchestrator.analysis.accounting.views import account
from otel_orchestrator.analysis.outline import outline_of
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run, Span, changed
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.gathering import runs_in
from otel_orchestrator.sources.otlp import Told

MS = 1_000_000
INTERNAL, PRODUCER, CONSUMER = 1, 4, 5
START_MS = 1_000_000


def span(
    span_id: str, parent: str | None, name: str, start: float, end: float | None, *,
    kind: int = INTERNAL, state: str = "container", category: str | None = None, **more: Any,
) -> Span:  # fmt: skip
    attributes = {Attr.STATE: state, Attr.RUN_ID: "r", **more}
    if category is not None:
        attributes[Attr.CATEGORY] = category
    instants = [round((START_MS + at) * MS) for at in (start, end or 0)]
    return Span("t", span_id, parent, name, kind, instants[0], instants[1] if end else None, False,
                attributes)  # fmt: skip


RUN = span("run", None, "invoke_workflow r", 0, 100)
NODE = span("node", "run", "node director", 0, 10, state="working", category="compute")


def parent_of(wanted: str, spans: list[Span]) -> str | None:
    below = forest_of(spans).below
    return next((p for p in below if wanted in {s.span_id for s in below[p]}), None)


def test_work_on_a_message_is_below_who_lasts_as_long() -> None:
    within = span("within", "node", "task w", 5, 9, kind=CONSUMER)
    longer = span("longer", "node", "task w", 5, 50, kind=CONSUMER)
    too_long = span("too_long", "node", "task w", 5, 500, kind=CONSUMER)
    endless = span("endless", "node", "task w", 5, None, kind=CONSUMER)
    call = span("call", "node", "chat m", 5, 50)
    spans = [RUN, NODE, within, longer, too_long, endless, call]
    assert parent_of("within", spans) == "node"
    assert parent_of("longer", spans) == "run"
    assert parent_of("too_long", spans) == "run", "the topmost, to which it is cut"
    assert parent_of("endless", spans) == "run"
    assert parent_of("call", spans) == "node", "what is no message's work stays where it is"


def test_a_consumer_below_a_producer_counts() -> None:
    sent = span("sent", "node", "send jobs", 5, 6, kind=PRODUCER, state="working")
    work = span("work", "sent", "process jobs", 20, 80, kind=CONSUMER, state="working", category="llm")  # fmt: skip # noqa: E501
    wall = account(outline_of(Run("r", (RUN, NODE, sent, work)))).wall
    assert wall.ns("llm") == 60 * MS
    assert parent_of("work", [RUN, NODE, sent, work]) == "run"


def test_consumers_in_a_circle_are_each_there_once() -> None:
    a = span("a", "c", "task w", 2, 9, kind=CONSUMER)
    b = span("b", "a", "task w", 0, 3, kind=CONSUMER)
    c = span("c", "b", "task w", 1, 4, kind=CONSUMER)
    assert sorted(s.span_id for s, _ in forest_of([a, b, c]).walk()) == ["a", "b", "c"]


def two_hosts(
    ahead: float, queues: list[float], results: list[float], more: Sequence[Span] = ()
) -> Run:
    """Messages that wait so long each way, while the worker's clock is ahead by so much."""
    here, there = [RUN, changed(NODE, end_ns=RUN.end_ns)], [*more]
    for n, waited in enumerate(queues):
        sent, taken = 10 + n, 10 + n + waited
        facts: dict[str, Any] = {Attr.SENT_HOST: "a", Attr.SENT_AGO: (taken + ahead - sent) / 1000}
        since = min(sent, taken + ahead)
        there += [
            span(f"t{n}", "node", "task w", since, taken + ahead + 20, kind=CONSUMER),
            span(f"w{n}", f"t{n}", "wait queue", since, taken + ahead,
                 state="waiting", category="queue", **facts),
            span(f"n{n}", f"t{n}", "node w", taken + ahead, taken + ahead + 20),
        ]  # fmt: skip
    for n, waited in enumerate(results):
        ago = (waited - ahead) / 1000
        back: dict[str, Any] = {Attr.SENT_HOST: "b", Attr.SENT_AGO: ago}
        here.append(span(f"r{n}", "node", "receive", 90, 90, kind=CONSUMER, **back))
    blocks: list[Any] = [({"host.name": "a"}, here), ({"host.name": "b"}, there)]
    return runs_in([Told(blocks, [], {"host.name": "a"})])["r"]


def waits_of(run: Run) -> list[float]:
    return [run.duration_of(s) / MS for s in run.spans if s.category == "queue"]


@pytest.mark.parametrize("ahead", [5000.0, -5000.0])
def test_messages_both_ways_correct_a_clock(ahead: float) -> None:
    run = two_hosts(ahead, [3.0, 1.0, 30.0], [2.0, 1.0])
    assert waits_of(run) == pytest.approx([3, 1, 30], abs=1)
    side = "ahead of" if ahead > 0 else "behind"
    assert run.warnings == (
        f"the clock of b is 5.000 s {side} a's, give or take 0.001 s: corrected",
    )
    assert RUN in run.spans, "the clock of the run's own host holds"
    assert max(run.end_of(s) for s in run.spans) == RUN.end_ns


def test_a_span_that_is_open_yet_is_on_the_clock_of_its_own_host() -> None:
    of: dict[str, Any] = {Attr.PENDING: "open"}
    stand_in = span("p", "t0", "pending node w", 5015, 5015, **of)
    run = two_hosts(5000, [1.0], [1.0], [stand_in])
    (still_open,) = (s for s in run.spans if s.end_ns is None)
    assert still_open.span_id == "open"
    assert still_open.start_ns / MS - START_MS == pytest.approx(15, abs=1)


def test_where_nothing_says_that_clocks_differ_nothing_is_changed() -> None:
    run = two_hosts(0, [2000.0], [3.0])
    assert waits_of(run) == [2000]
    assert run.warnings == ("the clocks of b and a differ by at most 2.000 s",)


def test_messages_one_way_correct_only_what_cannot_be() -> None:
    ahead, behind = two_hosts(5000, [1.0, 30.0], []), two_hosts(-5000, [1.0, 30.0], [])
    assert waits_of(ahead) == [5001, 5030]
    assert "is not known: no message came back" in ahead.warnings[0]
    assert waits_of(behind) == [0, 29], "nothing was taken before it was sent"
    assert behind.warnings == ("the clock of b is at least 4.999 s behind a's: corrected by that",)


def test_a_host_without_messages_is_named() -> None:
    blocks: list[Any] = [({"host.name": "a"}, [RUN]), ({"host.name": "b"}, [NODE])]
    run = runs_in([Told(blocks, [], {})])["r"]
    assert run.spans == (NODE, RUN) or run.spans == (RUN, NODE)
    assert "the clock of b is from a's is not known" in run.warnings[0]


def test_the_run_is_of_the_process_that_opened_it() -> None:
    blocks: list[Any] = [
        ({"service.name": "worker", "process.pid": 2}, [NODE]),
        ({"service.name": "main", "process.pid": 1}, [RUN]),
    ]
    assert runs_in([Told(blocks, [], {})])["r"].resource["service.name"] == "main"

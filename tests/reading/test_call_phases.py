"""An LLM call, taken apart: phases without gaps that add up to the call."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_orchestrator.analysis.advice.call_phases import phases_of_call
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run, Span

MS = 1_000_000


def span(number: int, parent: int | None, name: str, start: float, end: float, **said: Any) -> Span:
    """Make a span; instants in milliseconds."""
    working = "waiting" if name.startswith("wait ") else "working"
    category = name.removeprefix("wait ") if working == "waiting" else said.pop("category")
    attributes = {"orchestrator.state": working, "orchestrator.category": category}
    attributes |= {f"orchestrator.http.{k}" if "gen_ai" not in k else k: v for k, v in said.items()}
    return Span("t", f"{number:02x}", None if parent is None else f"{parent:02x}", name, 3,
                round(start * MS), round(end * MS), attributes=attributes)  # fmt: skip


def told(*spans: Span) -> list[tuple[str, float]]:
    """Return the phases of the first span, in milliseconds."""
    run = Run("run", spans)
    phases = phases_of_call(run, forest_of(spans), spans[0])
    return [(p.kind, (p.end_ns - p.start_ns) / MS) for p in phases]


def test_a_call_that_was_refused_waits_and_tries_again() -> None:
    first = {"gen_ai.response.time_to_first_chunk": 0.850}
    assert told(
        span(1, None, "chat m", 0, 1000, category="llm", **first),
        span(2, 1, "POST", 5, 50, category="http", send=0.005, time_to_first_byte=0.040),
        span(3, 1, "wait rate_limit", 50, 350),
        span(4, 1, "POST", 352, 700, category="http",
             connect=0.020, tls=0.030, send=0.010, time_to_first_byte=0.200),
        span(5, 4, "wait pool", 360, 430),
    ) == [
        ("client", 5), ("send", 5), ("server", 40), ("rate_limit", 300), ("client", 10),
        ("pool", 70), ("client", 10), ("connect", 20), ("tls", 30), ("send", 10), ("server", 200),
        ("first_token", 150), ("answer", 150),
    ]  # fmt: skip


def test_without_a_first_token_the_rest_is_the_answer() -> None:
    call = span(1, None, "chat m", 0, 100, category="llm")
    post = span(2, 1, "POST", 10, 60, category="http", time_to_first_byte=0.050)
    assert told(call, post) == [("client", 10), ("server", 50), ("answer", 40)]


def test_an_attempt_of_which_no_phase_is_known_is_the_servers() -> None:
    call = span(1, None, "chat m", 0, 100, category="llm")
    assert told(call, span(2, 1, "POST", 10, 60, category="http")) == [
        ("client", 10),
        ("server", 50),
        ("answer", 40),
    ]


def test_of_a_call_by_hand_nothing_more_is_known() -> None:
    assert told(span(1, None, "chat m", 0, 100, category="llm")) == [("unknown", 100)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["POST", "wait rate_limit", "wait retry_backoff", "wait pool"]),
            st.integers(-20, 120),
            st.integers(0, 90),
            st.floats(0, 0.2),
            st.floats(0, 0.2),
        ),
        max_size=6,
    ),
    st.one_of(st.none(), st.floats(-0.01, 0.2)),
)
def test_whatever_was_recorded_it_adds_up_in_order(
    inside: list[tuple[str, int, int, float, float]], first: float | None
) -> None:
    said = {} if first is None else {"gen_ai.response.time_to_first_chunk": first}
    spans = [span(1, None, "chat m", 0, 100, category="llm", **said)]
    for n, (name, start, length, connect, server) in enumerate(inside):
        more = {} if name != "POST" else {
            "category": "http", "connect": connect, "time_to_first_byte": server,
        }  # fmt: skip
        spans.append(span(2 + n, 1, name, start, start + length, **more))
    run = Run("run", tuple(spans))
    phases = phases_of_call(run, forest_of(spans), spans[0])
    at = 0
    for phase in phases:
        assert phase.start_ns == at < phase.end_ns
        at = phase.end_ns
    assert at == 100 * MS

"""Small runs to try everything on: a few nanoseconds, as wild as a broken clock makes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from otel_orchestrator.model import Run, Span

WORK = ("llm", "git", "tool", "http", "compute")
WAITS = ("rate_limit", "retry_backoff", "pool", "lock", "llm")


class Spans:
    """Collects spans; ids are counted."""

    def __init__(self) -> None:
        self.made: list[Span] = []

    def add(
        self,
        name: str,
        start: int,
        end: int | None,
        parent: Span | None,
        state: str | None = "container",
        category: str | None = None,
        **attributes: Any,
    ) -> Span:
        said = {f"orchestrator.{k.replace('__', '.')}": v for k, v in attributes.items()}
        if state is not None:
            said["orchestrator.state"] = state
        if category is not None:
            said["orchestrator.category"] = category
        span = Span(
            "t", f"{len(self.made):04x}", parent.span_id if parent else None, name, 1, start, end,
            attributes=said,
        )  # fmt: skip
        self.made.append(span)
        return span

    def run(self) -> Run:
        return Run("run", tuple(sorted(self.made, key=lambda s: (s.start_ns, s.span_id))))


@st.composite
def content(draw: st.DrawFn, spans: Spans, top: Span, horizon: tuple[int, int]) -> None:
    """Put a few spans below one: nested, parallel, overlapping, outside of it, without an end."""
    parents = [top]
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(horizon[0] - 3, horizon[1] + 1))
        end = draw(st.one_of(st.none(), st.integers(start, start + 9)))
        kind = draw(st.sampled_from(("work", "work", "work", "wait", "bare", "agent", "graph")))
        parent = draw(st.sampled_from(parents))
        short: dict[str, Any] = {}
        if draw(st.integers(0, 3)) == 0:
            category = draw(st.sampled_from(("queue", "lock")))
            short = {f"wait__short__{category}": draw(st.integers(0, 4)) / 1e9}
        if kind == "work":
            category = draw(st.sampled_from(WORK))
            parents.append(spans.add("work", start, end, parent, "working", category, **short))
        elif kind == "wait":
            category = draw(st.sampled_from(WAITS))
            parents.append(spans.add(f"wait {category}", start, end, parent, "waiting", category))
        elif kind == "bare":
            parents.append(spans.add("user's", start, end, parent, None, **short))
        elif kind == "agent":
            parents.append(spans.add("invoke_agent a", start, end, parent, **short))
        else:
            graph = spans.add("invoke_workflow g", start, end, parent, **short)
            parents += [graph, spans.add("superstep", start, end, graph)]


@st.composite
def trees(draw: st.DrawFn) -> Run:
    """A run with one node, and anything below it."""
    spans = Spans()
    end = draw(st.one_of(st.none(), st.integers(1, 25)))
    root = spans.add("invoke_workflow w", 0, end, None)
    node = spans.add("node n", draw(st.integers(0, 5)), end, root, "working", "compute")
    draw(content(spans, node, (0, 20)))
    draw(content(spans, root, (0, 20)))
    return spans.run()


@st.composite
def orchestrators(draw: st.DrawFn) -> Run:
    """A run of supersteps as LangGraph makes them, with any waits, retries, and missing ends."""
    spans = Spans()
    limit = draw(st.one_of(st.none(), st.integers(1, 4)))
    said: dict[str, Any] = {} if limit is None else {"concurrency__limit": limit}
    start = now = draw(st.integers(0, 5))
    root = spans.add("invoke_workflow w", start, 10_000, None, **said)
    loop = root
    for number in range(draw(st.integers(1, 4))):
        is_control = draw(st.booleans())
        if is_control or number == 0:
            loop = spans.add("loop", now, 10_000, root)
        now = draw(_superstep(spans, loop, now, is_control))
        now = draw(_between(spans, loop, now))
    end = now if draw(st.booleans()) else None
    if end is not None:
        wait = draw(st.integers(0, 4))
        spans.add("wait human", end + 1, end + 1 + wait, root, "waiting", "human")
    # Loops and the root end with the last superstep; some are left open.
    closed = [
        Span(s.trace_id, s.span_id, s.parent_id, s.name, 1, s.start_ns, end, False, s.attributes)
        if s.end_ns == 10_000
        else s
        for s in spans.made
    ]
    return Run("run", tuple(sorted(closed, key=lambda s: (s.start_ns, s.span_id))))


@st.composite
def _between(draw: st.DrawFn, spans: Spans, loop: Span, now: int) -> int:
    length = draw(st.integers(0, 4))
    for category in draw(st.sets(st.sampled_from(("checkpoint", "consumer")))):
        end = now + draw(st.integers(0, length))
        spans.add(f"wait {category}", now, end, loop, "waiting", category)
    return now + length


@st.composite
def _superstep(draw: st.DrawFn, spans: Spans, loop: Span, now: int, is_control: bool) -> int:
    planning = draw(st.integers(0, 1))
    jobs = [draw(_timing(now + planning)) for _ in range(1 if is_control else draw(_JOBS))]
    barrier = max(attempts[-1][1] for _, attempts in jobs)
    applying = draw(st.integers(0, 2))
    superstep = spans.add("superstep", now, barrier + applying, loop)
    for hold, attempts in jobs:
        scheduled = now + planning
        parent = superstep
        if not is_control:
            straggles = attempts[-1][1] == barrier
            early = 0 if straggles else draw(st.integers(0, 1))
            said = draw(_attributes())
            parent = spans.add("task w", scheduled, barrier - early, superstep, **said)
        if hold:
            spans.add("wait consumer", scheduled, scheduled + hold, parent, "waiting", "consumer")
        if attempts[0][0] > scheduled + hold:
            at = scheduled + hold
            spans.add("wait queue", at, attempts[0][0], parent, "waiting", "queue")
        for n, (start, end) in enumerate(attempts):
            node = spans.add("node w", start, end, parent, "working", "compute")
            draw(content(spans, node, (start, end)))
            if n and start > attempts[n - 1][1]:
                spans.add("wait retry_backoff", attempts[n - 1][1], start, parent, "waiting",
                          "retry_backoff")  # fmt: skip
        if not is_control and attempts[-1][1] < barrier - early:
            at = attempts[-1][1]
            spans.add("wait barrier", at, barrier - early, parent, "waiting", "barrier")
    for _ in range(0 if is_control else draw(st.integers(0, 2))):
        _bare_task(spans, superstep, now + planning, barrier, draw(_ENDS), draw(_attributes()))
    if draw(st.booleans()):
        spans.add("wait held", now, barrier, superstep, "waiting", "held", task__id="z")
    return barrier + applying


_JOBS = st.integers(1, 4)
_ENDS = st.sampled_from(("ok", "cancelled", "interrupted", "killed", "open", "cached"))


def _bare_task(
    spans: Spans, superstep: Span, start: int, barrier: int, ends: str, said: dict[str, Any]
) -> None:
    """A task that did not run: unless it ended well, it never started."""
    if ends == "killed":
        said["open__age"] = (barrier - start) / 1e9
    elif ends in ("ok", "cancelled", "interrupted"):
        said["outcome"] = ends
    task = spans.add("task w", start, None if ends == "open" else barrier, superstep, **said)
    if ends == "cached":
        spans.add("node w", barrier, barrier, task, "working", "compute", node__source="cached")


@st.composite
def _timing(draw: st.DrawFn, scheduled: int) -> tuple[int, list[tuple[int, int]]]:
    """When a reader let go, and the attempts of a node."""
    hold = draw(st.integers(0, 2))
    at = scheduled + hold + draw(st.integers(0, 3))
    attempts = []
    for n in range(draw(st.integers(1, 2))):
        start = at + (draw(st.integers(0, 2)) if n else 0)
        at = start + draw(st.integers(1, 6))
        attempts.append((start, at))
    return hold, attempts


@st.composite
def _attributes(draw: st.DrawFn) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if draw(st.booleans()):
        said["task__id"] = draw(st.sampled_from("abc"))
        said["task__depends_on"] = ("a",) if draw(st.booleans()) else ()
        for wait in ("dependency", "held", "cycle"):
            said[f"task__wait__{wait}"] = draw(st.integers(0, 5)) / 1e9
    return said

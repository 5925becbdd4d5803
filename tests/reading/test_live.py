"""What `watch` shows: told from open spans, since waits are written only once they are over."""

from __future__ import annotations

from rich.console import Console

from otel_orchestrator.analysis.live import MINUTE_NS, Doing, Live
from otel_orchestrator.analysis.queue import QueuePoint
from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.model import GaugePoint, Run, Span, Value, changed
from otel_orchestrator.reports.live import draw

S = 1_000_000_000


def span(
    span_id: str, name: str, start_s: float, parent: str | None = None, **attributes: Value
) -> Span:
    """An open span; `ended` ends it."""
    named = {f"orchestrator.{k}".replace("__", "."): v for k, v in attributes.items()}
    return Span("t", span_id, parent, name, 1, int(start_s * S), None, attributes=named)


def ended(one: Span, end_s: float, **attributes: Value) -> Span:
    named = {k.replace("__", "."): v for k, v in attributes.items()}
    return changed(one, end_ns=int(end_s * S), attributes={**one.attributes, **named})


ROOT = span("r", "invoke_workflow shop", 1, state="container")
LOOP = span("l", "loop", 1, "r", loop__index=1)
STEP = span("s", "superstep", 2, "l", superstep__index=4)


def task(name: str, start_s: float = 2) -> Span:
    return span(f"t-{name}", "task worker", start_s, "s", task__id=name, state="container")


def node(name: str, start_s: float) -> Span:
    return span(f"n-{name}", "node worker", start_s, f"t-{name}", state="working")


def test_each_task_shows_the_deepest_thing_that_is_open() -> None:
    live = Live()
    chat = span("c", "chat gpt", 4, "n-a", state="working", category="llm")
    live.add([ROOT, LOOP, STEP, task("a"), node("a", 3), chat], [])
    live.add([span("h", "POST", 5, "c", state="working")], [])
    now = live.now(10 * S)
    assert (now.name, now.started_ns, now.outcome, now.loop, now.superstep) == (
        *("shop", 1 * S, None),
        *(1, 4),
    )
    assert now.doing == (Doing("a", "chat gpt", "working", (), 4 * S, 2 * S),)
    assert now.llm_in_flight == 1


def test_a_task_whose_node_has_not_started_waits_for_a_slot_and_one_that_ended_is_held() -> None:
    live = Live()
    live.add([ROOT, LOOP, STEP, task("slow"), task("queued"), task("done")], [])
    live.add([node("slow", 2.1), node("done", 2.2)], [])
    live.add([ended(node("done", 2.2), 6)], [])
    assert live.now(10 * S).doing == (
        Doing("slow", "node worker", "working", (), int(2.1 * S), 2 * S),
        Doing("queued", "wait queue", "waiting", ("slow",), 2 * S, 2 * S),
        Doing("done", "wait barrier", "waiting", ("slow",), 6 * S, 2 * S),
    )


def test_a_task_whose_attempt_failed_backs_off_and_only_that_is_an_error() -> None:
    live = Live()
    live.add([ROOT, LOOP, STEP, task("a"), task("b"), node("a", 3), node("b", 3)], [])
    call = span("c", "chat gpt", 4, "n-a", state="working", category="llm")
    failed = [changed(ended(s, 5), is_error=True) for s in (call, node("a", 3))]
    live.add(failed, [])
    now = live.now(6 * S)
    assert Doing("a", "wait retry_backoff", "waiting", (), 5 * S, 2 * S) in now.doing
    assert now.errors == 1
    again = span("n-a2", "node worker", 7, "t-a", state="working")
    live.add([again], [])
    live.add([ended(again, 8)], [])
    assert live.now(9 * S).doing[-1] == Doing("a", "wait barrier", "waiting", ("b",), 8 * S, 2 * S)
    live.add([changed(ended(node("b", 3), 9), is_error=True)], [])
    rest = (task("b"), STEP, LOOP, ROOT)
    live.add([changed(ended(s, 9), is_error=True) for s in rest], [])
    assert live.now(9 * S).errors == 2


def test_turns_are_those_of_the_outermost_graph() -> None:
    live = Live()
    graph = span("g", "invoke_workflow sub", 3, "n-a", state="container")
    turn = span("gl", "loop", 4, "g", loop__index=7)
    live.add([ROOT, LOOP, STEP, task("a"), node("a", 3), graph, turn], [])
    live.add([span("gs", "superstep", 4, "gl", superstep__index=9)], [])
    assert (live.now(5 * S).loop, live.now(5 * S).superstep) == (1, 4)


def test_a_wait_that_is_open_says_on_what() -> None:
    live = Live()
    lock = span("w", "wait lock", 5, "n-a", state="waiting", wait__on="db")
    live.add([ROOT, LOOP, STEP, task("a"), node("a", 3), lock], [])
    assert live.now(10 * S).doing == (Doing("a", "wait lock", "waiting", ("db",), 5 * S, 2 * S),)


def test_a_run_may_be_an_agent_and_its_end_is_seen() -> None:
    """The agent inside of it ended first, and so comes first."""
    live = Live()
    agent = span("r", "invoke_agent coder", 1)
    inner = span("i", "invoke_agent tester", 2, "t")
    tool = span("t", "execute_tool test", 1.5, "r")
    live.add([ended(inner, 3), ended(tool, 4), agent], [])
    assert (live.now(5 * S).name, live.now(5 * S).outcome) == ("coder", None)
    live.add([ended(agent, 9)], [])
    now = live.now(10 * S)
    assert (now.name, now.started_ns, now.ended_ns, now.outcome) == ("coder", 1 * S, 9 * S, "ok")


def test_a_plain_node_is_shown_by_its_name() -> None:
    live = Live()
    live.add([ROOT, span("n", "node director", 3, "l", state="working")], [])
    assert [d.who for d in live.now(10 * S).doing] == ["director"]


def test_rates_are_of_the_last_minute_and_the_rest_is_forgotten() -> None:
    live = Live()
    for i in range(1000):
        call = span(f"c{i}", "chat gpt", i, "r", state="working", category="llm")
        live.add([call], [])
        live.add([ended(call, i + 0.5, gen_ai__usage__output_tokens=7)], [])
        live.add([ended(span(f"g{i}", "git commit", i, "r"), i + 0.1)], [])
    now = live.now(1000 * S)
    assert (now.llm_last_minute, now.tokens_last_minute, now.git_last_minute) == (60, 420, 60)
    assert now.llm_median_ns == S // 2
    later = live.now(1000 * S + MINUTE_NS)
    assert (later.llm_last_minute, later.git_last_minute, later.llm_in_flight) == (0, 0, 0)


def test_the_queue_is_put_together_from_its_points_and_the_end_is_seen() -> None:
    live = Live()
    points = [
        GaugePoint("orchestrator.queue.depth", 3 * S, n, {"orchestrator.task.state": state})
        for state, n in (("ready", 1), ("active", 2), ("waiting", 3))
    ]
    live.add([ROOT], points)
    live.add([ended(ROOT, 9, orchestrator__outcome="interrupted")], [])
    now = live.now(20 * S)
    assert now.queue == (QueuePoint(3 * S, 1, 2, 3),)
    assert (now.ended_ns, now.outcome, now.doing) == (9 * S, "interrupted", ())


def test_a_call_that_another_instrumentation_made_counts_as_in_the_report() -> None:
    live, marks = Live(), {"state": "working", "category": "llm"}
    call = span("c", "ChatOpenAI.chat", 4, "n-a", **marks)
    request = span("h", "POST", 5, "c", **marks)
    request = changed(request, attributes={**request.attributes, "http.method": "POST"})
    live.add([ROOT, LOOP, STEP, task("a"), node("a", 3), call, request], [])
    now = live.now(10 * S)
    assert (now.llm_in_flight, [d.what for d in now.doing]) == (1, ["ChatOpenAI.chat"])
    spans = [ended(request, 6), ended(call, 6, gen_ai__usage__output_tokens=7)]
    live.add(spans, [])
    now = live.now(10 * S)
    assert (now.llm_in_flight, now.llm_last_minute, now.tokens_last_minute) == (0, 1, 7)
    assert summarize(Run("r", tuple(spans))).llm_calls == 1


def test_a_small_queue_is_seen_beside_a_large_one() -> None:
    live = Live()
    points = [
        GaugePoint("orchestrator.queue.depth", at * S, n, {"orchestrator.task.state": "ready"})
        for at, n in ((1, 20), (3, 1), (5, 0), (7, -3))
    ]
    live.add([ROOT], points)
    assert strip(live, 9).strip() == "█" * 8 + "▁" * 9


def test_the_queue_of_a_run_that_ended_is_drawn_to_its_end() -> None:
    live = Live()
    states = {"orchestrator.task.state": "ready"}
    points = [
        GaugePoint("orchestrator.queue.depth", at * S, n, states) for at, n in ((2, 4), (6, 1))
    ]
    live.add([ROOT], points)
    live.add([ended(ROOT, 9, orchestrator__outcome="ok")], [])
    assert strip(live, 900) == strip(live, 9) != ""


def strip(live: Live, now_s: int) -> str:
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(draw(live.now(now_s * S), "r", "", width=80, height=24))
    [line] = [line for line in captured.get().splitlines() if line.startswith("tasks")]
    return line.partition("waiting  ")[2]

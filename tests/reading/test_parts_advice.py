"""Advice about a run that is looked at in parts is the advice about the whole run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_orchestrator.analysis.advice.git import GitSeen, git_advice, git_seen
from otel_orchestrator.analysis.advice.llm import LlmSeen, llm_advice, llm_seen
from otel_orchestrator.analysis.advice.pieces import EXPLANATIONS, Advice, Look, worth_reading
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import Run, Span
from otel_orchestrator.semconv import Attr

_LLM = msgspec.msgpack.Decoder(LlmSeen)
_GIT = msgspec.msgpack.Decoder(GitSeen)
GIT = ("commit", "worktree add", "worktree remove", "add")


class _Made:
    """Spans of a run in loops, drawn from chance; instants are few, so that many are equal."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.spans: list[Span] = []
        self.root = self.add("invoke_workflow w", 0, self._end(0, 99), None)
        self.longest = self.chance.choice((1, 20))
        for _ in range(self.chance.randint(0, 4)):
            self.anything(self.root, 0, 40)
        for _ in range(self.chance.choice((0, 9))):  # the graph's own calls, between loops' nodes
            at = self.chance.randint(0, 40)
            self.add("chat m", at, at + self.chance.randint(0, 2), self.root, state="working",
                     category="llm", outcome="ok")  # fmt: skip
        for _ in range(self.chance.randint(1, 4)):
            self.loop()
        for _ in range(self.chance.randint(0, 3)):
            start = self.chance.randint(0, 40)
            self.add("git commit", start, self._end(start, 5), None, **self.git())

    def _end(self, start: int, at_most: int) -> int | None:
        if self.chance.random() < 0.1:
            return None
        return start + self.chance.randint(0, at_most)

    def add(self, name: str, start: int, end: int | None, parent: Span | None, **said: Any) -> Span:
        attributes = {f"orchestrator.{k.replace('__', '.')}": v for k, v in said.items()}
        attributes |= attributes.pop("orchestrator.more", {})
        number = f"{self.chance.getrandbits(24):06x}{len(self.spans):04x}"
        span = Span(
            "t", number, parent.span_id if parent else None, name, 1, start, end,
            attributes=attributes,
        )  # fmt: skip
        self.spans.append(span)
        return span

    def loop(self) -> None:
        start = self.chance.randint(0, 40)
        loop = self.add("loop", start, self._end(start, 20), self.root, state="container")
        for _ in range(self.chance.randint(0, 2)):
            step = self.add("superstep", start, self._end(start, 20), loop, state="container")
            if self.chance.random() < 0.3:
                self.anything(step, start, start + 20)
            for _ in range(self.chance.randint(0, 3)):
                begins = start + self.chance.randint(0, 9)
                name = self.chance.choice(("node a", "node b", "task c"))
                node = self.add(name, begins, self._end(begins, self.longest), step, **self.task())
                self.within(node, begins)
        if self.chance.random() < 0.3:
            self.anything(loop, start, start + 20)

    def within(self, node: Span, start: int) -> None:
        parents = [node]
        if self.chance.random() < 0.2:
            for n in range(self.chance.randint(2, 4)):
                self.add("git commit", start + n, start + n + 3, node, outcome="ok")
        for _ in range(self.chance.randint(0, 2)):
            said = {"outcome": "ok", "git__worktree": self.chance.choice("vwxyz")}
            at = start + self.chance.randint(0, 9)
            self.add("git worktree add", at, at + 2, node, **said)
            at += self.chance.randint(0, 9)
            self.add("git worktree remove", at, at + 1, node, **said)
        for _ in range(self.chance.randint(0, 7)):
            found = self.anything(self.chance.choice(parents), start, start + 20)
            if found.name in ("my work", "invoke_workflow inner", "invoke_agent a"):
                parents.append(found)

    def task(self) -> dict[str, Any]:
        return {"task__id": self.chance.choice("xy")} if self.chance.random() < 0.5 else {}

    def anything(self, parent: Span, earliest: int, latest: int) -> Span:
        start = self.chance.randint(earliest, latest)
        end = self._end(start, 6)
        kind = self.chance.choice(("chat", "chat", "chat", "git", "git", "git", "other"))
        if kind == "chat":
            return self.add(
                f"chat {self.chance.choice('mn')}", start, end, parent, state="working",
                category="llm", outcome=self.chance.choice(("ok", "ok", "error")),
                more=self.asks(), **self.task(),
            )  # fmt: skip
        if kind == "git":
            return self.command(start, end, parent)
        name = self.chance.choice(
            ("my work", "invoke_workflow inner", "invoke_agent a", "execute_tool x", "wait lock")
        )
        state = "waiting" if name == "wait lock" else "container"
        return self.add(name, start, end, parent, state=state)

    def asks(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if self.chance.random() < 0.7:
            said[Attr.PROMPT_HASH] = self.chance.choice("pq")
        if self.chance.random() < 0.3:
            said[Attr.REQUEST_MODEL] = self.chance.choice(("m", "o", ("m", "o")))
        if self.chance.random() < 0.1:
            said[Attr.LLM_CACHED] = True
        if self.chance.random() < 0.5:
            said[Attr.INPUT_TOKENS] = self.chance.choice((1, 5, 9, True))
            said[Attr.OUTPUT_TOKENS] = self.chance.randint(0, 5)
        return said

    def git(self) -> dict[str, Any]:
        said: dict[str, Any] = {"outcome": self.chance.choice(("ok", "ok", "ok", "error"))}
        if self.chance.random() < 0.7:
            said["git__worktree"] = self.chance.choice("vw")
        if said["outcome"] == "error" and self.chance.random() < 0.8:
            said["git__lock"] = self.chance.choice(("index", "ref"))
        return said

    def command(self, start: int, end: int | None, parent: Span) -> Span:
        name = f"git {self.chance.choice(GIT)}"
        command = self.add(name, start, end, parent, **self.git(), **self.task())
        if self.chance.random() < 0.3:
            for hook in ("pre-commit", "commit-msg"):
                self.add(f"git hook {hook}", start, self._end(start, 6), command, git__part="hook")
        return command

    def run(self) -> Run:
        return Run("run", tuple(sorted(self.spans, key=lambda s: (s.start_ns, s.span_id))))


def _parts(run: Run, loops_in_each: int) -> Iterator[Look]:
    """Cut a run at the loops right below its outermost graph."""
    by_id = {span.span_id: span for span in run.spans}
    root = next(span for span in run.spans if span.name == "invoke_workflow w")

    def loop_of(span: Span | None) -> str:
        while span is not None:
            if span.operation == "loop" and span.parent_id == root.span_id:
                return span.span_id
            span = by_id.get(span.parent_id or "")
        return ""

    of_loop: dict[str, list[Span]] = {}
    for span in run.spans:
        of_loop.setdefault(loop_of(span), []).append(span)
    rest = of_loop.pop("")
    yield _part(run, rest, [])
    loops = sorted(of_loop)  # by their ids, which are no order of time
    cuts = [*range(0, len(loops), loops_in_each), len(loops)]
    for first, last in pairwise(cuts):
        spans = chain.from_iterable([of_loop[loop] for loop in loops[first:last]])
        yield _part(run, list(spans), [root])


def _part(run: Run, spans: list[Span], above: list[Span]) -> Look:
    part = Run(run.id, tuple(sorted(spans, key=lambda s: (s.start_ns, s.span_id))))
    object.__setattr__(part, "end_ns", run.end_ns)
    return Look(part, forest_of([*above, *part.spans]))


def _advice(run: Run, parts: list[Look]) -> tuple[list[Advice], tuple[Advice, ...]]:
    llm = [_LLM.decode(msgspec.msgpack.encode(llm_seen(look))) for look in parts]
    git = [_GIT.decode(msgspec.msgpack.encode(git_seen(look))) for look in parts]
    found = [*llm_advice(llm), *git_advice(git)]
    return found, worth_reading(run.end_ns - run.start_ns, found)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**40), st.integers(1, 3), st.randoms())
def test_parts_tell_what_the_whole_tells(
    seed: int, loops_in_each: int, chance: random.Random
) -> None:
    run = _Made(seed).run()
    look = Look(run)
    found = [*llm_advice([llm_seen(look)]), *git_advice([git_seen(look)])]
    parts = list(_parts(run, loops_in_each))
    chance.shuffle(parts)
    assert _advice(run, parts) == (found, worth_reading(run.end_ns - run.start_ns, found))


def test_the_graphs_own_calls_may_lie_between_what_another_part_did() -> None:
    """loop   node ├─┤               node ├─┤
    graph         call ├─┤ call ├─┤        call ├─┤
    """
    made = _Made(0)
    made.spans.clear()
    made.root = made.add("invoke_workflow w", 0, 30, None)
    loop = made.add("loop", 0, 20, made.root, state="container")
    step = made.add("superstep", 0, 20, loop, state="container")
    for start, end in ((0, 2), (10, 12)):
        node = made.add("node n", start, end, step)
        made.add("chat m", start, end, node, state="working", category="llm", outcome="ok")
    for start, end in ((2, 5), (6, 10), (12, 15)):
        made.add("chat m", start, end, made.root, state="working", category="llm", outcome="ok")
    run = made.run()
    found, _ = _advice(run, [Look(run)])
    assert [(a.kind, a.count, a.saved_at_most_ns) for a in found] == [("sequential_calls", 2, 3)]
    assert _advice(run, list(_parts(run, 1)))[0] == found


@pytest.mark.parametrize("kind", EXPLANATIONS)
def test_runs_as_these_have_every_kind_of_advice(kind: str) -> None:
    """So that the above says something."""
    looks = [Look(_Made(seed).run()) for seed in range(60)]
    found = [[*llm_advice([llm_seen(k)]), *git_advice([git_seen(k)])] for k in looks]
    assert sum(any(a.kind == kind for a in advice) for advice in found) > 2

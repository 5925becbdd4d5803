"""What could be done about LLM calls: what was asked twice, and what might be asked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..calls import is_call, model_of, tokens_of
from ..groups import grouped
from .pieces import EQUAL_PROMPTS, SEQUENTIAL_CALLS, Advice, Look
from .prompts import EqualPrompts, equal_prompts

# What calls are made by. Those of an agent follow on each other: each is asked with the answer of
# the one before; those inside of another call are that call's own business.
_MAKERS: Final = (
    semconv.NODE,
    semconv.TASK,
    semconv.EXECUTE_TOOL,
    semconv.INVOKE_WORKFLOW,
    semconv.INVOKE_AGENT,
    semconv.CHAT,
)
_IN_SEQUENCE: Final = (semconv.INVOKE_AGENT, semconv.CHAT)


def llm_advice(look: Look) -> Iterator[Advice]:
    """Yield what could be done about LLM calls in a run."""
    calls = [s for s in look.run.spans if is_call(s)]
    yield from _equal_prompts(look, calls)
    yield from _sequential_calls(look, calls)


def _equal_prompts(look: Look, calls: Sequence[Span]) -> Iterator[Advice]:
    asked = [
        g for g in equal_prompts(calls, lambda s: (s.start_ns, look.run.end_of(s))) if g.repeated
    ]
    for model, groups in grouped(asked, lambda g: model_of(g.calls[0])).items():
        repeated = [s for g in groups for s in g.repeated]
        spent_ns = look.total(s for g in groups for s in g.calls)
        worst = look.worst(
            (_longest(look, g.repeated), look.total(g.repeated), _asked(g)) for g in groups
        )
        yield Advice(EQUAL_PROMPTS, model, len(repeated), spent_ns, look.total(repeated), worst)


def _longest(look: Look, calls: Sequence[Span]) -> Span:
    return max(calls, key=lambda s: (look.run.duration_of(s), s.span_id))


def _asked(group: EqualPrompts) -> str:
    others = len(group.repeated) - 1
    if not others:
        return ""
    return f"with {others} more that {'asks' if others == 1 else 'ask'} the same"


def _sequential_calls(look: Look, calls: Sequence[Span]) -> Iterator[Advice]:
    makers: dict[str, Span] = {}
    holds_calls: set[str] = set()
    for call in calls:
        for above in look.above(call):
            if above.span_id in holds_calls:
                break  # and so is all that is above it
            holds_calls.add(above.span_id)
        maker = look.nearest(call, _MAKERS)
        if maker is not None and maker.operation not in _IN_SEQUENCE:
            makers[maker.span_id] = maker
    found = [
        (maker, row)
        for maker in makers.values()
        for row in _rows(look, _steps(look, maker, holds_calls))
        if len(row) > 1
    ]
    for name, rows in grouped(found, lambda f: f[0].name).items():
        spent = [call for _, row in rows for talk in row for call in talk]
        worst = look.worst((maker, _saved(look, row), _told(row)) for maker, row in rows)
        saved_ns = sum(_saved(look, row) for _, row in rows)
        yield Advice(SEQUENTIAL_CALLS, name, len(spent), look.total(spent), saved_ns, worst)


def _saved(look: Look, row: Sequence[Sequence[Span]]) -> int:
    """Return what asking everything at once would save: all but the longest conversation."""
    times = [look.total(talk) for talk in row]
    return sum(times) - max(times)


def _told(row: Sequence[Sequence[Span]]) -> str:
    return f"at most, for {sum(map(len, row))} calls in a row"


def _steps(look: Look, maker: Span, holds_calls: set[str]) -> list[Span]:
    """Return what a node did, by start: its calls, and whatever else was recorded as work.

    A span that only stands around calls, as one of the user's own may, is looked into.
    """
    steps: list[Span] = []
    stack = list(look.forest.children(maker))
    while stack:
        span = stack.pop()
        stands_around = span.span_id in holds_calls and span.operation not in _MAKERS
        if stands_around and not is_call(span):
            stack.extend(look.forest.children(span))
        elif span.state != semconv.WAITING:
            steps.append(span)
    return sorted(steps, key=lambda s: (s.start_ns, s.span_id))


def _rows(look: Look, steps: Sequence[Span]) -> Iterator[list[list[Span]]]:
    """Yield calls that follow on each other with nothing between them, as conversations.

    call a  ├───┤                              a │ b c │         d          two rows of calls;
    call b        ├───┤                                                     c was asked with what
    call c              ├───┤                                               b was and its answer,
    git                       ├─┤                                           so b and c are one
    call d                        ├───┤                                     conversation
    """
    row: list[list[Span]] = []
    ended_ns = 0
    for n, step in enumerate(steps):
        end_ns = look.run.end_of(step)
        is_alone = ended_ns <= step.start_ns and all(
            end_ns <= other.start_ns for other in steps[n + 1 : n + 2]
        )
        ended_ns = max(ended_ns, end_ns)
        if is_call(step) and is_alone:
            if row and _may_go_on(row[-1][-1], step):
                row[-1].append(step)
            else:
                row.append([step])
        elif row:
            yield row
            row = []
    if row:
        yield row


def _may_go_on(before: Span, call: Span) -> bool:
    """Return whether a call looks like one that was made because of the one before."""
    if before.outcome != OK:
        return True  # tried again, or asked of another model
    asked = call.text(Attr.PROMPT_HASH)
    if asked is not None and asked == before.text(Attr.PROMPT_HASH):
        return True  # the answer did not do; or a cache would, which is advice of its own
    prompt, now = tokens_of(before, Attr.INPUT_TOKENS), tokens_of(call, Attr.INPUT_TOKENS)
    if prompt is None or now is None:
        return False
    # What a model thought is not sent back to it.
    told = tokens_of(before, Attr.OUTPUT_TOKENS) or 0
    answer = max(0, told - (tokens_of(before, Attr.REASONING_TOKENS) or 0))
    return now >= prompt + answer

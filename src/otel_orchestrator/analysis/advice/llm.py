"""What could be done about LLM calls: what was asked twice, and what might be asked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from operator import attrgetter, itemgetter
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
    yield from _equal_prompts(look)
    yield from _sequential_calls(look)


def _equal_prompts(look: Look) -> Iterator[Advice]:
    equal = equal_prompts(look.calls, lambda s: (s.start_ns, look.run.end_of(s)))
    asked = [g for g in equal if g.repeated]
    for model, groups in grouped(asked, lambda g: model_of(g.calls[0])).items():
        count = sum(len(g.repeated) for g in groups)
        spent_ns = sum(look.total(g.calls) for g in groups)
        saved = [_repeated(look, g) for g in groups]
        saved_ns = sum(ns for _, ns, _ in saved)
        worst = look.worst(saved)
        yield Advice(EQUAL_PROMPTS, model, count, spent_ns, saved_ns, worst)


def _repeated(look: Look, group: EqualPrompts) -> tuple[Span, int, str]:
    """Return the longest of the calls that repeat a prompt, the time of all of them, and a note."""
    times = [(look.run.duration_of(s), s.span_id, s) for s in group.repeated]
    _, _, longest = max(times, key=itemgetter(0, 1))
    others = len(times) - 1
    note = f"with {others} more that {'asks' if others == 1 else 'ask'} the same" if others else ""
    return longest, sum([ns for ns, _, _ in times]), note


def _sequential_calls(look: Look) -> Iterator[Advice]:
    makers = _makers(look)
    holds_calls = _holds_calls(look) if makers else set()
    found = [
        (maker, row)
        for maker in makers
        for row in _rows(look, _steps(look, maker, holds_calls))
        if len(row) > 1
    ]
    for name, rows in grouped(found, lambda f: f[0].name).items():
        spent = [call for _, row in rows for talk in row for call in talk]
        saved = [(maker, _saved(look, row), _told(row)) for maker, row in rows]
        saved_ns = sum(ns for _, ns, _ in saved)
        worst = look.worst(saved)
        yield Advice(SEQUENTIAL_CALLS, name, len(spent), look.total(spent), saved_ns, worst)


def _makers(look: Look) -> list[Span]:
    """Return the spans that made several calls which need not follow on each other."""
    makers: dict[str, Span] = {}
    made: Counter[str] = Counter()
    for siblings in grouped(look.calls, attrgetter("parent_id")).values():
        maker = look.nearest(siblings[0], _MAKERS)
        if maker is not None and maker.operation not in _IN_SEQUENCE:
            makers[maker.span_id] = maker
            made[maker.span_id] += len(siblings)
    return [maker for span_id, maker in makers.items() if made[span_id] > 1]


def _holds_calls(look: Look) -> set[str]:
    """Return the ids of all spans that calls are below."""
    held: set[str] = set()
    for call in {s.parent_id: s for s in look.calls}.values():
        for above in look.above(call):
            if above.span_id in held:
                break  # and so is all that is above it
            held.add(above.span_id)
    return held


def _saved(look: Look, row: Sequence[Sequence[Span]]) -> int:
    """Return what asking everything at once would save: all but the longest conversation."""
    times = [look.total(talk) for talk in row]
    return sum(times) - max(times)


def _told(row: Sequence[Sequence[Span]]) -> str:
    return f"of it saved at most, for {sum(map(len, row))} calls in a row"


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
    for step, following in zip_longest(steps, steps[1:]):
        end_ns = look.run.end_of(step)
        is_alone = ended_ns <= step.start_ns and (following is None or end_ns <= following.start_ns)
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

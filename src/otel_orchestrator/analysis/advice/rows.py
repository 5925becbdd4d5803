"""LLM calls of one node that follow on each other with nothing between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from operator import attrgetter
from typing import Final

from msgspec import Struct

from ... import semconv
from ...model import Span
from ...semconv import OK, Attr
from ..calls import is_call, tokens_of
from ..groups import grouped
from .pieces import SEQUENTIAL_CALLS, Advice, Look, Pointed, Worst, examples_of, worst_of

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
_by_start = attrgetter("start_ns", "span_id")


class Exchange(Struct, frozen=True, gc=False, array_like=True):
    """What tells whether a call was made because of another.

    Attributes:
        asked: the hash of its prompt, if there is one.
        prompt: its tokens, None if they are not known.
        then: the tokens of its prompt and its answer, None if they are not known.
    """

    is_answered: bool
    asked: str | None
    prompt: int | None
    then: int | None


class Step(Struct, frozen=True, gc=False, array_like=True):
    """Something that a node did; what it asked if that is an LLM call."""

    start_ns: int
    span_id: str
    end_ns: int
    call: Exchange | None

    @property
    def took_ns(self) -> int:
        """How long it took."""
        return max(0, self.end_ns - self.start_ns)


class Steps(Struct, frozen=True, gc=False, array_like=True):
    """What a part of a run holds of what the outermost graph did that is in no node."""

    maker: Pointed
    steps: tuple[Step, ...]


class Rows(Struct, frozen=True, gc=False, array_like=True):
    """The calls that makers of one name made in a row.

    Attributes:
        saved_ns: what asking everything at once would save at most.
    """

    name: str
    calls: int
    spent_ns: int
    saved_ns: int
    worst: tuple[Worst, ...]


def rows_seen(look: Look) -> tuple[tuple[Rows, ...], Steps | None]:
    """Return the calls in a row of a part of a run, and what may be some of the outermost graph."""
    makers, holds_calls = _makers(look)
    root = look.root if look.root and look.root.operation == semconv.INVOKE_WORKFLOW else None
    found = [
        (maker, row)
        for maker in makers
        for row in _rows(_steps(look, look.forest.children(maker), holds_calls))
    ]
    rows = tuple(
        _together(
            name,
            [row for _, row in of_name],
            look.worst((maker, row.saved_ns, row.note) for maker, row in of_name),
        )
        for name, of_name in grouped(found, lambda f: f[0].name).items()
    )
    if root is None:
        return rows, None
    steps = _fewer(_steps(look, look.below_root(), holds_calls))
    return rows, Steps(look.pointed(root), tuple(steps))


def sequential_calls(rows: Iterable[Rows], outermost: Iterable[Steps]) -> Iterator[Advice]:
    """Yield what could be asked at once in a run of whose parts these are."""
    every = [*rows, *_of_outermost(outermost)]
    for name, of_name in sorted(grouped(every, attrgetter("name")).items()):
        yield Advice(
            SEQUENTIAL_CALLS,
            name,
            sum([r.calls for r in of_name]),
            sum([r.spent_ns for r in of_name]),
            sum([r.saved_ns for r in of_name]),
            examples_of([r.worst for r in of_name]),
        )


def _of_outermost(outermost: Iterable[Steps]) -> Iterator[Rows]:
    for parts in grouped(outermost, lambda part: part.maker.span_id).values():
        steps = list(chain.from_iterable([part.steps for part in parts]))
        if sum([step.call is not None for step in steps]) > 1:
            maker = parts[0].maker
            rows = list(_rows(sorted(steps, key=_by_start)))
            worst = worst_of([Worst(row.saved_ns, row.note, maker) for row in rows])
            if rows:
                yield _together(maker.name, rows, worst)


def _makers(look: Look) -> tuple[list[Span], set[str]]:
    """Return the spans that made several calls which need not follow on each other, and the ids of
    all spans that calls are below.

    Without the outermost graph: other parts may hold more of its calls.
    """
    makers: dict[str, Span] = {}
    made: Counter[str] = Counter()
    held: set[str] = set()
    by_id = look.forest.by_id
    for parent_id, siblings in grouped(look.calls, attrgetter("parent_id")).items():
        above = maker = by_id.get(parent_id or "")
        while above is not None and above.span_id not in held:
            held.add(above.span_id)  # of one that is there already, all above it is, too
            above = by_id.get(above.parent_id or "")
        if maker is None or maker.operation not in _MAKERS or maker is siblings[0]:
            maker = look.nearest(siblings[0], _MAKERS)
        if maker is not None and maker.operation not in _IN_SEQUENCE and maker is not look.root:
            makers[maker.span_id] = maker
            made[maker.span_id] += len(siblings)
    return [maker for span_id, maker in makers.items() if made[span_id] > 1], held


def _steps(look: Look, below: Iterable[Span], holds_calls: set[str]) -> list[Step]:
    """Return what a node did, by start: its calls, and whatever else was recorded as work.

    A span that only stands around calls, as one of the user's own may, is looked into.

    Args:
        look: at the part of the run.
        below: what is right below the node.
        holds_calls: the ids of the spans that calls are below.
    """
    steps: list[Step] = []
    end_of = look.run.end_of
    stack = list(below)
    while stack:
        span = stack.pop()
        is_asking = is_call(span)
        stands_around = span.span_id in holds_calls and span.operation not in _MAKERS
        if stands_around and not is_asking:
            stack.extend(look.forest.children(span))
        elif span.state != semconv.WAITING:
            called = _called(span) if is_asking else None
            steps.append(Step(span.start_ns, span.span_id, end_of(span), called))
    steps.sort(key=_by_start)
    return steps


def _called(call: Span) -> Exchange:
    prompt = tokens_of(call, Attr.INPUT_TOKENS)
    # What a model thought is not sent back to it.
    told = tokens_of(call, Attr.OUTPUT_TOKENS) or 0
    answer = max(0, told - (tokens_of(call, Attr.REASONING_TOKENS) or 0))
    return Exchange(
        call.outcome == OK,
        call.text(Attr.PROMPT_HASH),
        None if prompt is None else int(prompt),
        None if prompt is None else prompt + answer,
    )


def _fewer(steps: Iterable[Step]) -> Iterator[Step]:
    """Put together what is no call and overlaps: it is between calls all the same."""
    last: Step | None = None
    for step in steps:
        if last is None:
            last = step
        elif last.call is None and step.call is None and step.start_ns < last.end_ns:
            if step.end_ns > last.end_ns:
                last = Step(last.start_ns, last.span_id, step.end_ns, None)
        else:
            yield last
            last = step
    if last is not None:
        yield last


class _Row:
    """Calls that follow on each other with nothing between them, as conversations."""

    __slots__ = ("calls", "saved_ns", "spent_ns")

    def __init__(self, talks: Sequence[Sequence[Step]]) -> None:
        times = [sum([step.took_ns for step in talk]) for talk in talks]
        self.calls = sum(map(len, talks))
        self.spent_ns = sum(times)
        self.saved_ns = self.spent_ns - max(times)

    @property
    def note(self) -> str:
        return f"of it saved at most, for {self.calls} calls in a row"


def _rows(steps: Sequence[Step]) -> Iterator[_Row]:
    """Yield rows of several conversations.

    call a  ├───┤                              a │ b c │         d          two rows of calls;
    call b        ├───┤                                                     c was asked with what
    call c              ├───┤                                               b was and its answer,
    git                       ├─┤                                           so b and c are one
    call d                        ├───┤                                     conversation
    """
    row: list[list[Step]] = []
    ended_ns = 0
    before: Exchange | None = None
    for step, following in zip_longest(steps, steps[1:]):
        call, end_ns = step.call, step.end_ns
        is_alone = ended_ns <= step.start_ns and (following is None or end_ns <= following.start_ns)
        ended_ns = max(ended_ns, end_ns)
        if call is not None and is_alone:
            if before is not None and _may_go_on(before, call):
                row[-1].append(step)
            else:
                row.append([step])
            before = call
            continue
        if len(row) > 1:
            yield _Row(row)
        row, before = [], None
    if len(row) > 1:
        yield _Row(row)


def _may_go_on(before: Exchange, call: Exchange) -> bool:
    """Return whether a call looks like one that was made because of the one before."""
    if not before.is_answered:
        return True  # tried again, or asked of another model
    if call.asked is not None and call.asked == before.asked:
        return True  # the answer did not do; or a cache would, which is advice of its own
    if before.then is None or call.prompt is None:
        return False
    return call.prompt >= before.then


def _together(name: str, rows: Sequence[_Row], worst: tuple[Worst, ...]) -> Rows:
    return Rows(
        name,
        sum([row.calls for row in rows]),
        sum([row.spent_ns for row in rows]),
        sum([row.saved_ns for row in rows]),
        worst,
    )

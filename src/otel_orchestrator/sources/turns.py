"""Turns of a graph that are not there: told by the numbers of those that are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import pairwise
from typing import Final

from .. import semconv
from ..analysis.roots import GRAPHS, is_root
from ..model import Span
from ..semconv import Attr

_TOLD_BY: Final = frozenset({semconv.LOOP, semconv.SUPERSTEP, *GRAPHS})
_FIRST_LOOP: Final = 0


def missing_turns(spans: Iterable[Span], ids: Set[str]) -> Iterator[str]:
    """Yield what is to be said of loops and supersteps of the outermost graphs that are missing.

    An export may have been rotated, and a part of it is read as if it were the run.
    """
    below: dict[str | None, list[Span]] = defaultdict(list)
    roots = []
    for span in spans:
        if span.operation not in _TOLD_BY:
            continue
        if is_root(span, ids):
            roots.append(span)
        elif span.operation not in GRAPHS:
            below[span.parent_id].append(span)
    for root in roots:
        inside = below[root.span_id]
        loops = [s for s in inside if s.operation == semconv.LOOP]
        steps = [s for s in inside if s.operation == semconv.SUPERSTEP]
        steps += [s for loop in loops for s in below[loop.span_id]]
        if steps:  # loops by hand have whatever numbers their program gives them
            # A graph that goes on at a checkpoint counts on from there, so any may be its first.
            yield from _gap("supersteps", _numbers(steps, Attr.SUPERSTEP_INDEX), None)
            yield from _gap("loops", _numbers(loops, Attr.LOOP_INDEX), _FIRST_LOOP)


def _numbers(turns: Iterable[Span], key: str) -> list[int]:
    return sorted(n for turn in turns if isinstance(n := turn.attributes.get(key), int))


def _gap(what: str, numbers: Sequence[int], first: int | None) -> Iterator[str]:
    if numbers and first is not None and numbers[0] > first:
        yield f"{what} are missing: the first one that is there is number {numbers[0]}"
    elif gap := next(((a, b) for a, b in pairwise(numbers) if b > a + 1), None):
        yield f"{what} are missing: number {gap[0]} is followed by {gap[1]}"

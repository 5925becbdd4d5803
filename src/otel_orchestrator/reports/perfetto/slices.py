"""Slices, and how they are laid on tracks: on one track they are apart or inside each other.

node     ├───────────────────────┤        lane 0  ├───────────────────────┤
chat a      ├────────────┤          →                ├────────────┤
chat b           ├───────────┤            lane 1           ├───────────┤
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...analysis.intervals import Interval
from ...model import Value


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of a track.

    Attributes:
        name: what it is.
        start_ns, end_ns: wall clock.
        categories: to filter by.
        facts: what is known of it.
        key: what flows find it by.
        inside: what ran within it, by start.
    """

    name: str
    start_ns: int
    end_ns: int
    categories: tuple[str, ...] = ()
    facts: Mapping[str, Value] = field(default_factory=dict)
    key: str = ""
    inside: tuple[Slice, ...] = ()


def laid_out(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Lay slices on as few lanes as it takes; what is inside of one goes to another only if it runs
    beside what is inside already."""
    lanes = _Lanes()
    pieces = _flat(sorted(slices, key=lambda s: (s.start_ns, -s.end_ns)))
    lane_of: list[int] = []
    until: list[int] = []  # up to when what is kept inside of each lasts
    is_kept: list[bool] = []
    for piece, parent in pieces:
        kept = parent >= 0 and piece.start_ns >= until[parent]
        if kept:
            until[parent] = piece.end_ns
            lane_of.append(lane_of[parent])
        else:
            least = lane_of[parent] + 1 if parent >= 0 else 0
            lane_of.append(lanes.take(least, (piece.start_ns, piece.end_ns)))
        until.append(piece.start_ns)
        is_kept.append(kept)
    inside: list[list[Slice]] = [[] for _ in pieces]
    laid: list[list[Slice]] = [[] for _ in range(lanes.count)]
    for n in range(len(pieces) - 1, -1, -1):
        piece, parent = pieces[n]
        done = replace(piece, inside=tuple(reversed(inside[n])))
        (inside[parent] if is_kept[n] else laid[lane_of[n]]).append(done)
    return [sorted(lane, key=lambda s: (s.start_ns, s.end_ns)) for lane in laid]


def _flat(slices: Sequence[Slice]) -> list[tuple[Slice, int]]:
    """Return all slices, each with the place of the one that it is inside of, or -1."""
    flat: list[tuple[Slice, int]] = []
    stack = [(piece, -1) for piece in reversed(slices)]
    while stack:
        piece, parent = stack.pop()
        stack.extend((child, len(flat)) for child in reversed(piece.inside))
        flat.append((piece, parent))
    return flat


class _Lanes:
    """What each lane is taken for."""

    def __init__(self) -> None:
        self._taken: list[list[Interval]] = []

    @property
    def count(self) -> int:
        return len(self._taken)

    def take(self, least: int, wanted: Interval) -> int:
        """Take the first lane that is free, but none before the least; returns it."""
        lane = least
        while lane < self.count and not self._is_free(lane, wanted):
            lane += 1
        while lane >= self.count:
            self._taken.append([])
        insort(self._taken[lane], wanted)
        return lane

    def _is_free(self, lane: int, wanted: Interval) -> bool:
        taken = self._taken[lane]
        at = bisect_left(taken, wanted)
        is_after = at == 0 or taken[at - 1][1] <= wanted[0]
        return is_after and (at == len(taken) or taken[at][0] >= wanted[1])


@dataclass(frozen=True, slots=True)
class Track:
    """A line in the picture.

    Attributes:
        name: what it is.
        slices: what is on it; they may overlap.
        steps: of a counter, each instant with the number from there on.
        unit: of a counter.
        tracks: the tracks below it, in order.
    """

    name: str
    slices: Sequence[Slice] = ()
    steps: Sequence[tuple[int, int]] = ()
    unit: str = ""
    tracks: Sequence[Track] = ()

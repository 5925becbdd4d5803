"""A large run file, read and looked at piece by piece, by several processes at once.

    piece 1                            piece 2
    ├ loop 0 ┤├ loop 1 ┤├ loop 2 ─ ─ ─ │ ─ ┤├ loop 3 ┤├ loop 4 ─ ─
    └────── a part ────┘└ left over        ┘└ a part ┘└ left over

Spans are written when they end, so a piece holds all of a loop that started after another one of
the same piece had ended. What is left over of all pieces is one more part.

That holds for a run that was recorded to its end, by one process. Whatever is unusual about a file
makes it one that is read as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Final

from msgspec import Struct, msgpack

from ..analysis.parts import Part, RunInParts, part_of
from ..analysis.tree import Forest, forest_of
from ..errors import RunFileError
from ..model import GaugePoint, Run, Span, Value
from ..semconv import INVOKE_WORKFLOW, LOOP
from .documents import begins, losses_of
from .gathering import Gathering
from .lines import BUFFERED, lines_of, told_in
from .otlp import Told
from .processes import each_in
from .runfiles import RunFile
from .turns import missing_turns

_PIECE: Final = 16 * 2**20
_WORTH_PIECES: Final = 2
"""In fewer, starting processes takes longer than it saves."""
_TAIL: Final = 2 * 2**20
"""The run's own span ends last: it is among the last bytes."""


class _Piece(Struct, frozen=True, gc=False):
    """What a piece of a file holds.

    Attributes:
        part: of its whole loops; None without any.
        left: all other spans.
        shown: the spans of the part, if they are wanted.
        points: of gauges.
        resource: of the process that recorded it.
    """

    part: Part | None
    left: list[Span]
    shown: list[Span]
    points: list[GaugePoint]
    resource: dict[str, Value]


_ENCODER: Final = msgpack.Encoder()
_DECODER: Final = msgpack.Decoder(_Piece)


def read_in_parts(
    file: RunFile,
    progress: Callable[[int], None] | None = None,
    bytes_each: int = _PIECE,
) -> RunInParts | None:
    """Read a large run file, and look at its spans.

    Args:
        file: which.
        progress: called with the bytes read so far, now and then.
        bytes_each: of a piece.

    Returns:
        None where the file is not large, or anything about it is unusual. Of the spans themselves
        only the first are kept.

    Raises:
        RunFileError: it cannot be read.
    """
    try:
        size = file.path.stat().st_size
    except OSError:  # it was removed just now; whoever reads it as a whole says so
        return None
    root = _root_in(file.path, size) if size > _WORTH_PIECES * bytes_each else None
    if root is None:
        return None
    gathering = Gathering()
    parts: list[Part] = []
    shown: list[Span] = []
    stretches = [(at, min(size, at + bytes_each)) for at in range(0, size, bytes_each)]
    with each_in(min(len(stretches), os.cpu_count() or 1)) as each:
        pieces = each(partial(_piece, file.path, root), stretches)
        for (_, stop), encoded in zip(stretches, pieces, strict=True):
            if encoded is None:
                return None
            piece = _DECODER.decode(encoded)
            gathering.add(Told([(piece.resource, piece.left)], piece.points, piece.resource))
            parts += [piece.part] if piece.part is not None else []
            if not parts:  # then nothing is gained by going on
                return None
            shown += piece.shown
            if progress is not None:
                progress(stop)
    left = gathering.run(file.id)
    forest = forest_of(left.spans)
    is_whole = forest.roots == (root,) and not any(s.never_ended for s in left.spans)
    if not is_whole or gathering.plain() is None:
        return None
    parts.append(part_of(left, forest))
    turns = [root, *_turns(parts)]
    lost = tuple(missing_turns(turns, {span.span_id for span in turns}))
    shown_until_ns = max(span.end_ns or 0 for span in shown)
    shown += [span for span in left.spans if span.start_ns < shown_until_ns]
    spans = tuple(sorted(shown, key=attrgetter("start_ns", "span_id")))
    return RunInParts(
        Run(file.id, spans, left.points, left.resource, lost, lost), root, tuple(parts)
    )


def _turns(parts: list[Part]) -> Iterator[Span]:
    for part in parts:
        for ran in chain(part.children, (s.ran for s in part.supersteps)):
            yield ran.span


def _root_in(path: Path, size: int) -> Span | None:
    """Return the run's own span; None where it has not ended."""
    found: Span | None = None
    for told in _told(path, max(0, size - _TAIL), size):
        for span in chain.from_iterable(spans for _, spans in told.blocks) if told else ():
            if span.operation == INVOKE_WORKFLOW and (
                found is None or span.start_ns < found.start_ns
            ):
                found = span
    return found if found is not None and not found.never_ended else None


def _told(path: Path, start: int, stop: int) -> Iterator[Told | None]:
    """Yield what the lines that begin in a stretch of a file tell; None of one that tells nothing.

    Raises:
        RunFileError: it cannot be read.
    """
    try:
        with path.open("rb", BUFFERED) as file:
            if start:
                file.seek(start - 1)
                file.readline()
            at = file.tell()
            for line in lines_of(file):
                if at >= stop:
                    break
                yield told_in(line)
                at = file.tell()
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error


def _piece(path: Path, root: Span, stretch: tuple[int, int]) -> bytes | None:
    """Look at a piece of a file; None if anything about it is unusual."""
    start, stop = stretch
    gathering = Gathering()
    for number, told in enumerate(_told(path, start, stop)):
        if told is None or next(losses_of(told), None) is not None:
            return None
        if not _has_its_header(told, is_first=not start and not number):
            return None
        gathering.add(told)
    found = gathering.plain()
    if found is None or (found.spans and found.spans[0].trace_id != root.trace_id):
        return None
    forest = forest_of((root, *(s for s in found.spans if s.span_id != root.span_id)))
    loops = [s for s in forest.children(root) if s.operation == LOOP and s.end_ns is not None]
    loops = loops[1:] if start else loops
    left_ids = _left(forest, root, loops)
    whole = [s for s in found.spans if s.span_id not in left_ids]
    if any(s.never_ended for s in whole):
        return None
    part = None
    if loops:
        below = {**forest.below, root.span_id: tuple(loops)}
        part = part_of(Run("", tuple(whole)), Forest((root,), below, forest.by_id))
    left = [s for s in found.spans if s.span_id in left_ids]
    shown = [] if start else whole
    return _ENCODER.encode(_Piece(part, left, shown, found.points, dict(found.resource)))


def _has_its_header(told: Told, *, is_first: bool) -> bool:
    return begins(told.header) if is_first else told.header is None


def _left(forest: Forest, root: Span, loops: Sequence[Span]) -> set[str]:
    """Return the ids of all spans that are below none of these loops."""
    kept = {loop.span_id for loop in loops}
    stack = [s.span_id for s in (*forest.roots, *forest.children(root)) if s.span_id not in kept]
    found = {root.span_id}
    stack.remove(root.span_id)
    while stack:
        found.add(span_id := stack.pop())
        stack.extend([child.span_id for child in forest.below.get(span_id, ())])
    return found

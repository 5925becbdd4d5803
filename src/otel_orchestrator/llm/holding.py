"""How long the reader of an answer keeps a chunk before it asks for the next."""

from __future__ import annotations

from typing import Final

from .. import semconv
from ..lifecycle import spans, waits
from ..lifecycle.spans import Operation

# Each may be worth a span, but not a span for each of thousands of chunks.
_TOLD_AS_SPANS: Final = 100


class Holds:
    """What was told of the holds of one call.

    Args:
        are_told: they are waits. Not where something that works makes the call: then its reader is
            that work itself, and nobody waits.
    """

    __slots__ = ("_are_told", "_count", "_until_ns")

    def __init__(self, *, are_told: bool) -> None:
        self._are_told = are_told
        self._count = 0
        self._until_ns = 0

    def tell(self, call: Operation, start_ns: int, end_ns: int) -> None:
        """Record one hold, which each of several that pass a chunk on to each other has seen."""
        if not self._are_told or start_ns < self._until_ns:
            return
        self._until_ns = end_ns
        self._count += 1
        end_ns -= spans.GAP_NS
        if self._count <= _TOLD_AS_SPANS:
            waits.record(semconv.CONSUMER, start_ns, end_ns, parent=call, on=semconv.READER)
        else:
            call.add_short_wait(semconv.CONSUMER, end_ns - start_ns)
            waits.measure(semconv.CONSUMER, end_ns - start_ns, call.context)

"""What an endpoint does not have of a run file, as the process that sends it knows it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from .ledger import Sent
from .sending import NOTHING
from .stored import Batch

_COUNTED_APART: Final = 1_000


@dataclass(slots=True)
class Owed:
    """A run file that the endpoint does not have all of.

    Attributes:
        end: the bytes that are written.
        own: what this process wrote that is not sent: how many spans, and up to which offset.
        own_end: the offset up to which this process has written.
        sent: what the endpoint is known to have.
        held: what is still in memory, in order.
        rests_until: when it is tried again, by the monotonic clock: it holds a span that the
            endpoint does not answer to, and others go first.
        begins_anew: somebody has removed the file, while it was sent perhaps.
    """

    end: int
    own: deque[tuple[int, int]] = field(default_factory=deque)
    own_end: int = 0
    sent: Sent = NOTHING
    held: deque[Batch] = field(default_factory=deque)
    rests_until: float = 0.0
    begins_anew: bool = False

    def wrote(self, end: int, spans: int) -> None:
        """Note what this process has written, and where that ends."""
        self.end, self.own_end = max(self.end, end), end
        if len(self.own) >= _COUNTED_APART:  # coarser: they count until the last of them is sent
            spans += self.own.pop()[1]
        self.own.append((end, spans))

    def has_sent(self, sent: Sent) -> None:
        """Note what the endpoint has by now."""
        self.sent = sent
        while self.own and self.own[0][0] <= sent.bytes:
            self.own.popleft()

    @property
    def spans(self) -> int:
        """How many spans of this process are not sent."""
        return sum(spans for _, spans in self.own)

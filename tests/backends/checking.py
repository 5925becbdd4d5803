"""What was sent, held against what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .reading import Shown

STAMP = "test.gateway"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the spans that were sent.

    Attributes:
        traces: how many were sent.
        spans: how many were sent.
        lost: that are not there.
        doubled: that are there more than once.
        strange: that are there and were not sent.
        torn: traces of which more than one gateway had a part.
        by_gateway: how many traces each gateway had.
    """

    traces: int
    spans: int
    lost: int
    doubled: int
    strange: int
    torn: int
    by_gateway: Mapping[str, int]

    @property
    def is_right(self) -> bool:
        """Whether everything is there once, each trace by one gateway."""
        return (self.lost, self.doubled, self.strange, self.torn) == (0, 0, 0, 0)


def check(sent: Mapping[str, Iterable[str]], found: Mapping[str, Sequence[Shown]]) -> Outcome:
    """Compare the span ids of each trace that was sent with those that were found."""
    lost = doubled = strange = torn = spans = 0
    by_gateway: Counter[str] = Counter()
    for trace_id, ids in sent.items():
        there = found.get(trace_id, ())
        counted = Counter(shown.span.span_id for shown in there)
        wanted = set(ids)
        spans += len(wanted)
        lost += len(wanted - set(counted))
        strange += len(set(counted) - wanted)
        doubled += sum(1 for count in counted.values() if count > 1)
        gateways = {str(shown.resource.get(STAMP, "none")) for shown in there}
        torn += len(gateways) > 1
        by_gateway.update(gateways)
    return Outcome(len(sent), spans, lost, doubled, strange, torn, by_gateway)

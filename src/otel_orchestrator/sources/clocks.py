"""Hosts whose clocks differ: by how much, as far as messages tell, and their spans corrected.

A message that is sent at s by one clock and received at r by another was under way for r - s, less
the difference of the two clocks; and no message arrives before it is sent. So the quickest message
each way bounds that difference, as in NTP:

    -(quickest from b to a)  ≤  clock of b - clock of a  ≤  quickest from a to b
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ..model import Span, changed
from ..semconv import WAITING, Attr

_CONSUMER: Final = 5  # as OTLP numbers kinds

Quickest = Mapping[tuple[str, str], int]
"""From one host to another: the shortest time that a message seemed to take, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How a host's clock differs from that of the host it is compared with.

    Attributes:
        host, reference: the two.
        ahead_ns: by how much it is ahead of the other's; negative if it is behind.
        within_ns: how far off that may be; None if messages went one way only, or none did.
    """

    host: str
    reference: str
    ahead_ns: int
    within_ns: int | None

    def __str__(self) -> str:
        side = "ahead of" if self.ahead_ns > 0 else "behind"
        ahead = f"{abs(self.ahead_ns) / 1e9:.3f} s {side} {self.reference}'s"
        if self.within_ns is not None:
            within = f"{self.within_ns / 1e9:.3f} s"
            if self.ahead_ns:
                return f"the clock of {self.host} is {ahead}, give or take {within}: corrected"
            return f"the clocks of {self.host} and {self.reference} differ by at most {within}"
        if self.ahead_ns:
            return f"the clock of {self.host} is at least {ahead}: corrected by that"
        return (
            f"how far the clock of {self.host} is from {self.reference}'s is not known: no message"
            " came back. Waits between them are as wrong as their clocks; received() helps"
        )


def aligned(
    spans: list[Span], host_of: Callable[[Span], str], reference: str
) -> tuple[list[Span], list[str]]:
    """Put the spans of several hosts on one clock; also return what there is to say of it.

    Args:
        spans: of one run.
        host_of: where a span was recorded.
        reference: the host whose clock holds.
    """
    quickest = _quickest(spans, host_of)
    clocks = _clocks({host_of(span) for span in spans}, reference, quickest)
    ahead = {host: ahead_ns for host, (_, ahead_ns) in clocks.items()}
    if any(ahead.values()):
        spans = _corrected(spans, host_of, ahead)
    return spans, [str(clock) for clock, _ in clocks.values() if clock is not None]


def _quickest(spans: Iterable[Span], host_of: Callable[[Span], str]) -> Quickest:
    found: dict[tuple[str, str], int] = {}
    for span in spans:
        sender, ago_ns = span.text(Attr.SENT_HOST), _ago_ns(span)
        if sender is not None and ago_ns is not None:
            way = sender, host_of(span)
            found[way] = min(ago_ns, found.get(way, ago_ns))
    return found


def _ago_ns(span: Span) -> int | None:
    ago = span.attributes.get(Attr.SENT_AGO)
    if isinstance(ago, bool) or not isinstance(ago, int | float) or not abs(ago) < _LONGEST_S:
        return None
    return round(ago * 1e9)


_LONGEST_S: Final = 1e9


def _clocks(
    hosts: set[str], reference: str, quickest: Quickest
) -> dict[str, tuple[Clock | None, int]]:
    """Return each host's clock, and by how much it is ahead of the reference's."""
    found: dict[str, tuple[Clock | None, int]] = {reference: (None, 0)}
    reached = [reference]
    while reached:
        known = reached.pop(0)
        # Hosts that both ways lead to come first: what they say is bounded.
        ways = [(_clock(host, known, quickest), host) for host in sorted(hosts - found.keys())]
        for clock, host in sorted(ways, key=lambda w: w[0] is None or w[0].within_ns is None):
            if clock is not None:
                found[host] = clock, clock.ahead_ns + found[known][1]
                reached.append(host)
    for host in sorted(hosts - found.keys()):
        found[host] = Clock(host, reference, 0, None), 0
    return found


def _clock(host: str, reference: str, quickest: Quickest) -> Clock | None:
    at_most, back = quickest.get((reference, host)), quickest.get((host, reference))
    if at_most is None and back is None:
        return None
    if at_most is None or back is None:
        ahead_ns = min(0, at_most) if at_most is not None else max(0, -(back or 0))
        return Clock(host, reference, ahead_ns, None)
    at_least = -back
    if at_least <= 0 <= at_most:  # then nothing says that they differ at all
        return Clock(host, reference, 0, max(back, at_most))
    # Where the bounds cross, a clock was set while the run went on.
    return Clock(host, reference, (at_least + at_most) // 2, abs(at_most - at_least) // 2)


def _corrected(
    spans: list[Span], host_of: Callable[[Span], str], ahead: Mapping[str, int]
) -> list[Span]:
    sent: dict[str, int] = {}  # when the message came into being that a task was begun by
    moved: list[Span] = []
    for span in spans:
        late = ahead[host_of(span)]
        end_ns = None if span.end_ns is None else span.end_ns - late
        start_ns, ago_ns = span.start_ns - late, _ago_ns(span)
        if span.state == WAITING and end_ns is not None and span.end_ns and ago_ns is not None:
            # Its start is by the sender's clock.
            sent_ns = span.end_ns - ago_ns - ahead.get(span.text(Attr.SENT_HOST) or "", 0)
            start_ns = min(sent_ns, end_ns)
            sent[span.parent_id or ""] = start_ns
        moved.append(changed(span, start_ns=start_ns, end_ns=end_ns))
    return [
        changed(span, start_ns=sent[span.span_id])
        if span.kind == _CONSUMER and span.span_id in sent
        else span
        for span in moved
    ]

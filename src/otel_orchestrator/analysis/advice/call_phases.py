"""An LLM call, phase by phase: what follows on what from its start to its end, without gaps.

chat        ├──────────────────────────────────────────────────────────────────────┤
attempts      ├ POST: 429 ┤░ rate_limit ░├ POST ───────────────┤
phases      client│server │  rate_limit  │pool│connect│send│server│first token│answer│

Of an attempt only durations are known, one after the other; they are laid from its end backwards,
because it ends with the response's headers, to which its server's time leads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ... import semconv
from ...model import Run, Span
from ...semconv import Attr
from ..clip import seconds_to_ns
from ..tree import Forest

Kind = Literal[
    "client",
    "pool",
    "connect",
    "tls",
    "send",
    "server",
    "rate_limit",
    "retry_backoff",
    "first_token",
    "answer",
    "unknown",
]
KINDS: Final[tuple[Kind, ...]] = (
    "client",
    "rate_limit",
    "retry_backoff",
    "pool",
    "connect",
    "tls",
    "send",
    "server",
    "first_token",
    "answer",
    "unknown",
)
"""`client` is the program's own code; `server` lasts from the request sent to the headers;
`first_token` from there to the first chunk with content; `answer` until all of it is there;
`unknown` is a call of which nothing more was recorded."""

_ATTEMPT: Final[tuple[tuple[Kind, str], ...]] = (
    ("server", Attr.HTTP_FIRST_BYTE),
    ("send", Attr.HTTP_SEND),
    ("tls", Attr.HTTP_TLS),
    ("connect", Attr.HTTP_CONNECT),
)
_WAITS: Final[dict[str, Kind]] = {
    semconv.RATE_LIMIT: "rate_limit",
    semconv.RETRY_BACKOFF: "retry_backoff",
    semconv.POOL: "pool",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of an LLM call."""

    kind: Kind
    start_ns: int
    end_ns: int


def phases_of_call(run: Run, forest: Forest, call: Span) -> tuple[Phase, ...]:
    """Break a call down into phases that follow on each other and add up to it."""
    start, end = call.start_ns, run.end_of(call)
    children = forest.children(call)
    attempts = [c for c in children if c.category == semconv.HTTP]
    known = [p for c in children for p in _known(run, forest, c)]
    answered = max((run.end_of(a) for a in attempts), default=start)
    first = call.attributes.get(Attr.TIME_TO_FIRST_CHUNK)
    if first is not None:
        token = max(answered, start + seconds_to_ns(first))
        known += [Phase("first_token", answered, token), Phase("answer", token, end)]
    elif attempts and call.outcome == "ok":
        known.append(Phase("answer", answered, end))
    if not known:
        return (Phase("unknown", start, end),)
    return tuple(_without_gaps(sorted(known, key=lambda p: (p.start_ns, p.end_ns)), start, end))


def _known(run: Run, forest: Forest, child: Span) -> Iterator[Phase]:
    end = run.end_of(child)
    if child.state == semconv.WAITING:
        if (kind := _WAITS.get(child.category or "")) is not None:
            yield Phase(kind, child.start_ns, end)
        return
    if child.category != semconv.HTTP:
        return
    for wait in forest.children(child):
        if wait.category == semconv.POOL:
            yield Phase("pool", wait.start_ns, run.end_of(wait))
    if not any(key in child.attributes for _, key in _ATTEMPT):
        yield Phase("server", child.start_ns, end)
    at = end
    for kind, key in _ATTEMPT:
        begins = max(child.start_ns, at - seconds_to_ns(child.attributes.get(key)))
        yield Phase(kind, begins, at)
        at = begins


def _without_gaps(known: Sequence[Phase], start: int, end: int) -> Iterator[Phase]:
    """Cut phases to the call and to each other; what is between them is the client's."""
    at = start
    for phase in known:
        begins, ends = max(at, phase.start_ns), min(end, phase.end_ns)
        if begins >= ends:
            continue
        if begins > at:
            yield Phase("client", at, begins)
        yield Phase(phase.kind, begins, ends)
        at = ends
    if at < end:
        yield Phase("client", at, end)

"""What an LLM's response tells of itself: model, tokens, why it stopped; and when it came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from ..semconv import Attr
from . import tokens
from .parts import get


@dataclass
class Told:
    """What a response told."""

    model: str | None = None
    provider: str | None = None
    ids: list[str] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    response: dict[str, AttributeValue] = field(default_factory=dict)


def read(response: Any) -> Told:
    """Read a response; an agent's result is all of its messages that have tokens."""
    told = Told()
    messages = get(response, "messages")
    for answer in messages if isinstance(messages, list | tuple) else [response]:
        _read_one(told, answer)
    return told


def _read_one(told: Told, answer: Any) -> None:
    usage = get(answer, "usage_metadata") or get(answer, "usage")
    if usage is None and get(answer, "model") is None:
        return
    tokens.add_up(tokens.of_anybody(usage), told.usage)
    meta = get(answer, "response_metadata") or answer
    model = get(meta, "model_name") or get(meta, "model")
    if isinstance(model, str):
        told.model = model
        told.response[Attr.RESPONSE_MODEL] = model
    if isinstance(provider := get(meta, "model_provider"), str):
        told.provider = provider
    for number in (get(meta, "id"), get(answer, "id")):
        if isinstance(number, str):
            told.ids.append(number)
            told.response[Attr.RESPONSE_ID] = number
            break
    choices = get(answer, "choices")
    first = choices[0] if isinstance(choices, list) and choices else meta
    if (reason := reason_of(first)) is not None:
        told.response[Attr.FINISH_REASONS] = [reason]


def reason_of(told: Any) -> str | None:
    """Return why a model stopped, by what a response, a choice or a message's metadata tells."""
    reason = get(told, "finish_reason") or get(told, "stop_reason")
    # OpenAI's Responses say only why they are incomplete.
    reason = reason or get(get(told, "incomplete_details"), "reason")
    if not reason and get(told, "status") == "completed":
        return "stop"
    return reason if isinstance(reason, str) else None


_GAPS_KEPT: Final = 4096
# A record in a histogram of the SDK's costs several microseconds, as much as all else that we do
# for a chunk together: of a long stream an even choice of so many gaps is recorded.
_GAPS_RECORDED: Final = 32


class Chunks:
    """When the chunks with content of a streamed answer came, wall clock in nanoseconds.

    Attributes:
        first_ns, last_ns: 0 as long as there is none.
        count: how many.
        gaps_ns: between one and the next, of the first thousands.
    """

    __slots__ = ("count", "first_ns", "gaps_ns", "last_ns")

    def __init__(self) -> None:
        self.first_ns = 0
        self.last_ns = 0
        self.count = 0
        self.gaps_ns: list[int] = []

    def came(self) -> None:
        """Note that one came in: the first is what users wait for. The hot path."""
        now = time.time_ns()
        if not self.first_ns:
            self.first_ns = now
        elif self.count < _GAPS_KEPT:
            self.gaps_ns.append(now - self.last_ns)
        self.count += 1
        self.last_ns = now

    def held(self, duration_ns: int) -> None:
        """Leave out of the gaps that the reader kept what had come: nobody asked for the next."""
        if self.last_ns:
            self.last_ns += duration_ns

    def some_gaps_s(self) -> Iterator[float]:
        """Return the gaps that are recorded, in seconds."""
        step = -(-len(self.gaps_ns) // _GAPS_RECORDED) or 1
        return (max(0, gap_ns) / 1e9 for gap_ns in self.gaps_ns[::step])

    def add(self, part: Chunks) -> None:
        """Take over what came in a part of the call."""
        self.first_ns = self.first_ns or part.first_ns
        self.last_ns = part.last_ns or self.last_ns
        self.count += part.count
        self.gaps_ns.extend(part.gaps_ns)

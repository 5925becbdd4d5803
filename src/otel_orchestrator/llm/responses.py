"""What an LLM's response tells of itself: model, tokens, why it stopped; and when it came."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from ..semconv import Attr

# Names by LangChain, OpenAI's two APIs and Anthropic, as paths; the first that is there counts.
_USAGE: Final = {
    Attr.INPUT_TOKENS: ("input_tokens", "prompt_tokens"),
    Attr.OUTPUT_TOKENS: ("output_tokens", "completion_tokens"),
    Attr.CACHE_READ_TOKENS: (
        "input_token_details.cache_read",
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cache_read_input_tokens",
    ),
    Attr.REASONING_TOKENS: (
        "output_token_details.reasoning",
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "output_tokens_details.thinking_tokens",
    ),
}
# By LangChain, that which it knows how long it is kept is in the others only; and by Anthropic.
_CACHE_WRITTEN: Final = (
    "input_token_details.cache_creation",
    "input_token_details.ephemeral_5m_input_tokens",
    "input_token_details.ephemeral_1h_input_tokens",
    "cache_creation_input_tokens",
)
# Anthropic's own input tokens exclude these; those of the others and of the conventions do not.
_BESIDE_INPUT: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")


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
    messages = _at(response, "messages")
    for answer in messages if isinstance(messages, list | tuple) else [response]:
        _read_one(told, answer)
    return told


def _read_one(told: Told, answer: Any) -> None:
    usage = _at(answer, "usage_metadata") or _at(answer, "usage")
    if usage is None and _at(answer, "model") is None:
        return
    for key, paths in _USAGE.items():
        if values := _numbers(usage, paths):
            _add(told, key, values[0])
    if written := _numbers(usage, _CACHE_WRITTEN):
        _add(told, Attr.CACHE_WRITE_TOKENS, sum(written))
    if _numbers(usage, ("input_tokens",)):
        _add(told, Attr.INPUT_TOKENS, sum(_numbers(usage, _BESIDE_INPUT)))
    meta = _at(answer, "response_metadata") or answer
    model = _at(meta, "model_name") or _at(meta, "model")
    if isinstance(model, str):
        told.model = model
        told.response[Attr.RESPONSE_MODEL] = model
    if isinstance(provider := _at(meta, "model_provider"), str):
        told.provider = provider
    for number in (_at(meta, "id"), _at(answer, "id")):
        if isinstance(number, str):
            told.ids.append(number)
            told.response[Attr.RESPONSE_ID] = number
            break
    choices = _at(answer, "choices")
    first = choices[0] if isinstance(choices, list) and choices else meta
    reason = _at(first, "finish_reason") or _at(meta, "stop_reason")
    if isinstance(reason, str):
        told.response[Attr.FINISH_REASONS] = [reason]


def _add(told: Told, key: str, tokens: int) -> None:
    told.usage[key] = told.usage.get(key, 0) + tokens


def _numbers(usage: Any, paths: Iterable[str]) -> list[int]:
    return [value for path in paths if isinstance(value := _at(usage, path), int)]


def _at(item: Any, path: str) -> Any:
    for name in path.split("."):
        item = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
    return item


_GAPS_KEPT: Final = 4096


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

    def add(self, part: Chunks) -> None:
        """Take over what came in a part of the call."""
        self.first_ns = self.first_ns or part.first_ns
        self.last_ns = part.last_ns or self.last_ns
        self.count += part.count
        self.gaps_ns.extend(part.gaps_ns)

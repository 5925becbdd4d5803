"""What an LLM's response tells of itself: model, tokens, why it stopped; of any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from .semconv import Attr

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
    ),
}


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
        value = next((v for path in paths if isinstance(v := _at(usage, path), int)), None)
        if value is not None:
            told.usage[key] = told.usage.get(key, 0) + value
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


def _at(item: Any, path: str) -> Any:
    for name in path.split("."):
        item = item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
    return item

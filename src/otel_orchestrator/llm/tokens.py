"""How many tokens a call took, by the names that LangChain and the providers' APIs tell it by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..semconv import Attr

Names = Mapping[str, "str | Names"]
"""The attribute by the name of its number in a usage; names again for what has more below it."""

ANTHROPIC: Final[Names] = {
    "input_tokens": Attr.INPUT_TOKENS,
    "output_tokens": Attr.OUTPUT_TOKENS,
    "cache_read_input_tokens": Attr.CACHE_READ_TOKENS,
    "cache_creation_input_tokens": Attr.CACHE_WRITE_TOKENS,
    "output_tokens_details": {"thinking_tokens": Attr.REASONING_TOKENS},
}
LANGCHAIN: Final[Names] = {
    "input_tokens": Attr.INPUT_TOKENS,
    "output_tokens": Attr.OUTPUT_TOKENS,
    "input_token_details": {
        "cache_read": Attr.CACHE_READ_TOKENS,
        # What it knows how long Anthropic keeps is in the others only.
        "cache_creation": Attr.CACHE_WRITE_TOKENS,
        "ephemeral_5m_input_tokens": Attr.CACHE_WRITE_TOKENS,
        "ephemeral_1h_input_tokens": Attr.CACHE_WRITE_TOKENS,
    },
    "output_token_details": {"reasoning": Attr.REASONING_TOKENS},
}
OPENAI_CHAT: Final[Names] = {
    "prompt_tokens": Attr.INPUT_TOKENS,
    "completion_tokens": Attr.OUTPUT_TOKENS,
    "prompt_tokens_details": {"cached_tokens": Attr.CACHE_READ_TOKENS},
    "completion_tokens_details": {"reasoning_tokens": Attr.REASONING_TOKENS},
}
OPENAI_RESPONSES: Final[Names] = {
    "input_tokens": Attr.INPUT_TOKENS,
    "output_tokens": Attr.OUTPUT_TOKENS,
    "input_tokens_details": {"cached_tokens": Attr.CACHE_READ_TOKENS},
    "output_tokens_details": {"reasoning_tokens": Attr.REASONING_TOKENS},
}


def add(usage: Any, names: Names, to: dict[str, int]) -> None:
    """Add what a usage tells; what stands under several names is their sum."""
    is_mapping = isinstance(usage, Mapping)  # asked once for all names
    for name, what in names.items():
        value = usage.get(name) if is_mapping else getattr(usage, name, None)
        if value is None:
            continue
        if not isinstance(what, str):
            add(value, what, to)
        elif isinstance(value, int):
            to[what] = to.get(what, 0) + value


def take(usage: Any, names: Names, into: dict[str, int]) -> None:
    """Take over what a usage tells: later sums replace earlier ones, what is missing does not."""
    told: dict[str, int] = {}
    add(usage, names, told)
    into.update(told)
    if names is ANTHROPIC and Attr.INPUT_TOKENS in told:
        # The conventions' input tokens include cached ones, Anthropic's do not.
        into[Attr.INPUT_TOKENS] += into.get(Attr.CACHE_READ_TOKENS, 0)
        into[Attr.INPUT_TOKENS] += into.get(Attr.CACHE_WRITE_TOKENS, 0)


def of_anybody(usage: Any) -> dict[str, int]:
    """Return what a usage tells that may be anybody's; of two names for the same, the first's."""
    told: dict[str, int] = {}
    # Anthropic's come first: input tokens by their name get the cached ones that are beside them.
    for names in (ANTHROPIC, LANGCHAIN, OPENAI_CHAT, OPENAI_RESPONSES):
        by_these: dict[str, int] = {}
        take(usage, names, by_these)
        told = by_these | told
    return told


def add_up(more: Mapping[str, int], to: dict[str, int]) -> None:
    """Add the tokens of another message, or of a part of the call."""
    for key, number in more.items():
        to[key] = to.get(key, 0) + number

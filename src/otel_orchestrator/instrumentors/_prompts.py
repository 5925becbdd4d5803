"""A salted hash of a prompt: tells which prompts of this process are equal, and nothing else."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

# Never written down.
_SALT: Final = secrets.token_bytes(16)


def prompt_hash(model: str, prompt: Any) -> str:
    """Return a salted hash of what a model is asked; ids of messages do not count."""
    digest = hashlib.blake2b(model.encode(), key=_SALT, digest_size=8)
    stack = [prompt]
    while stack:
        item = stack.pop()
        if hasattr(item, "to_messages"):
            item = item.to_messages()
        if isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, str):  # what LangChain makes a message of a person
            digest.update(repr(("human", item, [])).encode())
        elif hasattr(item, "content"):
            calls = [(c.get("name"), c.get("args")) for c in getattr(item, "tool_calls", ())]
            digest.update(repr((item.type, item.content, calls)).encode())
        else:
            digest.update(repr(item).encode())
    return digest.hexdigest()

"""A salted hash of a request: tells which ones of this process are equal, and nothing else.

Equal are those that one answer would do for: messages, and whatever else determines the answer, be
it tools, the format, the temperature, or what the next version of an API will think of. So all
options count but those that are known to change nothing about it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

# Never written down.
_SALT: Final = secrets.token_bytes(16)

# How an answer is delivered, retried, billed, kept or traced; and the model, which counts anyway.
_NO_MATTER: Final = frozenset(
    """
    model model_name stream streaming stream_options stream_usage disable_streaming
    timeout request_timeout default_request_timeout max_retries extra_headers
    user user_id metadata store service_tier safety_identifier
    prompt_cache_key prompt_cache_retention cache_control
    input messages config callbacks tags run_name run_id
    """.split()
)


def prompt_hash(model: str, prompt: Any, options: Mapping[str, Any]) -> str:
    """Return a salted hash of what a model is asked, and how.

    Args:
        model: that is asked.
        prompt: text, messages, or lists of them; ids of messages do not count.
        options: the request's further ones by name; those that are None were not given.
    """
    digest = hashlib.blake2b(model.encode(), key=_SALT, digest_size=8)
    counting = {k: v for k, v in options.items() if v is not None and k not in _NO_MATTER}
    digest.update(json.dumps(counting, sort_keys=True, default=repr).encode())
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

"""Options that several instrumentors take: providers, and what is recorded of LLM calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .. import metrics
from ..errors import OrchestratorError
from ..lifecycle import spans
from ..llm import content, prices

_users: Final[set[str]] = set()

LLM_OPTIONS: Final = frozenset({"capture_content", "content_max_bytes", "redact", "prices"})


def use_providers(options: Mapping[str, Any]) -> None:
    """Take `tracer_provider` and `meter_provider` from an instrumentor's options, where given."""
    if (tracer_provider := options.get("tracer_provider")) is not None:
        spans.use_provider(tracer_provider)
    if (meter_provider := options.get("meter_provider")) is not None:
        metrics.use_provider(meter_provider)


def use_llm_options(user: str, options: Mapping[str, Any]) -> None:
    """Take what an instrumentor of LLM calls, the user, may be given: `LLM_OPTIONS`."""
    redact = options.get("redact")
    if redact is not None and not callable(redact):
        raise OrchestratorError("redact has to be a function from a text to a text")
    chosen = {
        "capture": options.get("capture_content"),
        "max_bytes": options.get("content_max_bytes"),
        "redact": redact,
    }
    _users.add(user)
    if any(value is not None for value in chosen.values()):
        content.use(**chosen)
    else:
        content.use_environment()
    if options.get("prices") is not None:
        prices.use(options["prices"])


def forget_llm_options(user: str) -> None:
    """Record nothing of LLM calls that was asked for in code, once the last user is off."""
    _users.discard(user)
    if not _users:
        content.use()
        prices.use(None)

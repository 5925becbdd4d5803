"""The Anthropic SDK used directly: messages, in every form they have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from ..llm.chat import ChatCall
from ..semconv import Attr
from . import _sdk
from ._patching import Patch
from ._providers import use_llm_options, use_providers

__all__ = ("AnthropicInstrumentor",)


class AnthropicInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Instruments the Anthropic SDK."""

    _patches: tuple[Patch, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what `opentelemetry-instrument` checks before it activates this."""
        return ("anthropic >= 0.125",)

    def _instrument(self, **kwargs: Any) -> None:
        import anthropic

        use_providers(kwargs)
        use_llm_options("anthropic", kwargs)
        clients = ("Anthropic", "AsyncAnthropic")
        self._patches = _sdk.instrument("anthropic", anthropic, clients, (_MESSAGES,))

    def _uninstrument(self, **kwargs: Any) -> None:
        _sdk.uninstrument("anthropic", self._patches)
        self._patches = ()


def _provider(client: Any) -> str:
    name = type(client).__name__
    if "Bedrock" in name:
        return "aws.bedrock"
    return "gcp.vertex_ai" if "Vertex" in name else "anthropic"


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _read_message(call: ChatCall, message: Any) -> None:
    _read_start(call, message)
    _read_usage(call, _get(message, "usage"))
    _read_reason(call, _get(message, "stop_reason"))
    if call.answer is not None:
        call.answer.message(message)


def _read_start(call: ChatCall, message: Any) -> None:
    for key, name in ((Attr.RESPONSE_MODEL, "model"), (Attr.RESPONSE_ID, "id")):
        if isinstance(value := _get(message, name), str) and value:
            call.response[key] = value


def _read_reason(call: ChatCall, reason: Any) -> None:
    if isinstance(reason, str):
        call.response[Attr.FINISH_REASONS] = [reason]


def _read_usage(call: ChatCall, usage: Any) -> None:
    """Read tokens; later sums replace earlier ones, those that are missing do not."""
    seen = call.usage
    read = _get(usage, "cache_read_input_tokens")
    written = _get(usage, "cache_creation_input_tokens")
    for key, value in (
        (Attr.OUTPUT_TOKENS, _get(usage, "output_tokens")),
        (Attr.CACHE_READ_TOKENS, read),
        (Attr.CACHE_WRITE_TOKENS, written),
        (Attr.REASONING_TOKENS, _get(_get(usage, "output_tokens_details"), "thinking_tokens")),
    ):
        if isinstance(value, int):
            seen[key] = value
    if isinstance(plain := _get(usage, "input_tokens"), int):
        # The conventions' input tokens include cached ones, Anthropic's do not.
        cached = seen.get(Attr.CACHE_READ_TOKENS, 0) + seen.get(Attr.CACHE_WRITE_TOKENS, 0)
        seen[Attr.INPUT_TOKENS] = plain + cached


_TEXT: Final = "text_delta"


def _read_event(call: ChatCall, event: Any) -> None:
    kind = event.type
    if kind == "content_block_delta":
        call.chunks.came()
        if call.answer is not None and event.delta.type == _TEXT:
            call.answer.piece(event.delta.text)
    elif kind == "message_start":
        _read_start(call, event.message)
        _read_usage(call, event.message.usage)
    elif kind == "message_delta":
        _read_usage(call, event.usage)
        _read_reason(call, event.delta.stop_reason)


_MESSAGES: Final = _sdk.Dialect(
    paths=frozenset({"/v1/messages"}),
    prompt=("messages", "system"),
    provider=_provider,
    read_whole=_read_message,
    read_chunk=_read_event,
)

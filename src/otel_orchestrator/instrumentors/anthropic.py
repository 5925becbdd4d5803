"""The Anthropic SDK used directly: messages, in every form they have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from ..llm import tokens
from ..llm.chat import ChatCall
from ..llm.parts import get
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


def _read_message(call: ChatCall, message: Any) -> None:
    _sdk.read_envelope(call, message)
    tokens.take(get(message, "usage"), tokens.ANTHROPIC, call.usage)
    _read_reason(call, get(message, "stop_reason"))
    if call.answer is not None:
        call.answer.message(message)


def _read_reason(call: ChatCall, reason: Any) -> None:
    if isinstance(reason, str):
        call.response[Attr.FINISH_REASONS] = [reason]


_TEXT: Final = "text_delta"


def _read_event(call: ChatCall, event: Any) -> None:
    kind = event.type
    if kind == "content_block_delta":
        call.chunks.came()
        if call.answer is not None and event.delta.type == _TEXT:
            call.answer.piece(event.delta.text)
    elif kind == "message_start":
        _sdk.read_envelope(call, event.message)
        tokens.take(event.message.usage, tokens.ANTHROPIC, call.usage)
    elif kind == "message_delta":
        tokens.take(event.usage, tokens.ANTHROPIC, call.usage)
        _read_reason(call, event.delta.stop_reason)


_MESSAGES: Final = _sdk.Dialect(
    paths=frozenset({"/v1/messages"}),
    prompt=("messages", "system"),
    provider=_provider,
    read_whole=_read_message,
    read_chunk=_read_event,
)

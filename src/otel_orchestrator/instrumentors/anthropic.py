"""The Anthropic SDK used directly: messages, in every form they have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from ..llm import content, tokens
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
        call.answer.message(message, get(message, "stop_reason"))


def _read_reason(call: ChatCall, reason: Any) -> None:
    if isinstance(reason, str):
        call.response[Attr.FINISH_REASONS] = [reason]


def _read_event(call: ChatCall, event: Any) -> None:
    kind = event.type
    if kind == "content_block_delta":
        call.chunks.came()
        if call.answer is not None:
            _gather(call.answer, event, get(event, "delta"))
    elif kind == "content_block_start":
        if call.answer is not None:
            _gather(call.answer, event, get(event, "content_block"))
    elif kind == "message_start":
        message = get(event, "message")
        _sdk.read_envelope(call, message)
        tokens.take(get(message, "usage"), tokens.ANTHROPIC, call.usage)
    elif kind == "message_delta":
        tokens.take(get(event, "usage"), tokens.ANTHROPIC, call.usage)
        _read_reason(call, get(get(event, "delta"), "stop_reason"))
    elif kind == "error":
        told = get(get(event, "error"), "type")
        call.failure = told if isinstance(told, str) else "_OTHER"


def _gather(answer: content.Answer, event: Any, piece: Any) -> None:
    kind = get(piece, "type")
    if kind in ("tool_use", "input_json_delta"):
        call_id, name = get(piece, "id"), get(piece, "name")
        answer.piece_of_call(get(event, "index"), call_id, name, get(piece, "partial_json"))
    elif kind in ("text", "text_delta"):
        answer.piece(get(piece, "text"))
    elif kind in ("thinking", "thinking_delta"):
        answer.piece(get(piece, "thinking"), content.REASONING)


_MESSAGES: Final = _sdk.Dialect(
    paths=frozenset({"/v1/messages"}),
    prompt=("messages", "system"),
    provider=_provider,
    read_whole=_read_message,
    read_chunk=_read_event,
)

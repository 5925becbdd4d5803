"""The OpenAI SDK used directly: chat completions and responses, in every form they have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from ..llm import content, responses, tokens
from ..llm.chat import ChatCall
from ..llm.parts import get
from ..semconv import Attr
from . import _sdk
from ._patching import Patch
from ._providers import use_llm_options, use_providers

__all__ = ("OpenAIInstrumentor",)

# OpenAI-compatible services that the conventions name.
_HOSTS: Final = {
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}


class OpenAIInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Instruments the OpenAI SDK."""

    _patches: tuple[Patch, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what `opentelemetry-instrument` checks before it activates this."""
        return ("openai >= 1.109.1",)

    def _instrument(self, **kwargs: Any) -> None:
        import openai

        use_providers(kwargs)
        use_llm_options("openai", kwargs)
        clients = ("OpenAI", "AsyncOpenAI")
        self._patches = _sdk.instrument("openai", openai, clients, (_CHAT, _RESPONSES))

    def _uninstrument(self, **kwargs: Any) -> None:
        _sdk.uninstrument("openai", self._patches)
        self._patches = ()


def _provider(client: Any) -> str:
    name = type(client).__name__
    if "Bedrock" in name:
        return "aws.bedrock"
    if "Azure" in name:
        return "azure.ai.openai"
    return _HOSTS.get(client.base_url.host, "openai")


def _read_completion(call: ChatCall, answer: Any) -> None:
    _sdk.read_envelope(call, answer)
    choices = get(answer, "choices") or ()
    if reasons := [r for c in choices if isinstance(r := get(c, "finish_reason"), str)]:
        call.response[Attr.FINISH_REASONS] = reasons
    tokens.take(get(answer, "usage"), tokens.OPENAI_CHAT, call.usage)
    if call.answer is not None:
        for choice in choices:
            call.answer.message(get(choice, "message"), get(choice, "finish_reason"))


_DELTAS: Final = ("content", "tool_calls", "refusal", "reasoning_content", "reasoning")


def _read_completion_chunk(call: ChatCall, chunk: Any) -> None:
    for choice in chunk.choices or ():
        delta = choice.delta  # which is None where Azure only says what its filter thinks
        if delta is not None and (
            delta.content or any(getattr(delta, name, None) for name in _DELTAS)
        ):
            call.chunks.came()
            if call.answer is not None:
                _gather(call.answer, delta)
        if reason := choice.finish_reason:
            reasons = call.response.get(Attr.FINISH_REASONS, [])
            assert isinstance(reasons, list)
            call.response[Attr.FINISH_REASONS] = [*reasons, reason]
            _sdk.read_envelope(call, chunk)
    if (usage := chunk.usage) is not None:
        _sdk.read_envelope(call, chunk)
        tokens.take(usage, tokens.OPENAI_CHAT, call.usage)


def _gather(answer: content.Answer, delta: Any) -> None:
    answer.piece(get(delta, "content"))
    for tool in get(delta, "tool_calls") or ():
        function = get(tool, "function")
        name, arguments = get(function, "name"), get(function, "arguments")
        answer.piece_of_call(get(tool, "index"), get(tool, "id"), name, arguments)


def _read_response(call: ChatCall, answer: Any) -> None:
    _sdk.read_envelope(call, answer)
    tokens.take(get(answer, "usage"), tokens.OPENAI_RESPONSES, call.usage)
    if (reason := responses.reason_of(answer)) is not None:
        call.response[Attr.FINISH_REASONS] = [reason]
    if get(answer, "status") == "failed":
        _read_failure(call, get(answer, "error"))
    if call.answer is not None and (output := get(answer, "output")):
        call.answer.message({"content": output}, reason)


def _read_failure(call: ChatCall, error: Any) -> None:
    code = get(error, "code")
    call.failure = code if isinstance(code, str) and code else "_OTHER"


def _read_event(call: ChatCall, event: Any) -> None:
    kind = event.type or ""
    if kind.endswith(".delta"):
        call.chunks.came()
        if call.answer is not None and kind == "response.output_text.delta":
            call.answer.piece(get(event, "delta"))
    elif kind in ("response.completed", "response.incomplete", "response.failed"):
        _read_response(call, get(event, "response"))
    elif kind == "error":
        _read_failure(call, event)


_CHAT: Final = _sdk.Dialect(
    paths=frozenset({"/chat/completions"}),
    prompt=("messages", "instructions"),
    provider=_provider,
    read_whole=_read_completion,
    read_chunk=_read_completion_chunk,
)
_RESPONSES: Final = _sdk.Dialect(
    paths=frozenset({"/responses"}),
    prompt=("input", "instructions"),
    provider=_provider,
    read_whole=_read_response,
    read_chunk=_read_event,
)

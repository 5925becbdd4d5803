"""LangChain: `chat {model}` around every chat model call, `execute_tool {tool}` around every tool.

The public methods that all calls pass are wrapped on the base classes. The span is current only
while the model or the tool runs: HTTP attempts, retries and the SDK's own spans nest below it, and
the loop that consumes a stream runs outside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from opentelemetry.util.types import AttributeValue

from .. import chat, content, semconv, spans, wrapping
from .._guard import guarded, log_once_a_minute
from ..chat import ChatCall
from ..semconv import Attr, Metric
from ..spans import Operation
from ._patching import Patch, patch, unpatch
from ._prompts import prompt_hash
from ._providers import forget_llm_options, use_llm_options, use_providers

__all__ = ("LangChainInstrumentor",)

# LangChain's `_llm_type` to the conventions' `gen_ai.provider.name`, where they differ.
_PROVIDERS: Final = {
    "openai-chat": "openai",
    "azure-openai-chat": "azure.ai.openai",
    "anthropic-chat": "anthropic",
    "chat-google-generative-ai": "gcp.gemini",
    "vertexai": "gcp.vertex_ai",
    "amazon_bedrock_converse_chat": "aws.bedrock",
    "amazon_bedrock_chat": "aws.bedrock",
    "mistralai-chat": "mistral_ai",
    "groq-chat": "groq",
    "chat-deepseek": "deepseek",
    "xai-chat": "x_ai",
    "chat-ollama": "ollama",
}
_BASE_URLS: Final = ("openai_api_base", "anthropic_api_url", "base_url")


class LangChainInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Instruments LangChain's chat models and tools."""

    _patches: tuple[Patch, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what `opentelemetry-instrument` checks before it activates this."""
        return ("langchain-core >= 1.0",)

    def _instrument(self, **kwargs: Any) -> None:
        from langchain_core.language_models.chat_models import BaseChatModel
        from langchain_core.tools.base import BaseTool

        use_providers(kwargs)
        use_llm_options(kwargs)
        wanted: tuple[tuple[type[Any], str, Any, Any], ...] = (
            (BaseChatModel, "generate", _begin_generate, _observe_result),
            (BaseChatModel, "agenerate", _begin_generate, _observe_result),
            (BaseChatModel, "stream", _begin_stream, _observe_chunk),
            (BaseChatModel, "astream", _begin_stream, _observe_chunk),
            (BaseTool, "run", _begin_tool, None),
            (BaseTool, "arun", _begin_tool, None),
        )
        patches = []
        for owner, name, begin, observe in wanted:
            if hasattr(owner, name):
                patches.append(patch(owner, name, _wrapping(begin, observe)))
            else:
                log_once_a_minute(
                    name, "langchain-core has no %s.%s: its calls have no span", owner, name
                )
        self._patches = tuple(patches)

    def _uninstrument(self, **kwargs: Any) -> None:
        unpatch(self._patches)
        forget_llm_options()
        self._patches = ()


def _wrapping(begin: Any, observe: Any) -> Callable[[Any], Any]:
    return lambda original: wrapping.wrap(original, begin, observe)


def _begin_generate(model: Any, *given: Any, **kwargs: Any) -> Operation | None:
    # A model that cannot stream answers `stream` by `invoke`: that call has its span already. A
    # model called inside another's has its own, so it is the instance that counts.
    under_way = chat.under_way()
    if under_way is not None and under_way.owner is model:
        return None
    prompt = given[0] if given else kwargs.get("messages")
    return _begin(model, prompt, kwargs, streams=bool(kwargs.get("stream")))


def _begin_stream(model: Any, *given: Any, **kwargs: Any) -> Operation | None:
    return _begin(model, given[0] if given else kwargs.get("input"), kwargs, streams=True)


def _begin(
    model: Any, prompt: Any, kwargs: Mapping[str, Any], *, streams: bool
) -> Operation | None:
    with guarded("starting a chat span"):
        name = _model_name(model, kwargs)
        attributes = _address(model)
        if streams:
            attributes[Attr.REQUEST_STREAM] = True
        with guarded("hashing a prompt"):
            attributes[Attr.PROMPT_HASH] = prompt_hash(name, prompt)
        return chat.begin(
            name,
            _provider(model),
            owner=model,
            attributes=attributes,
            prompt=lambda: content.Prompt(prompt),
        )
    return None


def _model_name(model: Any, kwargs: Mapping[str, Any]) -> str:
    for name in (
        kwargs.get("model"),
        getattr(model, "model_name", None),
        getattr(model, "model", None),
        getattr(model, "model_id", None),
    ):
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def _provider(model: Any) -> str:
    kind = str(getattr(model, "_llm_type", "") or type(model).__name__)
    return _PROVIDERS.get(kind, kind)


def _address(model: Any) -> dict[str, AttributeValue]:
    for name in _BASE_URLS:
        url = getattr(model, name, None)
        if isinstance(url, str) and url:
            parts = urlsplit(url)
            if parts.hostname is None:
                return {}
            port = parts.port or (443 if parts.scheme == "https" else 80)
            return {Attr.SERVER_ADDRESS: parts.hostname, Attr.SERVER_PORT: port}
    return {}


def _observe_result(call: Operation, result: Any) -> None:
    if isinstance(call, ChatCall):
        for generations in result.generations:
            for generation in generations[:1]:
                _read_message(call, generation.message)
                if call.answer is not None:
                    call.answer.message(generation.message)


def _observe_chunk(call: Operation, chunk: Any) -> None:
    if not isinstance(call, ChatCall):
        return
    if chunk.content or getattr(chunk, "tool_call_chunks", None):
        call.content_chunk()
        if call.answer is not None:
            call.answer.piece(chunk.text)
    if chunk.usage_metadata is not None or chunk.response_metadata:
        _read_message(call, chunk)


def _read_message(call: ChatCall, message: Any) -> None:
    usage = getattr(message, "usage_metadata", None) or {}
    into = usage.get("input_token_details") or {}
    out_of = usage.get("output_token_details") or {}
    for key, value in (
        (Attr.INPUT_TOKENS, usage.get("input_tokens")),
        (Attr.OUTPUT_TOKENS, usage.get("output_tokens")),
        (Attr.CACHE_READ_TOKENS, into.get("cache_read")),
        (Attr.CACHE_WRITE_TOKENS, into.get("cache_creation")),
        (Attr.REASONING_TOKENS, out_of.get("reasoning")),
    ):
        if isinstance(value, int):
            call.usage[key] = call.usage.get(key, 0) + value
    # LangChain's own mark of an answer out of its cache; it is put on the very message that the
    # first to ask may still be about to return.
    if usage.get("total_cost") == 0 and not call.attempts:
        call.response[Attr.LLM_CACHED] = True
    told = getattr(message, "response_metadata", None) or {}
    _take(call, Attr.RESPONSE_MODEL, told.get("model_name") or told.get("model"))
    _take(call, Attr.RESPONSE_ID, told.get("id"))
    reason = told.get("finish_reason") or told.get("stop_reason")
    if isinstance(reason, str):
        call.response[Attr.FINISH_REASONS] = [reason]


def _take(call: ChatCall, key: str, value: Any) -> None:
    if isinstance(value, str) and value:
        call.response[key] = value


def _begin_tool(tool: Any, *_: Any, **kwargs: Any) -> Operation | None:
    with guarded("starting a tool span"):
        measured: dict[str, AttributeValue] = {
            Attr.OPERATION: semconv.EXECUTE_TOOL,
            Attr.TOOL_NAME: str(tool.name),
        }
        attributes: dict[str, AttributeValue] = {**measured, Attr.TOOL_TYPE: "function"}
        if isinstance(call_id := kwargs.get("tool_call_id"), str):
            attributes[Attr.TOOL_CALL_ID] = call_id
        return spans.start(
            f"{semconv.EXECUTE_TOOL} {tool.name}",
            state=semconv.WORKING,
            category=semconv.TOOL,
            attributes=attributes,
            metric=Metric.TOOL_DURATION,
            measured=measured,
        )
    return None

"""LangChain: `chat {model}` around every chat model call, `execute_tool {tool}` around every tool.

The public methods that all calls pass are wrapped on the base classes. The span is current only
while the model or the tool runs: HTTP attempts, retries and the SDK's own spans nest below it, and
the loop that consumes a stream runs outside.

A model may stream although it was asked by `invoke`: if it has `streaming=True`, or because
somebody listens, as LangGraph does for `stream_mode="messages"`. Its run manager is told of every
chunk in every case, so that is where chunks are seen.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)
from opentelemetry.util.types import AttributeValue

from .. import semconv
from .._guard import guarded
from ..lifecycle import spans, waits, wrapping
from ..lifecycle.spans import Operation
from ..llm import chat, content, responses, tokens
from ..llm.chat import ChatCall
from ..semconv import Attr, Metric
from . import _pools, _retries
from ._patching import Around, Patch, Seam, around, patch_all, unpatch
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
_NO_CALLS: Final = "some calls of chat models have no span of their own"
_NO_CACHE: Final = "an answer out of a cache looks like a call"
_NO_CHUNKS: Final = "models that stream when they are invoked tell no chunks"
_NO_LIMITS: Final = "waiting for a rate limiter counts as the model's work"
_NO_TOOLS: Final = "some tool calls have no span of their own"
_BASE_URLS: Final = ("openai_api_base", "anthropic_api_url", "base_url")


class LangChainInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Instruments LangChain's chat models and tools."""

    _patches: tuple[Patch, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what `opentelemetry-instrument` checks before it activates this."""
        return ("langchain-core >= 1.0",)

    def _instrument(self, **kwargs: Any) -> None:
        from langchain_core.callbacks import manager
        from langchain_core.language_models.chat_models import BaseChatModel
        from langchain_core.rate_limiters import InMemoryRateLimiter
        from langchain_core.tools.base import BaseTool

        use_providers(kwargs)
        use_llm_options("langchain", kwargs)
        runs = (
            getattr(manager, "CallbackManagerForLLMRun", None),
            getattr(manager, "AsyncCallbackManagerForLLMRun", None),
        )
        whole = _wrapping(_begin_generate, _observe_result)
        streamed = _wrapping(_begin_stream, _observe_chunk)
        tool = _wrapping(_begin_tool, _observe_tool)
        asked = functools.partial(around, _asking)
        seams = [
            Seam(BaseChatModel, "generate", whole, _NO_CALLS),
            Seam(BaseChatModel, "agenerate", whole, _NO_CALLS),
            Seam(BaseChatModel, "stream", streamed, _NO_CALLS),
            Seam(BaseChatModel, "astream", streamed, _NO_CALLS),
            Seam(BaseChatModel, "_convert_cached_generations", _seeing_cached, _NO_CACHE),
            *(Seam(run, "on_llm_new_token", _seeing_tokens, _NO_CHUNKS) for run in runs),
            Seam(InMemoryRateLimiter, "acquire", asked, _NO_LIMITS),
            Seam(InMemoryRateLimiter, "aacquire", asked, _NO_LIMITS),
            Seam(BaseTool, "run", tool, _NO_TOOLS),
            Seam(BaseTool, "arun", tool, _NO_TOOLS),
        ]
        if any(hasattr(run, "on_stream_event") for run in runs):  # not in all of langchain-core 1
            seams += [Seam(run, "on_stream_event", _seeing_events, _NO_CHUNKS) for run in runs]
        seams += [*_pools.seams(), *_retries.seams()]
        self._patches = patch_all("langchain-core", seams)
        self._patches += patch_all("langchain", _retries.middleware_seams())

    def _uninstrument(self, **kwargs: Any) -> None:
        unpatch(self._patches)
        forget_llm_options("langchain")
        self._patches = ()


def _wrapping(begin: Any, observe: Any) -> Callable[[Any], Any]:
    return lambda original: wrapping.wrap(original, begin, observe)


# The hot path: passing on `*args, **kwargs` takes as long as all that is done for a token.
def _seeing_tokens(original: Any) -> Any:
    wrapper: Any
    if inspect.iscoroutinefunction(original):

        async def wrapper(manager: Any, /, token: Any, *, chunk: Any = None, **kwargs: Any) -> Any:
            _see_token(token, chunk)
            if kwargs:
                return await original(manager, token, chunk=chunk, **kwargs)
            return await original(manager, token, chunk=chunk)

    else:

        def wrapper(manager: Any, /, token: Any, *, chunk: Any = None, **kwargs: Any) -> Any:
            _see_token(token, chunk)
            if kwargs:
                return original(manager, token, chunk=chunk, **kwargs)
            return original(manager, token, chunk=chunk)

    return functools.wraps(original)(wrapper)


def _seeing_events(original: Any) -> Any:
    wrapper: Any
    if inspect.iscoroutinefunction(original):

        async def wrapper(manager: Any, /, event: Any, **kwargs: Any) -> Any:
            _see_event(event)
            return await original(manager, event, **kwargs)

    else:

        def wrapper(manager: Any, /, event: Any, **kwargs: Any) -> Any:
            _see_event(event)
            return original(manager, event, **kwargs)

    return functools.wraps(original)(wrapper)


# The names of these are a call's own, too: `model.invoke(prompt, model="another")`.
def _begin_generate(model: Any, /, *given: Any, **kwargs: Any) -> Operation | None:
    # A model that cannot stream answers `stream` by `invoke`: that call has its span already. A
    # model called inside another's has its own, so it is the instance that counts.
    under_way = chat.under_way()
    if under_way is not None and under_way.owner is model:
        return None
    prompt = given[0] if given else kwargs.get("messages")
    if len(given) > 1:
        kwargs["stop"] = given[1]
    return _begin(model, prompt, kwargs, streams=bool(kwargs.get("stream")))


def _begin_stream(model: Any, /, *given: Any, **kwargs: Any) -> Operation | None:
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
            # What the model is set up with, and what this call says otherwise.
            options = {**getattr(model, "_identifying_params", {}), **kwargs}
            attributes[Attr.PROMPT_HASH] = prompt_hash(name, prompt, options)
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


class _Asking(Around):
    """A call asks its model's rate limiter, which makes it wait until it may go on."""

    __slots__ = ("_asked_ns", "_call")

    def __init__(self, call: ChatCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(args, kwargs)
        self._call = call
        self._asked_ns = 0

    def begins(self) -> None:
        """Note when it asks."""
        self._asked_ns = spans.now_ns()

    def ends(self, error: BaseException | None) -> None:
        """Record the wait, however it ended."""
        until_ns = spans.now_ns()
        if until_ns - self._asked_ns < wrapping.NO_HOLD_NS:
            return  # it had room: that is what asking takes
        self._call.rate_limited_ns += until_ns - self._asked_ns
        waits.record(semconv.RATE_LIMIT, self._asked_ns, until_ns, parent=self._call)

    def gave(self, result: Any) -> None:
        """Whether it may go on is the model's business."""


def _asking(*args: Any, **kwargs: Any) -> _Asking | None:
    call = chat.under_way()
    return None if call is None else _Asking(call, args, kwargs)


def _seeing_cached(original: Any) -> Any:
    # LangChain's own mark of such an answer, a cost of 0, is put on the very message that the first
    # to ask may still be about to return.
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        answers = original(*args, **kwargs)
        with guarded("seeing an answer out of a cache"):
            if (call := chat.under_way()) is not None:
                call.from_cache.extend(answers)
        return answers

    return wrapper


def _observe_result(call: Operation, result: Any) -> None:
    if not isinstance(call, ChatCall):
        return
    answers = [generations[0] for generations in result.generations if generations]
    cached = {id(answer) for answer in call.from_cache}
    call.is_cached = bool(answers) and all(id(answer) in cached for answer in answers)
    for answer in answers:
        _read_message(call, answer.message, is_made=id(answer) not in cached)
        if call.answer is not None:
            call.answer.message(answer.message, _reason_of(answer.message))


def _observe_chunk(call: Operation, chunk: Any) -> None:
    if not isinstance(call, ChatCall):
        return
    if call.answer is not None:
        call.answer.piece(chunk.text)
        for tool in getattr(chunk, "tool_call_chunks", None) or ():
            call.answer.piece_of_call(tool["index"], tool["id"], tool["name"], tool["args"])
    if getattr(chunk, "usage_metadata", None) is not None or chunk.response_metadata:
        _read_message(call, chunk)


# What a block of content, or an event, has besides what it says.
_AROUND: Final = frozenset({"type", "index", "id"})
# Where models put what is neither content nor a tool call, but is written all the same.
_BESIDE: Final = ("reasoning_content", "reasoning", "refusal", "function_call")


def _see_token(token: Any, chunk: Any) -> None:
    try:
        if (call := chat.under_way()) is None:
            return
        # A model of somebody's own may tell its words and no chunks.
        message = getattr(chunk, "message", None)
        told = token if message is None else message.content
        has_content = told if isinstance(told, str) else any(map(_says_something, told or ()))
        if has_content or (message is not None and _says_beside(message)):
            call.is_told_tokens = True
            call.chunks.came()
    except Exception:  # a `with` block around it costs more than all else here
        with guarded("seeing a token"):
            raise


def _see_event(event: Any) -> None:
    try:
        call = chat.under_way()
        # Some models tell their tokens as well, and each of them before its event.
        if call is None or call.is_told_tokens:
            return
        opens = event.get("event") == "content-block-start"
        if _says_something(event.get("delta")) or (opens and _says_something(event.get("content"))):
            call.chunks.came()
    except Exception:  # as above
        with guarded("seeing an event"):
            raise


def _says_beside(message: Any) -> bool:
    beside = message.additional_kwargs
    return bool(getattr(message, "tool_call_chunks", None)) or (
        bool(beside) and any(beside.get(name) for name in _BESIDE)
    )


def _says_something(block: Any) -> bool:
    # Many a model opens and closes a block by one that is empty.
    if not isinstance(block, dict):
        return bool(block)
    return any(value and key not in _AROUND for key, value in block.items())


def _read_message(call: ChatCall, message: Any, *, is_made: bool = True) -> None:
    if is_made:
        _read_usage(call, message)
    told = getattr(message, "response_metadata", None) or {}
    _take(call, Attr.RESPONSE_MODEL, told.get("model_name") or told.get("model"))
    _take(call, Attr.RESPONSE_ID, told.get("id"))
    if (reason := _reason_of(message)) is not None:
        call.response[Attr.FINISH_REASONS] = [reason]


def _reason_of(message: Any) -> str | None:
    return responses.reason_of(getattr(message, "response_metadata", None))


def _read_usage(call: ChatCall, message: Any) -> None:
    if usage := getattr(message, "usage_metadata", None):
        tokens.add(usage, tokens.LANGCHAIN, call.usage)


def _take(call: ChatCall, key: str, value: Any) -> None:
    if isinstance(value, str) and value:
        call.response[key] = value


def _begin_tool(tool: Any, /, *_: Any, **kwargs: Any) -> Operation | None:
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


def _observe_tool(call: Operation, result: Any) -> None:
    from langchain_core.messages import ToolMessage

    # What the tool raised it has made a message of: `handle_tool_error`, `handle_validation_error`.
    if isinstance(result, ToolMessage) and result.status == semconv.ERROR:
        call.end(semconv.ERROR)

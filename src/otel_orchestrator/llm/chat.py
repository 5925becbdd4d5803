"""One logical chat call: its span, its attempts, its chunks and tokens, whoever makes it.

LangChain, the OpenAI and Anthropic SDKs and `llm_call()` all begin their calls here, so that a call
that passes several of them is one span, and its tokens are counted once. What decides is the
identity of the call, never a switch for a whole context: a request is part of a call that is under
way if that call's model object holds the client (`ChatCall.is_made_by`), or asks for the same
model (`begin`); and `foreign_span` says whether another instrumentation made this call's span.
Other instrumentations are told in their own words that a call has its span (`announcing`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from .. import metrics, runs, semconv
from .._guard import guarded
from ..lifecycle import spans
from ..lifecycle.collecting import end_late, is_collecting
from ..lifecycle.spans import Operation
from ..semconv import Attr, Metric, Outcome
from . import announcing, content, prices, tokens
from .holding import Holds
from .responses import Chunks

_CALL_KEY: Final = otel_context.create_key("otel-orchestrator-chat-call")
_SEQUENCE_KEY: Final = otel_context.create_key("otel-orchestrator-attempts")

_CHAT_OPERATIONS: Final = frozenset({"chat", "generate_content", "text_completion"})
_RECENT: Final[OrderedDict[str, None]] = OrderedDict()
_RECENT_SIZE: Final = 1024


class Sequence:
    """The HTTP attempts of one request of a client: those that follow on each other."""

    __slots__ = ("call", "previous", "retries")

    def __init__(self, call: ChatCall) -> None:
        self.call = call
        self.retries = 0
        self.previous: Any = None


class ChatCall(Operation):
    """A chat call under way, and what its attempts and chunks have told so far.

    Attributes:
        model_name: the model that was asked for.
        owner: what makes the call: a LangChain model or an SDK's client; None by hand.
        holds: how its reader has kept chunks for more than a moment; one for all its parts.
        host: where its requests go, if that is known.
        from_cache: answers that came out of a cache of LangChain's.
        is_cached: all did, so that no model was asked; None as long as nobody has said.
        is_foreign: another instrumentation made the span, ends it, and counts the tokens.
        is_told_tokens: its model tells each token, so that nothing else needs to.
        failure: the `error.type` of an answer that says itself that the call failed.
        part_of: the call that this is a part of, which gets all that this one learns.
        usage: tokens by attribute.
        chunks: when those with content came.
        seen_usage: the same, as read from below; counts where nobody says better.
        response: attributes that the response told.
        attempts: HTTP requests so far.
        rate_limited_ns: waited for rate limits so far.
    """

    __slots__ = (
        "answer",
        "attempts",
        "chunks",
        "failure",
        "from_cache",
        "has_inner_usage",
        "holds",
        "host",
        "is_cached",
        "is_foreign",
        "is_told_tokens",
        "model_name",
        "outer",
        "owner",
        "part_of",
        "rate_limited_ns",
        "response",
        "seen_usage",
        "usage",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_name = ""
        self.owner: Any = None
        self.host: str | None = None
        self.outer: ChatCall | None = None
        self.part_of: ChatCall | None = None
        self.is_foreign = False
        self.has_inner_usage = False
        self.is_told_tokens = False
        self.from_cache: list[Any] = []
        self.is_cached: bool | None = None
        self.failure: str | None = None
        self.chunks = Chunks()
        self.usage: dict[str, int] = {}
        self.seen_usage: dict[str, int] = {}
        self.response: dict[str, AttributeValue] = {}
        self.answer: content.Answer | None = None
        self.attempts = 0
        self.holds = Holds(are_told=not spans.is_working(runs.current()))
        self.rate_limited_ns = 0

    def is_made_by(self, client: Any) -> bool:
        """Return whether the owner, a LangChain model, holds `client`: then it tells all itself."""
        if self.owner is None or self.owner is client:
            return False
        held = dict(vars(self.owner))
        held.update(getattr(self.owner, "__pydantic_private__", None) or {})
        return any(
            value is client or getattr(value, "_client", None) is client for value in held.values()
        )

    def learn(self, values: Mapping[str, AttributeValue]) -> None:
        """Add what a request below says of itself, where nobody has said it."""
        told = getattr(self.span, "attributes", None) or {}
        self.set({key: value for key, value in values.items() if key not in told})
        if self.host is None and isinstance(host := values.get(Attr.SERVER_ADDRESS), str):
            self.host = host

    def attempted(self) -> None:
        """Note that one more HTTP request is made for it."""
        self.attempts += 1
        if self.is_foreign and self.span.is_recording():
            # Whoever made the span may end it before the stream is over, and with it the call.
            self.span.set_attribute(Attr.LLM_ATTEMPTS, self.attempts)

    def held(self, start_ns: int, end_ns: int) -> None:
        """Note that its reader kept a chunk, and asked for no other meanwhile."""
        if is_collecting():
            end_late(partial(self.held, start_ns, end_ns))
            return
        self.chunks.held(end_ns - start_ns)
        self.holds.tell(self, start_ns, end_ns)

    @property
    def last_seen_ns(self) -> int:
        """When it last gave a sign of life."""
        return self.chunks.last_ns or self.start_ns

    def end(
        self,
        outcome: Outcome = semconv.OK,
        *,
        error_type: str | None = None,
        end_ns: int | None = None,
    ) -> None:
        """End the call; the span too, unless it is another's."""
        if self.end_ns:
            return
        with guarded("ending a chat call"):
            if self.failure is not None and outcome != semconv.ERROR:
                outcome, error_type = semconv.ERROR, self.failure
            if outcome == semconv.ABANDONED and Attr.FINISH_REASONS in self.response:
                outcome = semconv.OK  # who knows why the model stopped needs to read no further
            is_own = self.part_of is None and not self.is_foreign
            if is_own or is_collecting():  # which puts it off, and then comes back
                super().end(outcome, error_type=error_type, end_ns=end_ns)
                return
            self.end_ns = max(self.start_ns, spans.now_ns() if end_ns is None else end_ns)
            if self.is_inherited:
                return
            if self.part_of is not None:
                self._tell(self.part_of)
            else:
                self.response[Attr.OUTCOME] = outcome
                self.finishing()
            self.owner = self.outer = self.part_of = None

    def _tell(self, whole: ChatCall) -> None:
        """Give all that this part has learnt to the call that it is a part of."""
        tokens.add_up(self.usage or self.seen_usage, whole.seen_usage)
        whole.response.update(self.response)
        whole.failure = self.failure
        whole.is_cached = bool(self.is_cached) and whole.is_cached is not False
        whole.attempts += self.attempts
        whole.rate_limited_ns += self.rate_limited_ns
        if whole.owner is None or not whole.chunks.count:  # a LangChain model has seen them itself
            whole.chunks.add(self.chunks)
        whole.answer = self.answer
        for category, waited_ns in (self._short_waits or {}).items():
            whole.add_short_wait(category, waited_ns)

    def finishing(self) -> None:
        """Add what is only known at the end."""
        values: dict[str, AttributeValue] = {**self.response}
        if self.is_cached and not self.attempts:
            # Nobody was asked: the answer's tokens, chunks and time are those of the call before.
            values[Attr.LLM_CACHED] = True
            self._metric = None
        else:
            values.update(self._told())
            self._measure()
        if self.answer is not None:
            values.update(self.answer.attributes(self.response.get(Attr.FINISH_REASONS)))
        if self.span.is_recording():  # another's may have ended before
            self.span.set_attributes(values)
        _remember(self.response.get(Attr.RESPONSE_ID))
        # The span's context may outlive the call; models, clients and outer calls must not.
        self.owner = self.outer = None
        self.from_cache.clear()

    def _told(self) -> dict[str, AttributeValue]:
        values: dict[str, AttributeValue] = {}
        if not self.is_foreign:
            values.update(self._count_tokens())
        else:
            told = getattr(self.span, "attributes", None) or {}
            if self.span.is_recording():
                # Whose span it is counts the tokens, and says so only when it ends it, if at all.
                usage = self.usage or self.seen_usage
                values.update((k, v) for k, v in usage.items() if k not in told)
            elif Attr.INPUT_TOKENS not in told:
                self._count_tokens()
        if self.chunks.count:
            values[Attr.LLM_CHUNKS] = self.chunks.count
            values[Attr.TIME_TO_FIRST_CHUNK] = (self.chunks.first_ns - self.start_ns) / 1e9
            values[Attr.REQUEST_STREAM] = True  # it may stream without having been asked to
        if self.attempts:
            values[Attr.LLM_ATTEMPTS] = self.attempts
        if self.rate_limited_ns:
            values[Attr.LLM_RATE_LIMITED] = self.rate_limited_ns / 1e9
        return values

    def _count_tokens(self) -> dict[str, AttributeValue]:
        usage = self.usage or self.seen_usage
        # A model that only passes on what another chat call told has no tokens of its own.
        if not usage or (self.has_inner_usage and not self.attempts):
            return {}
        outer = self.outer
        while outer is not None:
            outer.has_inner_usage = True
            outer = outer.outer
        for key, kind in ((Attr.INPUT_TOKENS, "input"), (Attr.OUTPUT_TOKENS, "output")):
            if key in usage:
                measured = {**self.measured, Attr.TOKEN_TYPE: kind}
                metrics.record(Metric.TOKEN_USAGE, usage[key], measured, self.context)
        values: dict[str, AttributeValue] = {**usage}
        told = self.response.get(Attr.RESPONSE_MODEL)
        cost = prices.cost_of((told, self.model_name), usage)
        if cost is not None:
            values[Attr.LLM_COST] = cost
        return values

    def _measure(self) -> None:
        measured, context = self.measured, self.context
        if self.chunks.count and not self.is_foreign:
            seconds = (self.chunks.first_ns - self.start_ns) / 1e9
            metrics.record(Metric.LLM_TIME_TO_FIRST_CHUNK, seconds, measured, context)
            for gap_s in self.chunks.some_gaps_s():
                metrics.record(Metric.LLM_TIME_PER_OUTPUT_CHUNK, gap_s, measured, context)
        if self.attempts:
            metrics.record(Metric.LLM_ATTEMPTS, self.attempts, measured, context)
        if self.rate_limited_ns:
            metrics.record(Metric.LLM_RATE_LIMITED, self.rate_limited_ns / 1e9, measured, context)


def begin(
    model_name: str,
    provider: str | None,
    *,
    owner: Any = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    prompt: Callable[[], content.Prompt] | None = None,
    start_ns: int | None = None,
) -> ChatCall | Operation:
    """Start a chat call below the current context; its `context` is what it has to run in.

    Inside of another call to the same model it is a part of that one: a request by which an SDK
    does what a LangChain model or `llm_call()` says.

    Args:
        model_name: the model that is asked for.
        provider: `gen_ai.provider.name`.
        owner: the LangChain model or the client that makes the call.
        attributes: further ones, such as the server's address.
        prompt: what is sent, taken only where content is captured.
        start_ns: a start in the past, wall clock.
    """
    measured: dict[str, AttributeValue] = {
        Attr.OPERATION: semconv.CHAT,
        Attr.REQUEST_MODEL: model_name,
    }
    if provider is not None:
        measured[Attr.PROVIDER] = provider
    values: dict[str, AttributeValue] = {**measured, **(attributes or {})}
    if content.is_captured() and prompt is not None:
        with guarded("recording a prompt"):
            values.update(prompt().attributes())
    outer = under_way()
    foreign = None if outer is not None else foreign_span(model_name)
    call: ChatCall | Operation
    if outer is not None and outer.model_name == model_name:
        # Below whatever the program has put between the two.
        call = ChatCall(outer.span, otel_context.get_current(), spans.now_ns())
        call.part_of = outer
        call.holds = outer.holds
        outer.learn(values)
    elif foreign is not None:
        call = _adopt(foreign, values, measured)
    else:
        call = spans.start(
            f"{semconv.CHAT} {model_name}",
            state=semconv.WORKING,
            category=semconv.LLM,
            kind=SpanKind.CLIENT,
            attributes=values,
            metric=Metric.LLM_DURATION,
            measured=measured,
            start_ns=start_ns,
            make=ChatCall,
        )
    if isinstance(call, ChatCall):
        call.model_name = model_name
        call.owner = owner
        call.outer = outer
        host = values.get(Attr.SERVER_ADDRESS)
        call.host = host if isinstance(host, str) else None
        if content.is_captured():
            call.answer = content.Answer()
        if not call.is_foreign:
            call.context = announcing.announced(call.context)
        call.context = otel_context.set_value(_CALL_KEY, call, call.context)
        call.context = otel_context.set_value(_SEQUENCE_KEY, Sequence(call), call.context)
    return call


def _adopt(
    span: Span, values: Mapping[str, AttributeValue], measured: Mapping[str, AttributeValue]
) -> ChatCall:
    """Return a call whose span is another instrumentation's, with our marks on it."""
    told = getattr(span, "attributes", None) or {}
    span.set_attributes({key: value for key, value in values.items() if key not in told})
    span.set_attribute(Attr.STATE, semconv.WORKING)
    span.set_attribute(Attr.CATEGORY, semconv.LLM)
    if (run_id := runs.run_id_of()) is not None:
        span.set_attribute(Attr.RUN_ID, run_id)
    call = ChatCall(span, otel_context.get_current(), spans.now_ns(), None, measured)
    call.is_foreign = True
    return call


def under_way(context: Context | None = None) -> ChatCall | None:
    """Return the chat call that `context` (default: the current one) belongs to, while it lasts."""
    call = otel_context.get_value(_CALL_KEY, context)
    return call if isinstance(call, ChatCall) and not call.end_ns else None


def category_of_http(context: Context | None = None) -> str:
    """Return the category of an HTTP request in `context`: an LLM call's requests are its work."""
    return semconv.HTTP if under_way(context) is None else semconv.LLM


def sequence() -> Sequence | None:
    """Return the attempts that an HTTP request made now belongs to, if to any."""
    found = otel_context.get_value(_SEQUENCE_KEY)
    return found if isinstance(found, Sequence) and not found.call.end_ns else None


def with_sequence(call: ChatCall) -> Context:
    """Return the current context for one more request of a call that is under way."""
    return otel_context.set_value(_SEQUENCE_KEY, Sequence(call))


def foreign_span(model_name: str) -> Span | None:
    """Return the current span, if it is another instrumentation's for this very call."""
    span = trace.get_current_span()
    told = getattr(span, "attributes", None)
    if not told or told.get(Attr.OPERATION) not in _CHAT_OPERATIONS or not span.is_recording():
        return None
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None)
    is_theirs = scope != metrics.SCOPE and told.get(Attr.REQUEST_MODEL) == model_name
    return span if is_theirs else None


def was_recorded(response_id: str) -> bool:
    """Return whether a response has been recorded already; a thousand are remembered."""
    return response_id in _RECENT


def _remember(response_id: AttributeValue | None) -> None:
    if isinstance(response_id, str):
        _RECENT[response_id] = None
        while len(_RECENT) > _RECENT_SIZE:
            _RECENT.popitem(last=False)

"""What the OpenAI and the Anthropic SDK have in common: both are made by one generator.

Every call of theirs, be it `create`, `parse`, `stream`, raw or streaming responses, of the main or
the beta resources, goes through the client's public `request`: that is the one method that is
wrapped. A streamed answer goes on after it: the chunks are seen where the SDK's `Stream` is
iterated, and where the body of the response is closed or dropped the call is over at the latest.
The call is found again by the response's own `extensions`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from .._guard import guarded
from ..lifecycle.attaching import enter, leave
from ..llm import chat, content
from ..llm.chat import ChatCall
from ..llm.parts import get
from ..semconv import Attr
from ._following import Following, Step
from ._patching import Around, Patch, Seam, around, patch_all, unpatch
from ._prompts import prompt_hash
from ._providers import forget_llm_options

_REQUEST: Final = ("self", "cast_to", "options")
_NO_CALLS: Final = "calls of the SDK have no chat spans, only their HTTP requests have"
_NO_CHUNKS: Final = "some streams tell no chunks and tokens before their end"
_OPTIONS: Final = 2
"""Where the request's options stand among the arguments of `client.request(cast_to, options)`."""
_SAMPLING: Final = (
    ("max_tokens", Attr.REQUEST_MAX_TOKENS),
    ("max_completion_tokens", Attr.REQUEST_MAX_TOKENS),
    ("max_output_tokens", Attr.REQUEST_MAX_TOKENS),
    ("temperature", Attr.REQUEST_TEMPERATURE),
    ("top_p", Attr.REQUEST_TOP_P),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API's requests and answers are read.

    Attributes:
        paths: where chat requests go, relative to the client's base URL.
        prompt: the names of the messages and of the instructions in a request's body.
        provider: tells `gen_ai.provider.name` from the client.
        read_whole: reads a whole answer, a model or decoded JSON, into the call.
        read_chunk: reads a chunk of a streamed answer; the hot path.
    """

    paths: frozenset[str]
    prompt: tuple[str, str]
    provider: Callable[[Any], str]
    read_whole: Callable[[ChatCall, Any], None]
    read_chunk: Callable[[ChatCall, Any], None]


Dialects = tuple[Dialect, ...]
Patches = tuple[Patch, ...]


def instrument(library: str, sdk: Any, clients: tuple[str, str], dialects: Dialects) -> Patches:
    """Stand in for the requests of a sync and an async client class, and for their streams.

    Args:
        library: the SDK's distribution.
        sdk: its module.
        clients: the names of the classes.
        dialects: how its APIs are read.
    """
    request = functools.partial(around, functools.partial(_enter, dialects))
    step = functools.partial(around, _step)
    items = functools.partial(_iterated, Following.items)
    async_items = functools.partial(_iterated, Following.async_items)
    stream, async_stream = (getattr(sdk, name, None) for name in ("Stream", "AsyncStream"))
    return patch_all(
        library,
        (
            *(
                Seam(_home_of(getattr(sdk, name, None)), "request", request, _NO_CALLS, _REQUEST)
                for name in clients
            ),
            Seam(stream, "__iter__", items, _NO_CHUNKS),
            Seam(stream, "__next__", step, _NO_CHUNKS),
            Seam(async_stream, "__aiter__", async_items, _NO_CHUNKS),
            Seam(async_stream, "__anext__", step, _NO_CHUNKS),
        ),
    )


def _home_of(client: Any) -> Any:
    # Sister classes, such as the clients for Bedrock, inherit `request` from the same base.
    return next((c for c in getattr(client, "__mro__", ()) if "request" in vars(c)), client)


def uninstrument(library: str, patches: Iterable[Patch]) -> None:
    """Put everything of a library back."""
    unpatch(patches)
    forget_llm_options(library)


def read_envelope(call: ChatCall, answer: Any) -> None:
    """Read which model answered, and what the answer is called."""
    for key, name in ((Attr.RESPONSE_MODEL, "model"), (Attr.RESPONSE_ID, "id")):
        if isinstance(value := get(answer, name), str) and value:
            call.response[key] = value


class _Entry(Around):
    """A request about to be made: its call, and the arguments it goes on with."""

    __slots__ = ("_previous", "call", "context", "dialect")

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__(args, dict(kwargs))
        self.call: ChatCall | None = None
        self.dialect: Dialect | None = None
        self.context = Context()
        self._previous: Context | None = None

    def begins(self) -> None:
        """Make the call's context current."""
        self._previous = enter(self.context)

    def ends(self, error: BaseException | None) -> None:
        """Leave it; an error ends the call."""
        leave(self.context, self._previous)
        if error is not None and self.call is not None:
            self.call.fail(error)

    def gave(self, result: Any) -> None:
        """End the call, or let it go on in the stream that the request gave."""
        call, dialect = self.call, self.dialect
        if call is None or dialect is None:
            return
        with guarded("reading an answer"):
            if Following.start(call, result, dialect.read_whole, dialect.read_chunk):
                return
        call.end()


def _enter(dialects: Dialects, /, *args: Any, **kwargs: Any) -> _Entry | None:
    client = args[0]
    options: Any = args[_OPTIONS] if len(args) > _OPTIONS else kwargs.get("options")
    if str(getattr(options, "method", "")).lower() != "post":
        return None
    path = str(options.url).partition("?")[0]
    dialect = next((d for d in dialects if path in d.paths), None)
    if dialect is None:
        return None
    entry = _Entry(args, kwargs)
    outer = chat.under_way()
    if outer is not None and outer.is_made_by(client):
        outer.learn(_asked(client, _body(options)))
        entry.context = chat.with_sequence(outer)
    else:
        entry.call = _begin(client, dialect, options)
        if entry.call is None:
            return None
        entry.dialect = dialect
        entry.context = entry.call.context
    _read_what_cannot_be_parsed(entry.call or outer, dialect, options)
    _leave_out_the_native_span(entry, options)
    return entry


def _begin(client: Any, dialect: Dialect, options: Any) -> ChatCall | None:
    body = _body(options)
    model = str(body.get("model") or type(client).__name__)
    prompt = tuple(body.get(name) for name in dialect.prompt)
    attributes = _asked(client, body)
    with guarded("hashing a prompt"):
        asked = {**body, **(options.extra_json or {})}
        beside = {name: value for name, value in asked.items() if name not in dialect.prompt}
        attributes[Attr.PROMPT_HASH] = prompt_hash(model, list(prompt), beside)
    call = chat.begin(
        model,
        dialect.provider(client),
        owner=client,
        attributes=attributes,
        prompt=lambda: content.Prompt(*prompt),
    )
    return call if isinstance(call, ChatCall) else None


def _body(options: Any) -> Mapping[str, Any]:
    return options.json_data if isinstance(options.json_data, Mapping) else {}


def _asked(client: Any, body: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return the attributes of a request: where it goes, and how the answer is to be made."""
    attributes = _address(client)
    if body.get("stream") is True:
        attributes[Attr.REQUEST_STREAM] = True
    for name, key in _SAMPLING:
        if isinstance(value := body.get(name), int | float):
            attributes[key] = value
    return attributes


def _address(client: Any) -> dict[str, AttributeValue]:
    url = client.base_url
    port = url.port or (80 if url.scheme == "http" else 443)
    return {Attr.SERVER_ADDRESS: url.host, Attr.SERVER_PORT: port}


def _read_what_cannot_be_parsed(call: ChatCall | None, dialect: Dialect, options: Any) -> None:
    """Read an answer whose parsing raises: nobody gets it, but it was made and is paid for."""
    parse = options.post_parser
    if call is None or not callable(parse):
        return

    def parse_and_see(answer: Any) -> Any:
        try:
            return parse(answer)
        except Exception:
            with guarded("reading an answer"):
                dialect.read_whole(call, answer)
            raise

    options.post_parser = parse_and_see


def _leave_out_the_native_span(entry: _Entry, options: Any) -> None:
    # anthropic >= 2 makes a span of its own for a call that its options name. Ours says the same
    # and more, and two with the same tokens would be counted twice; this very call goes unnamed.
    if getattr(options, "span_name", None):
        unnamed = options.model_copy(update={"span_name": None})
        if len(entry.args) > _OPTIONS:
            entry.args = (*entry.args[:_OPTIONS], unnamed, *entry.args[_OPTIONS + 1 :])
        else:
            entry.kwargs["options"] = unnamed


def _iterated(items: Callable[[Following, Any], Any], original: Any) -> Any:
    @functools.wraps(original)
    def wrapper(stream: Any) -> Any:
        following = None
        with guarded("looking at a stream"):
            following = Following.of(stream)
        return original(stream) if following is None else items(following, original(stream))

    return wrapper


def _step(stream: Any) -> Step | None:
    following = Following.of(stream)
    return None if following is None else Step(following, (stream,))

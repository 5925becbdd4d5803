"""A chat call that goes on after the request that opened it: in a stream, or an unread response.

It is over when the stream or the body has been read to its end, has failed, was closed, or was
lost. A reader that leaves a `for` loop may come back: if it has not by the program's next span, the
call ended when it left. What nobody has closed or lost at all ends with the program.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from time import time_ns
from typing import Any, Final
from weakref import WeakSet

from .. import semconv
from .._guard import guarded
from ..lifecycle import collecting, spans
from ..lifecycle.wrapping import NO_HOLD_NS
from ..llm.chat import ChatCall
from ._patching import Around

_KEY: Final = "otel_orchestrator.following"
# What is read as bytes is kept up to this size, to read its tokens from it.
_MAX_KEPT_BYTES: Final = 4 * 2**20

Read = Callable[[ChatCall, Any], None]


class Following:
    """Follows one response from its headers to its end, its close, or the loss of it."""

    __slots__ = (
        "__weakref__",
        "_call",
        "_handed_ns",
        "_headers",
        "_is_of_events",
        "_is_stepping",
        "_kept",
        "_left_ns",
        "_read_chunk",
        "_read_whole",
        "_reader",
    )

    def __init__(self, call: ChatCall, response: Any, read_whole: Read, read_chunk: Read) -> None:
        self._call = call
        self._read_whole = read_whole
        self._read_chunk = read_chunk
        self._reader: object = None
        self._is_stepping = False
        self._left_ns = 0
        self._handed_ns = 0
        self._headers = response.headers
        kind = str(self._headers.get("content-type", ""))
        is_encoded = "content-encoding" in self._headers
        self._is_of_events = "event-stream" in kind and not is_encoded
        is_readable = self._is_of_events or "json" in kind
        self._kept: bytearray | None = bytearray() if is_readable else None

    @classmethod
    def start(cls, call: ChatCall, result: Any, read_whole: Read, read_chunk: Read) -> bool:
        """Read what a request gave; return whether the call goes on in it."""
        # A raw response has `http_response`, a stream has `response`, a model has neither.
        raw = getattr(result, "http_response", None)
        response = raw if raw is not None else getattr(result, "response", None)
        if response is None or not hasattr(response, "extensions"):
            read_whole(call, result)
            return False
        following = cls(call, response, read_whole, read_chunk)
        # A transport may have read it already: events are still to be seen, a whole is there.
        if response.is_closed and raw is not None and not following._is_of_events:
            read_whole(call, response.json())
            return False
        response.extensions[_KEY] = following
        response.stream = _watched(response, following)
        _open.add(following)
        return True

    @staticmethod
    def of(stream: Any) -> Following | None:
        """Return what follows the response of `stream`, while the call is not over."""
        extensions = getattr(getattr(stream, "response", None), "extensions", None)
        following = extensions.get(_KEY) if isinstance(extensions, dict) else None
        if isinstance(following, Following) and not following._call.end_ns:
            return following
        return None

    def items(self, inner: Iterator[Any]) -> Iterator[Any]:
        """Yield what `inner` yields, and see it."""
        with _Reading(self):
            for item in inner:
                self.see(item)
                yield item
                self._is_stepping = True
                if time_ns() - self._handed_ns >= NO_HOLD_NS:
                    self._held()

    async def async_items(self, inner: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield what `inner` yields, and see it."""
        with _Reading(self):
            async for item in inner:
                self.see(item)
                yield item
                self._is_stepping = True
                if time_ns() - self._handed_ns >= NO_HOLD_NS:
                    self._held()

    def see(self, item: Any) -> None:
        """Read a chunk."""
        try:
            self._is_stepping = False
            self._handed_ns = time_ns()
            if isinstance(item, dict):
                item = _Loose(item)
            self._read_chunk(self._call, item)
        except Exception:  # a `with` block around it costs more than all else here
            with guarded("reading a chunk"):
                raise

    def _held(self, until_ns: int | None = None) -> None:
        """Note that the reader has kept what it got last, if it has."""
        with guarded("noting how long a chunk was read"):
            since_ns, self._handed_ns = self._handed_ns, 0
            until_ns = until_ns or spans.now_ns()
            if since_ns and until_ns - since_ns >= NO_HOLD_NS:
                self._call.held(since_ns, until_ns)

    def _reads(self, reader: object) -> None:
        """Note that a reader takes an item from the stream, and until it is seen what it does."""
        self._reader = reader
        self._left_ns = 0
        self._is_stepping = True
        self._held()

    def _over(self, error: BaseException | None) -> None:
        """Note that nobody is reading any more: at the end of the stream if there is no error."""
        self._is_stepping = False
        if isinstance(error, GeneratorExit):
            self._left_ns = spans.now_ns()
            collecting.end_late(
                self._has_left
            )  # the SDK's streams are cycles: lost means collected
        elif error is None or isinstance(error, StopIteration | StopAsyncIteration):
            self._call.end()
        else:
            self._call.fail(error)

    def _has_left(self) -> None:
        """End the call, unless the reader has come back."""
        if self._left_ns:
            self._leave()

    def _leave(self, otherwise_ns: int | None = None) -> None:
        end_ns = self._left_ns or otherwise_ns or spans.now_ns()
        self._held(end_ns)
        self._call.end(semconv.ABANDONED, end_ns=end_ns)

    def bytes_came(self, part: bytes) -> None:
        """Read a part of a body that is read as bytes, or keep it for the end."""
        if self._is_stepping or self._kept is None:
            return  # the stream reads it, or there is nothing in it for us
        with guarded("reading a body"):
            self._kept += part
            if self._is_of_events:
                *lines, self._kept = self._kept.split(b"\n")
                for line in lines:
                    name, _, data = line.partition(b":")
                    if name == b"data" and data.lstrip()[:1] == b"{":
                        self.see(json.loads(data))
            if len(self._kept) > _MAX_KEPT_BYTES:
                self._kept = None

    def body_closed(self, module: Any, *, is_read: bool) -> None:
        """Note that the body was closed: by the SDK at its end, or by whoever reads it."""
        if self._call.end_ns or self._is_stepping:
            return
        with guarded("reading a body"):
            if is_read and self._kept and not self._is_of_events:
                # As the client's own class decodes it, be it compressed or not.
                whole = module.Response(200, headers=self._headers, content=bytes(self._kept))
                self._read_whole(self._call, whole.json())
        with guarded("ending a chat call"):
            if is_read:
                self._call.end()
            else:
                self._leave()

    def body_failed(self, error: BaseException) -> None:
        """Note that reading the body's bytes raised."""
        if not self._is_stepping:
            self._call.fail(error)

    def lost(self) -> None:
        """End the call: nobody can read on, and nobody closed what it could be read from."""
        if not self._call.end_ns:
            self._leave(self._call.last_seen_ns)


class _Reading:
    """Around the reading of a whole stream: its end, its failure, or that the reader leaves it."""

    __slots__ = ("_following",)

    def __init__(self, following: Following) -> None:
        self._following = following

    def __enter__(self) -> None:
        with guarded("beginning to read a stream"):
            self._following._reads(self)

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        with guarded("ending a chat call"):
            # An async loop that was left is closed by its event loop, when another may have begun.
            if self._following._reader is self:
                self._following._over(error)


class Step(Around):
    """Around the reading of one item by hand."""

    __slots__ = ("_following",)

    def __init__(self, following: Following, args: tuple[Any, ...]) -> None:
        super().__init__(args, {})
        self._following = following

    def begins(self) -> None:
        """Note that the program reads."""
        self._following._reads(self)

    def ends(self, error: BaseException | None) -> None:
        """Note the end of the stream, or of the reading."""
        if error is not None:
            self._following._over(error)

    def gave(self, result: Any) -> None:
        """See the item."""
        self._following.see(result)


_open: Final[WeakSet[Following]] = WeakSet()


def _lose_open_ones() -> None:
    """End what is still open when the program is not going to read on."""
    for following in tuple(_open):
        with guarded("losing a stream"):
            following.lost()


def _start_in_child() -> None:
    # What the parent has open, the parent ends and counts: here it is over.
    for following in tuple(_open):
        following._call.end_ns = following._call.end_ns or spans.now_ns()
    _open.clear()


os.register_at_fork(after_in_child=_start_in_child)
atexit.register(_lose_open_ones)
spans.before_shutdown(_lose_open_ones)


class _Loose(dict[str, Any]):
    """A decoded object that is read like the SDK's models, in which what is missing is None."""

    def __getattr__(self, name: str) -> Any:
        return _loosely(self.get(name))


def _loosely(value: Any) -> Any:
    if isinstance(value, list):
        return [_loosely(item) for item in value]
    return _Loose(value) if isinstance(value, dict) else value


def _watched(response: Any, following: Following) -> Any:
    # httpx and httpx2 each look whether a body is of a class of their own.
    name = next(
        c.__module__.partition(".")[0]
        for c in type(response).__mro__
        if c.__module__.partition(".")[0] in ("httpx", "httpx2")
    )
    if name not in _bodies:
        _bodies[name] = _body_class(sys.modules[name])
    return _bodies[name](response.stream, following)


_bodies: dict[str, Any] = {}


def _body_class(module: Any) -> Any:
    class Body(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]  # of either
        """A response's body, whose end, close or loss is noticed; all else is the body's own."""

        def __init__(self, inner: Any, following: Following) -> None:
            self._inner = inner
            self._following = following
            self._is_read = False

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__dict__["_inner"], name)

        def __iter__(self) -> Iterator[bytes]:
            with _ReadingBytes(self):
                for part in self._inner:
                    self._following.bytes_came(part)
                    yield part

        async def __aiter__(self) -> AsyncIterator[bytes]:
            with _ReadingBytes(self):
                async for part in self._inner:
                    self._following.bytes_came(part)
                    yield part

        def close(self) -> None:
            self._inner.close()
            self._following.body_closed(module, is_read=self._is_read)

        async def aclose(self) -> None:
            await self._inner.aclose()
            self._following.body_closed(module, is_read=self._is_read)

        def __del__(self) -> None:
            # In the middle of a step it is the stream that lets go of it, and tells how it ends.
            if not sys.is_finalizing() and not self._following._is_stepping:
                collecting.end_late(self._following.lost)

    return Body


class _ReadingBytes:
    """Around the reading of a body: whether all of it was read, or that this failed."""

    __slots__ = ("_body",)

    def __init__(self, body: Any) -> None:
        self._body = body

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        with guarded("ending a chat call"):
            if error is None:
                self._body._is_read = True
            elif not isinstance(error, GeneratorExit):
                self._body._following.body_failed(error)

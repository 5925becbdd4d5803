"""Who reads a graph's stream, and for how long the graph stands still meanwhile.

`Pregel.stream` and `astream` are generators: while their reader holds one, between two items,
LangGraph's loop does not run. A `Reader` notes these *holds*, and that the stream has come to its
end, which is after LangGraph has left its loop: the last items come after that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from typing import Any, Final, Protocol

from ..._guard import guarded
from ...lifecycle import collecting, spans
from ...lifecycle.wrapping import NO_HOLD_NS, first_step

Hold = tuple[int, int]

# A reader that holds very many items for next to no time must not grow without bound.
_HOLDS_AT_MOST: Final = 1_000
_TOUCHING_NS: Final = 100_000

_starting: ContextVar[Reader | None] = ContextVar("otel_orchestrator_reader", default=None)


def outside(hold: Hold, start_ns: int, end_ns: int) -> list[Hold]:
    """Return the parts of a hold before `start_ns` and after `end_ns`."""
    parts = [(hold[0], min(hold[1], start_ns)), (max(hold[0], end_ns), hold[1])]
    return [part for part in parts if part[0] < part[1]]


class Read(Protocol):
    """What a reader tells of the end of its stream."""

    def finish(self, error: BaseException | None) -> None:
        """End the run's span."""


class Reader:
    """The holds of one stream since the last barrier, in order; nearly touching ones are one.

    Attributes:
        run: the graph run whose stream it is, until that ends.
        is_followed: there is one or was, so how long the stream's items are held is noted.
        holds: what was noted.
        holds_before_tasks: those before the superstep's first task was handed out, if it was.
    """

    __slots__ = ("_since_ns", "holds", "holds_before_tasks", "is_followed", "run")

    def __init__(self) -> None:
        self.run: Read | None = None
        self.is_followed = False
        self.holds: list[Hold] = []
        self.holds_before_tasks: list[Hold] | None = None
        self._since_ns = 0

    def follow_for(self, run: Read) -> None:
        """Note from now on how long items are held."""
        self.run = run
        self.is_followed = True

    def hands_out(self) -> None:
        """Note that the reader gets an item: the graph stands still."""
        self._since_ns = spans.now_ns()

    def takes_back(self) -> None:
        """Note that the reader wants the next item, or has enough."""
        start_ns, end_ns = self._since_ns, spans.now_ns()
        if end_ns - start_ns < NO_HOLD_NS:  # `invoke` reads its own stream
            return
        holds = self.holds
        if holds and (start_ns - holds[-1][1] < _TOUCHING_NS or len(holds) >= _HOLDS_AT_MOST):
            holds[-1] = (holds[-1][0], end_ns)
        else:
            holds.append((start_ns, end_ns))

    def lets_tasks_go(self) -> None:
        """Note that LangGraph hands out tasks: from now on the reader is in nobody's way."""
        if self.holds_before_tasks is None:
            self.holds_before_tasks = list(self.holds)

    def take(self) -> list[Hold]:
        """Return the holds since this was last called, at the barrier."""
        holds, self.holds = self.holds, []
        self.holds_before_tasks = None
        return holds

    def finish(self, error: BaseException | None) -> None:
        """End the run's span: the stream is over."""
        run, self.run = self.run, None
        if run is not None:
            run.finish(error)


def starting_reader() -> Reader | None:
    """Return the reader whose stream is being started here, unless it has its run already."""
    reader = _starting.get()
    return reader if reader is not None and reader.run is None else None


def followed(original: Callable[..., Any], begins: Callable[[Any], None]) -> Callable[..., Any]:
    """Return a generator function that gives what `original` gives, and notes what is read.

    It is of the same kind as the original: LangChain asks which kind of function it has got.

    Args:
        original: a method that is a generator function, async or not.
        begins: called with the object whose method is called.
    """
    stream: Callable[..., Any]
    if inspect.isasyncgenfunction(original):

        async def stream(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            begins(self)
            generator = original(self, *args, **kwargs)
            if not inspect.isasyncgen(generator):  # what another instrumentation gives instead
                async for item in generator:
                    yield item
                return
            reader, before = Reader(), _starting.get()
            _starting.set(reader)
            awaited = first_step(generator)
            try:
                while True:
                    try:
                        item = await awaited
                    except StopAsyncIteration:
                        break
                    finally:
                        if _starting.get() is reader:
                            _starting.set(before)
                    try:
                        if reader.is_followed:
                            with _held(reader):
                                argument = yield item
                        else:
                            argument = yield item
                        awaited = generator.asend(argument)
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as thrown:
                        awaited = generator.athrow(thrown)
            except BaseException as error:
                _finish(reader, error)
                raise
            _finish(reader, None)

    elif inspect.isgeneratorfunction(original):

        def stream(self: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            begins(self)
            generator = original(self, *args, **kwargs)
            is_known = inspect.isgenerator(generator)
            return (yield from _follow(generator) if is_known else generator)

    else:  # what another instrumentation has put there: its stream is not followed

        def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
            begins(self)
            return original(self, *args, **kwargs)

    return functools.wraps(original)(stream)


class _held:  # noqa: N801 - reads as a statement
    """Around the `yield` that gives an item to the reader: how long it keeps it."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    # A `try` and no `with`: this is done for each item.

    def __enter__(self) -> None:
        try:
            self._reader.hands_out()
        except Exception:
            with guarded("noting that an item is read"):
                raise

    def __exit__(self, *_: object) -> None:
        try:
            self._reader.takes_back()
        except Exception:
            with guarded("noting how long an item was read"):
                raise


def _follow(stream: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    reader, before = Reader(), _starting.get()
    step, argument = stream.send, None
    _starting.set(reader)
    try:
        while True:
            try:
                item = step(argument)
            except StopIteration as stop:
                result = stop.value
                break
            finally:
                # LangGraph enters its loop in the first step.
                if _starting.get() is reader:
                    _starting.set(before)
            try:
                if reader.is_followed:
                    with _held(reader):
                        argument = yield item
                else:
                    argument = yield item
                step = stream.send
            except GeneratorExit:
                stream.close()
                raise
            except BaseException as thrown:
                step, argument = stream.throw, thrown
    except BaseException as error:
        _finish(reader, error)
        raise
    _finish(reader, None)
    return result


def _finish(reader: Reader, error: BaseException | None) -> None:
    with guarded("ending a graph run"):
        if collecting.is_collecting():  # after its loop, which is closed late as well
            collecting.end_late(functools.partial(_finish, reader, error))
            return
        reader.finish(error)

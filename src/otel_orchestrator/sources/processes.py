"""Several processes to read with, each on a part of what there is to read."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Protocol, TypeVar

from ..errors import RunFileError

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Each(Protocol):
    """Yields what a function returns for each of some things, in their order."""

    def __call__(self, function: Callable[[_In], _Out], things: Iterable[_In], /) -> Iterator[_Out]:
        """Begin to work, and yield what comes of it."""
        ...


@contextmanager
def each_in(processes: int) -> Iterator[Each]:
    """Give a function like `map` that works in so many processes; what nobody waits for any more
    is given up at the end.

    Raises:
        RunFileError: one of them was killed.
    """
    if processes == 1:
        yield map
        return
    # Spawned: a fork would copy whatever thread draws the progress, in the middle of its drawing.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=gc.disable)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise RunFileError(
            "a process that read runs was killed: is there enough memory?"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)

"""A progress bar on the terminal for what takes long; nothing for what does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..reports.units import count
from ..sources.printable import printable

_WORTH_A_BAR: Final = 20 * 2**20
_WORTH_A_LINE: Final = 20_000


@contextmanager
def progress_of(path: Path) -> Iterator[Callable[[int], None] | None]:
    """Give a function to call with the bytes read so far, if the file is large."""
    size = path.stat().st_size if path.exists() else 0
    with _bar(f"Reading {path.name}", size) as set_to:
        yield set_to


@contextmanager
def progress_over(title: str, size: int) -> Iterator[Callable[[int], None] | None]:
    """Give a function to call with the bytes of each part that is done, if there are many."""
    with _bar(title, size) as set_to:
        if set_to is None:
            yield None
            return
        done = 0

        def add(more: int) -> None:
            nonlocal done
            done += more
            set_to(done)

        yield add


@contextmanager
def sending(path: Path) -> Iterator[Callable[[int], None]]:
    """Give a function to call with the bytes sent so far: that takes long however little it is."""
    size = path.stat().st_size if path.exists() else 0
    with _bar(f"Sending {path.stem}", size, shown_from=0) as set_to:
        yield set_to or (lambda _: None)


@contextmanager
def analysing(spans: int) -> Iterator[None]:
    """Say meanwhile that so many spans are being worked on, if they are many."""
    if spans < _WORTH_A_LINE or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"Working out {count(spans)} spans"):
        yield


@contextmanager
def _bar(
    title: str, size: int, *, shown_from: int = _WORTH_A_BAR
) -> Iterator[Callable[[int], None] | None]:
    if size < shown_from or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        doing = bar.add_task(escape(printable(title)), total=size)
        yield lambda done: bar.update(doing, completed=done)

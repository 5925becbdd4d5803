"""`otel-orchestrator watch`: follow a run while it goes on."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..analysis.live import Live, Now
from ..errors import RunFileError
from ..run_folder import folder_from_environment
from ..sources.following import Following
from ..sources.runfiles import RunFile, find_run, list_runs
from .naming import named

if TYPE_CHECKING:
    from rich.console import RenderableType

_LOOK_EVERY_S: Final = 0.25
_PIPED_SIZE: Final = (100, 40)


@click.command()
@click.argument("run", required=False)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the run files are.")
@click.option("--once", is_flag=True, help="Say what goes on now, and end.")
@click.option(
    "--wait/--no-wait", default=True, help="If nothing runs, wait for the next run to start."
)
def command(run: str | None, folder: Path | None, once: bool, wait: bool) -> None:
    """Follow RUN, or the newest that goes on: what runs, what waits and for whom, queue, rates.

    It reads the run file, so it works over ssh, and costs the program nothing. Ctrl-C or q ends it.
    """
    where = folder or folder_from_environment()
    if once or not sys.stdout.isatty():
        shown = find_run(run, where)
        _print_once(shown, named(run, shown.id, dir=folder))
        return
    try:
        with _keys() as is_quit:
            file = find_run(run, where) if run or not wait else _next_run(where, is_quit)
            if file is not None:
                _follow(file, named(run, file.id, dir=folder), is_quit)
    except KeyboardInterrupt:
        return


def _print_once(file: RunFile, name: str) -> None:
    from rich.console import Console

    following, live = Following(file.path), Live()
    live.add(*following.read_on())
    width, height = _PIPED_SIZE
    console = Console(width=width, no_color=True, highlight=False, markup=False, emoji=False)
    gone_ns = following.gone_ns()
    now = _now(live, gone_ns)
    console.print(_drawn(now, file, name, width, height, is_gone=gone_ns is not None))


def _next_run(folder: Path, is_quit: Callable[[], bool]) -> RunFile | None:
    """Return the newest run if it goes on; else wait for the next one."""
    from rich.console import Console

    told = False
    while not is_quit():
        newest = _newest(folder)
        if newest is not None and _goes_on(newest):
            return newest
        if not told:
            said = f"nothing runs; waiting for a run in {folder} (q ends this)"
            console = Console(stderr=True, highlight=False, markup=False, emoji=False)
            console.print(said, style="bright_black")
            told = True
        time.sleep(_LOOK_EVERY_S)
    return None


def _newest(folder: Path) -> RunFile | None:
    try:
        return next((file for file in list_runs(folder) if file.is_of_a_run), None)
    except RunFileError:
        return None


def _goes_on(file: RunFile) -> bool:
    following, live = Following(file.path), Live()
    live.add(*following.read_on())
    return _now(live, None).outcome is None and following.gone_ns() is None


def _follow(file: RunFile, name: str, is_quit: Callable[[], bool]) -> None:
    from rich.console import Console
    from rich.live import Live as Screen

    console = Console(highlight=False, markup=False, emoji=False)
    following, live = Following(file.path), Live()
    with Screen(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            live.add(*following.read_on())
            gone_ns = following.gone_ns()
            now = _now(live, gone_ns)
            is_over = now.outcome is not None or gone_ns is not None
            width, height = console.size
            last = _drawn(now, file, name, width, height, is_gone=gone_ns is not None)
            screen.update(last, refresh=True)
            if is_over or is_quit():
                break
            time.sleep(_LOOK_EVERY_S)
    # The screen is gone with what it showed; what it came to stays.
    console.print(last)


def _now(live: Live, gone_ns: int | None) -> Now:
    """Return what goes on now, or went on when the program was last heard of."""
    return live.now(time.time_ns() if gone_ns is None else gone_ns)


def _drawn(
    now: Now, file: RunFile, name: str, width: int, height: int, *, is_gone: bool
) -> RenderableType:
    from ..reports.live import draw

    if now.outcome is not None:
        note = f"It has ended. Type: otel-orchestrator report {name}"
    elif is_gone:
        note = f"Its program is gone: it was killed. Type: otel-orchestrator report {name}"
    else:
        note = "q ends this, not the run"
    return draw(now, file.id, note, width=width, height=height)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether q was typed; the terminal is as before afterwards."""
    try:
        import select
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C ends it
        yield lambda: False
        return
    if not sys.stdin.isatty():
        yield lambda: False
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def is_quit() -> bool:
        ready, _, _ = select.select([terminal], [], [], 0)
        return bool(ready) and os.read(terminal, 1) in (b"q", b"Q", b"\x1b", b"")

    try:
        tty.setcbreak(terminal)
        yield is_quit
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)

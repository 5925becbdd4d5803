"""`otel-orchestrator watch`: follow a run while it goes on."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from ..analysis.live import Live, Now
from ..errors import NoRunsError, RunFileError
from ..run_folder import folder_from_environment
from ..sources.following import Following
from ..sources.found import Export, find
from ..sources.jaeger import Wanted
from ..sources.printable import printable
from ..sources.runfiles import RunFile, list_runs
from .files import say
from .naming import dir_option, named, options_of

_LOOK_EVERY_S: Final = 0.25
_PIPED_SIZE: Final = (100, 40)


@click.command()
@click.argument("run", required=False)
@dir_option
@click.option("--once", is_flag=True, help="Say what goes on now, and end.")
@click.option(
    "--wait/--no-wait",
    default=None,
    help="If nothing runs, wait for the next run to start: by itself in a terminal only.",
)
def command(run: str | None, folder: Path | None, once: bool, wait: bool | None) -> None:
    """Follow RUN, or the newest that goes on: what runs, what waits and for whom, queue, rates.

    It reads the run file, so it works over ssh, and costs the program nothing. Ctrl-C or q ends it.
    """
    where = folder or folder_from_environment()
    is_once = once or not sys.stdout.isatty()
    # Nobody is there to end it where a program reads what it says: it waits if it was told to.
    is_waiting = run is None and (wait if wait is not None else not is_once)
    try:
        with _keys(is_read=not is_once) as is_quit:
            ends = "Ctrl-C" if is_once else "q"
            found = _next_run(where, is_quit, ends) if is_waiting else _found(run, where, folder)
            if found is None:
                return
            if run is None and isinstance(found, Export):
                run = str(found.path)  # by its id alone nothing is found in an export
            name = named(run, _id_of(found), dir=folder)
            if is_once:
                _print_once(found, name)
            else:
                _follow(found, name, is_quit)
    except KeyboardInterrupt:
        return


def _found(word: str | None, where: Path, typed: Path | None) -> RunFile | Export:
    try:
        source = find(word, where)
    except NoRunsError as error:
        wait = f"otel-orchestrator watch --wait{options_of(dir=typed)}"
        raise NoRunsError(f"{error}. To wait for the first, type: {wait}") from None
    if isinstance(source, Wanted):
        raise RunFileError(f"{word} is in a Jaeger: only run files can be followed")
    return source


def _following(source: RunFile | Export) -> Following:
    return Following(source.path, None if isinstance(source, RunFile) else source.run_id)


def _id_of(source: RunFile | Export) -> str:
    return (
        source.id if isinstance(source, RunFile) else source.run_id or printable(source.path.stem)
    )


def _print_once(source: RunFile | Export, name: str) -> None:
    from rich.console import Console

    from ..reports.live import draw

    following, live = _following(source), Live()
    live.add(*following.read_on())
    width, height = _PIPED_SIZE
    console = Console(width=width, no_color=True, highlight=False, markup=False, emoji=False)
    gone_ns = following.gone_ns()
    now = _now(live, gone_ns)
    note = _note(now, name, is_gone=gone_ns is not None)
    with console.capture() as captured:
        console.print(draw(now, _id_of(source), note, width=width, height=height))
    say("\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip())


def _next_run(folder: Path, is_quit: Callable[[], bool], ends: str) -> RunFile | None:
    """Return the newest run if it goes on; else wait for the next one."""
    from rich.console import Console

    told = False
    while not is_quit():
        newest = _newest(folder)
        if newest is not None and _goes_on(newest):
            return newest
        if not told:
            said = f"nothing runs; waiting for a run in {folder} ({ends} ends this)"
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
    following, live = _following(file), Live()
    try:
        live.add(*following.read_on())
    except RunFileError:
        return False
    return _now(live, None).outcome is None and following.gone_ns() is None


def _follow(source: RunFile | Export, name: str, is_quit: Callable[[], bool]) -> None:
    from rich.console import Console
    from rich.live import Live as Screen

    from ..reports.live import draw

    console = Console(highlight=False, markup=False, emoji=False)
    following, live = _following(source), Live()
    with Screen(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            live.add(*following.read_on())
            gone_ns = following.gone_ns()
            now = _now(live, gone_ns)
            is_gone = gone_ns is not None
            is_over = now.outcome is not None or is_gone
            width, height = console.size
            note = _note(now, name, is_gone=is_gone) or "q ends this, not the run"
            last = draw(now, _id_of(source), note, width=width, height=height)
            screen.update(last, refresh=True)
            if is_over or is_quit():
                break
            time.sleep(_LOOK_EVERY_S)
    # The screen is gone with what it showed; what it came to stays.
    console.print(last)


def _now(live: Live, gone_ns: int | None) -> Now:
    """Return what goes on now, or went on when the program was last heard of."""
    return live.now(time.time_ns() if gone_ns is None else gone_ns)


def _note(now: Now, name: str, *, is_gone: bool) -> str:
    """Say what became of a run that goes on no more; nothing of one that does."""
    if now.outcome is not None:
        return f"It has ended. Type: otel-orchestrator report {name}"
    if is_gone:
        return f"Its program is gone: it was killed. Type: otel-orchestrator report {name}"
    return ""


@contextlib.contextmanager
def _keys(*, is_read: bool) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether q was typed; the terminal is as before afterwards."""
    try:
        import select
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C ends it
        yield lambda: False
        return
    if not is_read or not sys.stdin.isatty():
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

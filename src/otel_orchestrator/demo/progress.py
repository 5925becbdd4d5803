"""What the run is doing, on the terminal: a live table, or plain lines where there is none."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import plan
from .plan import Task


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Stop the run as Ctrl-C does: rich's way, to raise SystemExit wherever something is said,
        would leave LangGraph's tasks behind."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGINT)


class Progress:
    """Shows who does what; use it with `with`."""

    def __init__(self) -> None:
        self._console = _Console(highlight=False)
        self._is_live = sys.stdout.isatty()
        self._began = time.monotonic()
        self._doing: dict[str, tuple[str, float]] = {}
        self._tasks: list[Task] = []
        self._live = Live(
            get_renderable=self._draw, console=self._console, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Progress:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._is_live:
            self._live.stop()

    def say(self, who: str, what: str) -> None:
        """Show what somebody is doing now."""
        if what in ("done", "failed"):
            self._doing.pop(who, None)
            self.line(f"{who} {what}")
        else:
            self._doing[who] = (what, time.monotonic())
            if who in ("director", "strategist"):
                self._doing = {who: self._doing[who]}
                self.line(f"{who} {what}")

    def plan(self, tasks: list[Task]) -> None:
        """Show how far the plan is."""
        self._tasks = tasks

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(f"[bright_black]{self._clock():>6}[/] {text}")

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:.1f}s"

    def _draw(self) -> Table:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        done = sum(1 for t in self._tasks if t["status"] == plan.DONE)
        if self._tasks:
            bar = "█" * done + "░" * (len(self._tasks) - done)
            table.add_row(Text(f"{self._clock():>6}", "bright_black"), Text(bar, "blue"), "")
        for who, (what, since) in sorted(self._doing.items()):
            seconds = time.monotonic() - since
            table.add_row("", Text(who, "bold"), f"{what} ({seconds:.1f}s)")
        return table

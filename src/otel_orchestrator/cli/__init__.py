"""The command line: each subcommand is a file of its own, loaded when it is used."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from typing import Any, Final

import click
from click.exceptions import Exit

from ..errors import OrchestratorError
from .files import drop, say

_TROUBLE: Final = 2
_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "compare": "Say what got slower between two groups of runs, why, and how sure that is.",
    "demo": "Run the reference orchestrator and report where its time went.",
    "report": "Say where the time of a run went.",
    "run": "Run a Python program with everything instrumented.",
    "ship": "Send stored runs to an OTLP endpoint.",
    "stack": "Check what the telemetry goes to.",
    "watch": "Follow a run while it goes on.",
    "runs": "List the runs in this folder.",
}


class _Lazy(click.Group):
    """Loads a subcommand's module when it is called; listing them loads none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **more: Any
    ) -> click.Context:
        with _unread():  # --help and --version print already here
            return super().make_context(info_name, args, *rest, **more)

    def invoke(self, ctx: click.Context) -> object:
        with _unread():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@contextmanager
def _unread() -> Iterator[None]:
    """End well where the reader of a pipe goes away, as `head` does.

    Both click and rich end with 1 then.
    """
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if not isinstance(cause, BrokenPipeError):
            raise
        drop(sys.stdout)
        raise Exit(0) from None


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("otel-orchestrator"), prog_name="otel-orchestrator")
def group() -> None:
    """See where a multi-agent orchestrator works, where it waits, and for what."""


def main() -> None:
    """Run the command line; exit code 2 and one line on stderr for trouble."""
    _take_any_text()
    try:
        code = group.main(standalone_mode=False, prog_name="otel-orchestrator")
        say("", end="")  # what is still buffered
    except OrchestratorError as error:
        if os.environ.get("OTEL_ORCHESTRATOR_DEBUG"):
            raise
        _fail(str(error), _TROUBLE)
    except click.ClickException as error:
        _fail(_said(error), _TROUBLE)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", _INTERRUPTED)
    except OSError as error:
        # Nobody foresaw it, such as a full disk below stdout: it is trouble, and no regression.
        if os.environ.get("OTEL_ORCHESTRATOR_DEBUG"):
            raise
        drop(sys.stdout)
        _fail(error.strerror or str(error), _TROUBLE)
    except Exception:
        # A mistake of ours. Python would end with 1, which says that there is a regression.
        traceback.print_exc()
        sys.exit(_TROUBLE)
    sys.exit(code if isinstance(code, int) else 0)


def _take_any_text() -> None:
    """Let stdout take what its encoding has no signs for, and what nobody wants to read."""
    if sys.stdout is None:  # as `>&-` makes it
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _said(error: click.ClickException) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    return f"{message} Type: {context.command_path} --help" if context else message


def _fail(message: str, code: int) -> None:
    from ..sources.printable import printable

    say(f"otel-orchestrator: {printable(' '.join(message.split()))}", to=sys.stderr)
    sys.exit(code)

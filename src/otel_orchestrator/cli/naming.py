"""How runs are named on the command line, and named again in what to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ..sources.printable import printable
from ..urls import JAEGER_URL

dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Where the run files are. Default: OTEL_ORCHESTRATOR_RUN_DIR, else .otel-orchestrator/runs"
    " in the working directory.",
)

jaeger_url_option = click.option(
    "--jaeger-url",
    default=JAEGER_URL,
    envvar="OTEL_ORCHESTRATOR_JAEGER_URL",
    help="Where traces are, and links to them lead.",
)


def named(word: str | None, run_id: str, **options: str | Path | None) -> str:
    """Return a run as it was typed, else its id, with those options that were typed as well.

    The id alone is only found in the folder of run files: not in an export, or in Jaeger.
    """
    return printable(shlex.quote(word or run_id)) + options_of(**options)


def options_of(**options: str | Path | None) -> str:
    """Return the options that were typed, each after a space."""
    return "".join(
        f" --{name.replace('_', '-')} {printable(shlex.quote(str(value)))}"
        for name, value in options.items()
        if value is not None
    )

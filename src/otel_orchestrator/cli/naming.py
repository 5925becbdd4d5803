"""How runs are named on the command line, and named again in what to type next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from ..errors import OrchestratorError
from ..sources.printable import printable
from ..urls import JAEGER_URL, is_http_url

dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Where the run files are. Default: OTEL_ORCHESTRATOR_RUN_DIR, else .otel-orchestrator/runs"
    " in the working directory.",
)

_JAEGER_VARIABLE: Final = "OTEL_ORCHESTRATOR_JAEGER_URL"


def _checked(context: click.Context, option: click.Parameter, url: str) -> str:
    if not is_http_url(url):
        is_typed = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        by = "--jaeger-url " if is_typed else f"{_JAEGER_VARIABLE}="
        raise OrchestratorError(f"{by}{url} is no URL. Type: {by}{JAEGER_URL}")
    return url


jaeger_url_option = click.option(
    "--jaeger-url",
    default=JAEGER_URL,
    envvar=_JAEGER_VARIABLE,
    callback=_checked,
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

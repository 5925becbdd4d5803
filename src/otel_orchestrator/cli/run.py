"""`otel-orchestrator run`: run a Python program with everything instrumented."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from ..errors import OrchestratorError
from ..semconv import Attr

_AUTO: Final = Path(__file__).resolve().parent.parent / "_auto"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--service-name", help="service.name; default: the program's name.")
@click.option("--label", help="Label of the run, to compare runs by.")
@click.option("--console", is_flag=True, help="Print a line for each task, node, call and loop.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    service_name: str | None, label: str | None, console: bool, program: tuple[str, ...]
) -> None:
    """Run PROGRAM, such as `python app.py` or `app.py`, traced and without a change to it."""
    words = list(program)
    if words[0].startswith("-"):
        known = ", ".join(o for p in command.params for o in p.opts if o.startswith("-"))
        raise OrchestratorError(f"otel-orchestrator run has no option {words[0]}; it has {known}")
    if words[0].endswith(".py"):
        if not Path(words[0]).is_file():
            raise OrchestratorError(f"there is no file {words[0]}")
        words.insert(0, sys.executable)
    elif words[0] in ("python", "python3"):
        words[0] = sys.executable  # the one that has this package, whatever PATH says
    found = shutil.which(words[0])
    if found is None:
        raise OrchestratorError(
            f"there is no program {words[0]}. Type one that is on your PATH, or a file of Python:"
            " otel-orchestrator run app.py"
        )
    environment = dict(os.environ)
    paths = [str(_AUTO), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    if service_name:
        environment["OTEL_SERVICE_NAME"] = service_name
    if label:
        said = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
        pair = f"{Attr.RUN_LABEL}={label.replace(',', '%2C').replace('=', '%3D')}"
        environment["OTEL_RESOURCE_ATTRIBUTES"] = f"{said},{pair}" if said else pair
    if console:
        environment["OTEL_ORCHESTRATOR_CONSOLE"] = "1"
    sys.stdout.flush()
    try:
        os.execve(found, words, environment)
    except OSError as error:  # such as a script that does not say what runs it
        raise OrchestratorError(
            f"{words[0]} cannot be run: {error.strerror}. Type what runs it: sh {words[0]} ..."
        ) from error

"""`otel-orchestrator stack`: is what the telemetry goes to in order?"""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ..errors import OrchestratorError
from ..urls import JAEGER_URL, is_http_url
from .endpoint import endpoint_options, set_variables
from .files import say
from .terminal import is_coloured

_FAILED = 1
_NONE = "none"
_MARKS = {"ok": ("✓", "green"), "warning": ("!", "dark_orange"), "failed": ("✗", "bold red")}


@click.group("stack")
def command() -> None:
    """Look after what the telemetry goes to."""


@command.command()
@endpoint_options
@click.option(
    "--jaeger",
    default=JAEGER_URL,
    envvar="OTEL_ORCHESTRATOR_JAEGER_URL",
    show_default=True,
    help="Or none.",
)
@click.option("--prometheus", default="http://localhost:9090", show_default=True, help="Or none.")
@click.option("--grafana", default="http://localhost:3000", show_default=True, help="Or none.")
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text")
def check(
    endpoint: str | None,
    protocol: str | None,
    jaeger: str,
    prometheus: str,
    grafana: str,
    shape: str,
) -> int:
    """Send a span and a count, look where they arrive, and say what to mend.

    Exit code 0: all is well, or works. 1: something does not work. 2: the question makes no sense.
    """
    # Sending takes the writing half, with OpenTelemetry's SDK.
    from ..stack_check import Addresses, check_stack

    set_variables(endpoint, protocol)
    addresses = Addresses(
        _address("--jaeger", jaeger),
        _address("--prometheus", prometheus),
        _address("--grafana", grafana),
    )
    seen = []
    for one in check_stack(addresses):
        seen.append(one)
        if shape == "text":
            _print(one.part, one.standing, one.told, one.fix)
    if shape == "json":
        say(json.dumps({"format": 1, "checks": [asdict(one) for one in seen]}, indent=2))
    return _FAILED if any(one.standing == "failed" for one in seen) else 0


def _address(option: str, said: str) -> str | None:
    if said == _NONE:
        return None
    if not said.startswith(("http://", "https://")):
        raise OrchestratorError(f"{option} {said} is no URL. Type: {option} http://{said}, or none")
    if not is_http_url(said):
        raise OrchestratorError(
            f"{option} {said} is no URL. Type: {option} http://HOST:PORT, or none"
        )
    return said.rstrip("/")


def _print(part: str, standing: str, told: str, fix: str | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(no_color=not is_coloured(), highlight=False, soft_wrap=True)
    mark, style = _MARKS[standing]
    # Printed by rich itself, a closed pipe would end the program with 1: something does not work.
    with console.capture() as captured:
        console.print(Text.assemble((f"{mark} ", style), (f"{part:<11}", "bold"), told))
        if fix is not None:
            console.print(Text(f"  {'':<11}{fix}", "bright_black"))
    say(captured.get(), end="")

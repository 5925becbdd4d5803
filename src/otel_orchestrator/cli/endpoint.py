"""Where to send, of the commands that do: options that stand for OpenTelemetry's variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..errors import OrchestratorError
from ..urls import is_http_url

_Command = TypeVar("_Command", bound=Callable[..., Any])

_endpoint_option = click.option(
    "--endpoint", metavar="URL", help="Default: OTEL_EXPORTER_OTLP_ENDPOINT."
)
_protocol_option = click.option(
    "--protocol",
    type=click.Choice(["grpc", "http/protobuf"]),
    help="Default: OTEL_EXPORTER_OTLP_PROTOCOL, else grpc.",
)


def endpoint_options(command: _Command) -> _Command:
    """Give a command `--endpoint` and `--protocol`."""
    return _endpoint_option(_protocol_option(command))


def set_variables(endpoint: str | None, protocol: str | None) -> None:
    """Let options stand for the standard variables, which the exporters read by themselves.

    Raises:
        OrchestratorError: the endpoint is no URL.
    """
    if endpoint is not None and not is_http_url(endpoint):
        said = endpoint.rpartition("@")[2]
        raise OrchestratorError(
            f"--endpoint {said} is no URL. Type: --endpoint http://localhost:4317"
        )
    for name, value in (("ENDPOINT", endpoint), ("PROTOCOL", protocol)):
        if value is not None:
            os.environ[f"OTEL_EXPORTER_OTLP_{name}"] = value
            for signal in ("TRACES", "METRICS"):  # of a signal, its own variable counts more
                os.environ.pop(f"OTEL_EXPORTER_OTLP_{signal}_{name}", None)

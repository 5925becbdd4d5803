"""`otel-orchestrator ship`: send stored runs to an OTLP endpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..run_folder import folder_from_environment
from ..sources.runfiles import find_run, list_runs
from .files import say
from .naming import dir_option

if TYPE_CHECKING:
    from collections.abc import Callable

_REFUSED = 1


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--endpoint", metavar="URL", help="Default: OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option(
    "--protocol",
    type=click.Choice(["grpc", "http/protobuf"]),
    help="Default: OTEL_EXPORTER_OTLP_PROTOCOL, else grpc.",
)
@click.option("--again", is_flag=True, help="Send every span, whatever was acknowledged before.")
@dir_option
def command(
    runs: tuple[str, ...],
    endpoint: str | None,
    protocol: str | None,
    again: bool,
    folder: Path | None,
) -> int:
    """Send stored runs to an OTLP endpoint, such as a Collector.

    RUN is a run id, its beginning, or a file. Without one, everything is sent that a program could
    not send itself. Only what the endpoint has not acknowledged is sent; the other
    OTEL_EXPORTER_OTLP_* variables (headers, certificates) hold as well.
    """
    # Sending takes the writing half, with OpenTelemetry's SDK: no other subcommand pays for that.
    from ..delivery.shipping import Shipper

    set_variables(endpoint, protocol)
    shipper = Shipper()
    where = folder or folder_from_environment()
    if runs:
        paths = [find_run(run, where).path for run in runs]
    else:
        paths = shipper.owed([file.path for file in reversed(list_runs(where))])
        if not paths:
            say(f"{shipper.endpoint} has everything that was meant for it")
    has_refused = False
    for path in paths:
        with _progress_of(path) as progress:
            shipped = shipper.ship(path, progress, again=again)
        said = f"{path.stem}: {shipped.spans} spans sent to {shipper.endpoint}"
        if shipped.before:
            said += f", {shipped.before} were there"
        if shipped.refused:
            said += f", {shipped.refused} refused or unreadable"
            has_refused = True
        say(said)
    shipper.close()
    return _REFUSED if has_refused else 0


def set_variables(endpoint: str | None, protocol: str | None) -> None:
    """Let options stand for the standard variables, which the exporters read by themselves."""
    for name, value in (("ENDPOINT", endpoint), ("PROTOCOL", protocol)):
        if value is not None:
            os.environ[f"OTEL_EXPORTER_OTLP_{name}"] = value
            for signal in ("TRACES", "METRICS"):  # of a signal, its own variable counts more
                os.environ.pop(f"OTEL_EXPORTER_OTLP_{signal}_{name}", None)


@contextmanager
def _progress_of(path: Path) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        sending = bar.add_task(escape(f"Sending {path.stem}"), total=path.stat().st_size)
        yield lambda done: bar.update(sending, completed=done)

"""`otel-orchestrator ship`: send stored runs to an OTLP endpoint."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import OrchestratorError
from ..run_folder import folder_from_environment
from ..sources.runfiles import find_run, list_runs
from .endpoint import endpoint_options, set_variables
from .files import say
from .naming import dir_option, options_of
from .progress import sending

_REFUSED = 1


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@endpoint_options
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
    # Sending takes the writing half, with OpenTelemetry's SDK: what sends nothing loads none of it.
    from ..delivery.shipping import NotThisRunError, Shipper

    set_variables(endpoint, protocol)
    shipper = Shipper()
    where = folder or folder_from_environment()
    if runs:
        paths = [find_run(run, where).path for run in runs]
    else:
        stored = [file.path for file in reversed(list_runs(where))]
        paths = shipper.owed(stored)
        if not paths:
            say(f"{shipper.endpoint} has everything that was meant for it")
        for other, its in shipper.owed_to_others(stored).items():
            # Such as an address that was wrong: unasked, nothing is sent anywhere else.
            several = f" and {len(its) - 1} more" if len(its) > 1 else ""
            say(
                f"{other} does not have all of {its[-1].stem}{several}. To send that to"
                f" {shipper.endpoint}, name it: otel-orchestrator ship {its[-1].stem}"
                f"{options_of(endpoint=endpoint, protocol=protocol, dir=folder)}"
            )
    has_refused = False
    failed: list[NotThisRunError] = []
    for path in paths:
        try:
            with sending(path) as progress:
                shipped = shipper.ship(path, progress, again=again)
        except NotThisRunError as error:
            failed.append(error)
            continue
        said = f"{path.stem}: {shipped.spans} spans sent to {shipper.endpoint}"
        if shipped.before:
            said += f", {shipped.before} were there"
        if shipped.refused:
            said += f", {shipped.refused} refused or unreadable"
            has_refused = True
        say(said)
    shipper.close()
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise OrchestratorError(f"{failed[0]}{more}")
    return _REFUSED if has_refused else 0

"""`otel-orchestrator report`: say where the time of a run went."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from ..analysis.study import Study, study, study_of_parts
from ..errors import NoRunsError, OrchestratorError
from ..model import Run
from ..reports import html as html_report
from ..reports import json as json_report
from ..reports import perfetto
from ..reports import text as text_report
from ..run_folder import folder_from_environment
from ..sources.found import OF, Export, Source, find, read_one
from ..sources.in_parts import read_in_parts
from ..sources.jaeger import Wanted, is_jaeger
from ..sources.runfiles import RunFile
from ..sources.uncollected import uncollected
from ..urls import JAEGER_URL
from .files import check_free, write_whole
from .naming import dir_option, jaeger_url_option, named, options_of
from .progress import analysing, progress_of
from .terminal import is_coloured, report_width

_HTML: Final = "html"
_PERFETTO: Final = "perfetto"
_FILES: Final = {_HTML: ".html", _PERFETTO: ".pftrace"}
_BY_ENDING: Final = {".html": _HTML, ".htm": _HTML, ".json": "json", ".pftrace": _PERFETTO}
_LONGEST_NAME: Final = 100
_HINTS: Final = {
    _HTML: ": open it in a browser",
    _PERFETTO: ": open it in https://ui.perfetto.dev, which reads it without uploading it",
}


@click.command()
@click.argument("run", required=False)
@click.option("--format", "shape", type=click.Choice(["text", "json", _PERFETTO]))
@click.option("--html", is_flag=True, help="Write a page to look at: one file, without a server.")
@click.option("--all", "everything", is_flag=True, help="Show every span, fold nothing.")
@click.option("--explain", is_flag=True, help="Say how each number is made.")
@jaeger_url_option
@dir_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write to a file: .html a page, .json, .pftrace for Perfetto, anything else text.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@uncollected()
def command(
    run: str | None,
    shape: str | None,
    html: bool,
    everything: bool,
    explain: bool,
    jaeger_url: str,
    folder: Path | None,
    output: Path | None,
    force: bool,
) -> None:
    """Say where the time of RUN went.

    RUN is a run id or its beginning, a file, the address of a trace in Jaeger, jaeger:RUN-ID, or
    the newest run if there is none.
    """
    if html and shape is not None:
        raise OrchestratorError(f"--html or --format {shape}? Each is a report of its own")
    shape = _HTML if html else shape or _shape_of(output)
    if output is not None:
        check_free(output, force=force)
    source = find(run, folder or folder_from_environment(), jaeger_url)
    told = _study(source, is_brief=shape == "text" and not everything)
    run_id = told.run.id
    if run is None and isinstance(source, Export):
        run = f"{source.path}{OF}{run_id}"  # by its id alone nothing is found in an export
    typed_url = jaeger_url if _is_typed("jaeger_url") else None
    if output is None and shape in _FILES:
        output = Path(_file_name(run_id) + _FILES[shape])
        check_free(output, force=force)
    # Examples are where the run was read from, whatever Jaeger is the usual one.
    jaeger_url = (source.url if isinstance(source, Wanted) else jaeger_url).rstrip("/")
    content: str | bytes
    with analysing(len(told.run.spans)):
        if shape == _PERFETTO:
            content = perfetto.render(told)
        elif shape == _HTML:
            content = html_report.render(
                told,
                jaeger_url=jaeger_url,
                # A page is passed on: it does not say in which folder of whose this was.
                run=named(run and _without_folder(run), run_id, jaeger_url=typed_url),
            )
        elif shape == "json":
            content = json_report.render(told)
        else:
            content = text_report.render(
                told,
                width=report_width(),
                colour=output is None and is_coloured(),
                everything=everything,
                explain=explain,
                jaeger_url=jaeger_url if _may_be_in_jaeger(source) else None,
                run=named(run, run_id, dir=folder, jaeger_url=typed_url),
                options=options_of(dir=folder or _elsewhere(source)),
            )
    if output is None:
        print(content, end="")
    else:
        write_whole(output, content)
        print(f"Wrote {output}{_HINTS.get(shape, '')}")


def _elsewhere(source: Source) -> Path | None:
    """Return the folder of a run file that is not where run files usually are."""
    folder = source.path.parent if isinstance(source, RunFile) else None
    is_usual = folder is None or folder.resolve() == folder_from_environment().resolve()
    return None if is_usual else folder


def make_report(file: RunFile) -> str:
    """Read a run file and return its report for people."""
    url = JAEGER_URL if file.was_sent else None
    told = _study(file, is_brief=True)
    return text_report.render(told, width=report_width(), colour=is_coloured(), jaeger_url=url)


def _shape_of(output: Path | None) -> str:
    """Return what a file is to hold, by how its name ends: the name is all that was said of it."""
    return "text" if output is None else _BY_ENDING.get(output.suffix.lower(), "text")


def _is_typed(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


def _may_be_in_jaeger(source: Source) -> bool:
    """Whether links would lead anywhere: a run file may never have been sent, unless who names a
    Jaeger knows better."""
    asked = click.get_current_context().get_parameter_source("jaeger_url")
    is_usual = asked is ParameterSource.DEFAULT
    return not (is_usual and isinstance(source, RunFile)) or source.was_sent


def _study(source: Source, *, is_brief: bool) -> Study:
    """Read a run and work out what is to be said of it.

    Args:
        source: where it is.
        is_brief: not every span is asked for.
    """
    if is_brief and isinstance(source, RunFile):
        with progress_of(source.path) as progress:
            parts = read_in_parts(source, progress)
        if parts is not None:
            with analysing(sum(part.digests.counted.spans for part in parts.parts)):
                told = study_of_parts(parts)
            if told is not None:
                return told
    run = _read(source)
    with analysing(len(run.spans)):
        return study(run)


def _read(source: Source) -> Run:
    if isinstance(source, Wanted):
        return read_one(source)
    with progress_of(source.path) as progress:
        run = read_one(source, progress)
    if not run.spans:
        raise NoRunsError(f"{source.path} holds no spans: there is nothing to report")
    return run


def _without_folder(word: str) -> str:
    return word if is_jaeger(word) else Path(word).name


def _file_name(run_id: str) -> str:
    # The id may be anything that a file says it is; file systems count bytes.
    name = re.sub(r"[^\w.-]+", "_", run_id).lstrip(".").encode()
    return name[:_LONGEST_NAME].decode(errors="ignore") or "run"

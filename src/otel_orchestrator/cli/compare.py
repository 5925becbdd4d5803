"""`otel-orchestrator compare`: what got slower between two groups of runs, why, and how sure."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from os.path import realpath
from pathlib import Path
from typing import Final

import click

from ..analysis.comparing.comparison import compare
from ..analysis.comparing.digest import Digest
from ..analysis.comparing.rules import parse_rule, rules_with
from ..errors import OrchestratorError
from ..reports.compare import json as json_report
from ..reports.compare import junit, markdown, text
from ..reports.html import comparison as html_report
from ..run_folder import folder_from_environment
from ..sources.baselines import encode
from ..sources.groups import digests_of, find_group
from .files import check_free, say, write_whole
from .naming import dir_option, jaeger_url_option
from .progress import progress_over
from .terminal import is_coloured, report_width

_SHAPES: Final = {
    "text": ".txt",
    "markdown": ".md",
    "junit": ".xml",
    "json": ".json",
    "html": ".html",
}
_PAGE: Final = Path("comparison.html")
_WITH: Final = "--with"


class _Command(click.Command):
    """Lets `--with` take all words up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = (p for p in self.params if isinstance(p, click.Option) and not p.is_flag)
        with_value = {name for option in options for name in option.opts}
        return super().parse_args(ctx, list(_spread(args, with_value)))


def _spread(words: Iterable[str], with_value: Container[str]) -> Iterator[str]:
    """Put `--with` before each of the words that follow it.

    Args:
        words: of the command line.
        with_value: the options whose next word is their value.

    Raises:
        OrchestratorError: a word comes so late that it may be of either side.
    """
    is_after = is_candidate = False
    rest = iter(words)
    for word in rest:
        name, _, first = word.partition("=")
        if name == _WITH:
            is_after = is_candidate = True
            yield from (_WITH, first) if first else ()
        elif word.startswith("-"):
            is_candidate = False
            yield word
            yield from islice(rest, 1 if word in with_value else 0)
        elif is_candidate:
            yield from (_WITH, word)
        elif is_after:
            raise OrchestratorError(
                f"is {word} of the runs before, or of those after? Type BASE, {_WITH} and all of"
                " CANDIDATE, then options"
            )
        else:
            yield word


@click.command(cls=_Command)
@click.argument("base", nargs=-1, required=True)
@click.option(_WITH, "candidate", multiple=True, metavar="CANDIDATE...", help="The runs after.")
@click.option(
    "--fail-on",
    "rules",
    multiple=True,
    metavar="RULE",
    help="Such as 'llm.mean>+10%' or 'wall>+5%,2s'; may be repeated.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 if it cannot be decided.")
@click.option(
    "--same-machine",
    is_flag=True,
    help="The runs are from one machine and session, whatever they say.",
)
@click.option(
    "--format", "shape", type=click.Choice([s for s in _SHAPES if s != "html"]), default="text"
)
@click.option(
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write to a file, too: .html, .md, .xml (JUnit), .json or .txt; may be repeated.",
)
@click.option("--html", is_flag=True, help=f"Write a page, too: {_PAGE}, or the --output for it.")
@click.option(
    "--save-baseline", type=click.Path(path_type=Path), help="Keep what BASE came to in a file."
)
@click.option("--force", is_flag=True, help="Overwrite files.")
@dir_option
@jaeger_url_option
def command(
    base: tuple[str, ...],
    candidate: tuple[str, ...],
    rules: tuple[str, ...],
    strict: bool,
    same_machine: bool,
    shape: str,
    outputs: tuple[Path, ...],
    html: bool,
    save_baseline: Path | None,
    force: bool,
    folder: Path | None,
    jaeger_url: str,
) -> int:
    """Say what got slower from BASE to CANDIDATE, why, and how sure that is.

    Each is one or more of: a run id or its beginning, a run file, a folder of them, label=NAME,
    jaeger:label=NAME, the address of a trace, a baseline file. Exit code 0: no regression, or
    undecided; 1: regression; 2: trouble.
    """
    if not candidate and save_baseline is None:
        raise OrchestratorError(f"compare with what? Type {_WITH} and the runs after")
    judged = rules_with(parse_rule(rule) for rule in rules)
    shapes = {path: _shape_of(path) for path in outputs}
    if html and candidate and "html" not in shapes.values():
        shapes[_PAGE] = "html"
    if save_baseline is not None and realpath(save_baseline) in map(realpath, shapes):
        raise OrchestratorError(
            f"{save_baseline} cannot be both the baseline and a report: give one another name"
        )
    for path in (*shapes, *([save_baseline] if save_baseline else [])):
        check_free(path, force=force)
    before, after = _read(base, candidate, folder or folder_from_environment(), jaeger_url)
    if save_baseline is not None:
        _write(save_baseline, encode(before))
    if not candidate:
        return 0
    comparison = compare(before, after, judged, trusted=same_machine)

    def rendered(shape: str, *, colour: bool = False) -> str:
        jaeger = jaeger_url.rstrip("/")
        if shape == "json":
            return json_report.render(comparison, strict=strict, jaeger_url=jaeger)
        if shape == "html":
            return html_report.render(comparison, jaeger_url=jaeger)
        if shape == "junit":
            return junit.render(comparison, strict=strict)
        if shape == "markdown":
            return markdown.render(comparison, jaeger)
        return text.render(comparison, width=report_width(), colour=colour, jaeger_url=jaeger)

    for path, wanted in shapes.items():
        _write(path, rendered(wanted))
    say(rendered(shape, colour=is_coloured()), end="")
    return comparison.exit_code(strict=strict)


def _read(
    base: tuple[str, ...], candidate: tuple[str, ...], folder: Path, jaeger_url: str
) -> tuple[list[Digest], list[Digest]]:
    groups = [find_group(words, folder, jaeger_url) for words in (base, candidate)]
    if in_both := groups[0].sources.keys() & groups[1].sources.keys():
        raise OrchestratorError(f"{min(in_both)} is on both sides: leave it out of one")
    sizes = [size for group in groups for size in group.sizes()]
    told: list[str] = []
    with progress_over(f"Reading {len(sizes)} runs", sum(sizes)) as progress:
        before, after = digests_of(groups, progress, told.append)
    for line in told:
        say(line, to=sys.stderr)
    return before, after


def _shape_of(path: Path) -> str:
    shape = next((name for name, ending in _SHAPES.items() if path.suffix == ending), None)
    if shape is None:
        raise OrchestratorError(
            f"--output {path}: its ending has to be one of {', '.join(_SHAPES.values())}"
        )
    return shape


def _write(path: Path, content: str) -> None:
    write_whole(path, content)
    # What goes to stdout may be meant for a program.
    say(f"Wrote {path}", to=sys.stderr)

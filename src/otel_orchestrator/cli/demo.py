"""`otel-orchestrator demo`: run the reference orchestrator, then report where its time went."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from ..errors import MissingLibraryError
from ..run_folder import folder_from_environment, is_of_a_run
from ..sources.runfiles import RunFile
from .report import make_report

_NEEDS = ("langgraph", "langchain", "langchain_openai")


@click.command()
@click.option("--seed", type=int, default=7, help="Of every delay and failure of the local LLM.")
@click.option("--workers", type=click.IntRange(min=1), default=3, help="Workers at a time.")
@click.option(
    "--dispatch",
    type=click.Choice(["supersteps", "continuous"]),
    default="supersteps",
    help="When a worker starts: with the others of its superstep, or as soon as it can.",
)
@click.option("--speed", type=float, default=1.0, help="All delays that are made up: times this.")
@click.option("--llm-speed", type=float, help="The local LLM's time to answer: also times this.")
@click.option("--llm-cache", is_flag=True, help="Ask the LLM no question twice.")
@click.option(
    "--slow",
    multiple=True,
    metavar="WHAT=SECONDS",
    help="Make llm, git, director or a task that much slower; may be repeated.",
)
@click.option("--label", help="Label of the run, to compare runs by.")
@click.option("--llm-url", help="Any OpenAI-compatible endpoint, instead of the local LLM.")
@click.option("--model", help="The model to ask there; OPENAI_API_KEY is its key.")
@click.option("--repo", type=click.Path(), help="Work on a clone of this repository.")
@click.option("--objective", help="What is to be done in that repository.")
@click.option("--keep", is_flag=True, help="Keep the repository that was worked on.")
@click.option(
    "--record", type=click.Path(), help="Where the local LLM, and what --slow delays, note when."
)
def command(**options: object) -> None:
    """Run the reference orchestrator and report where its time went."""
    for library in _NEEDS:
        if find_spec(library) is None:
            raise MissingLibraryError(library, "demo")
    folder = folder_from_environment()
    known = _files(folder)
    # A process of its own: what reads runs never imports what writes them.
    program = [sys.executable, "-m", "otel_orchestrator.demo", *_words(options)]
    code = subprocess.run(program, check=False).returncode
    made = _files(folder) - known
    if code not in (0, 1) or not made:
        sys.exit(code or 2)
    newest = max(made, key=lambda path: path.stat().st_mtime)
    file = RunFile(newest.stem, newest, newest.stat().st_mtime)
    print()
    print(make_report(file), end="")
    sys.exit(code)


def _files(folder: Path) -> set[Path]:
    return {p for p in folder.glob("*.jsonl") if is_of_a_run(p)}


def _words(options: dict[str, object]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, tuple):
            words += [word for each in value for word in (flag, str(each))]
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words

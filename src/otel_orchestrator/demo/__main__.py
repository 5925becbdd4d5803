"""`python -m otel_orchestrator.demo`: run the reference orchestrator, traced.

What concerns tracing is three lines in this file: configure, instrument and shutdown; and spans by
hand for what nobody else can see: `dispatch.py` and `waiting.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import otel_orchestrator as otel

from ..errors import MissingLibraryError, OrchestratorError
from . import plan
from .repository import Repository, check_git, prepare_clone, prepare_shipped, run_tests
from .slow import DIRECTOR, GIT, LLM, Slow

_LOCAL_MODEL: Final = "local-llm"
_START_TIMEOUT_S: Final = 20
_CONNECT_TIMEOUT_S: Final = 5
_LONGEST_DELAY_S: Final = 3_600


def main() -> None:
    """Run the demo; exit code 2 and one line for trouble, 1 if the work was not done."""
    try:
        options = parser().parse_args(sys.argv[1:])
        _check(options)
        done = run(options)
    except OrchestratorError as error:
        sys.exit(_complain(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        otel.shutdown()
    sys.exit(0 if done else 1)


def _complain(message: str) -> int:
    print(f"otel-orchestrator: {message}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OrchestratorError(f"{message}. Type: otel-orchestrator demo --help")


def parser() -> argparse.ArgumentParser:
    """Return what reads the options; `cli/demo.py` says what each is for."""
    made = _Parser(prog="otel-orchestrator demo", description=__doc__)
    made.add_argument("--seed", type=int, default=7)
    made.add_argument("--workers", type=int, default=3)
    made.add_argument("--dispatch", choices=("supersteps", "continuous"), default="supersteps")
    made.add_argument("--speed", type=float, default=1.0)
    made.add_argument("--llm-speed", type=float)
    made.add_argument("--llm-cache", action="store_true")
    made.add_argument("--slow", action="append", default=[], metavar="WHAT=SECONDS")
    made.add_argument("--label")
    made.add_argument("--llm-url")
    made.add_argument("--model")
    made.add_argument("--repo", type=Path)
    made.add_argument("--objective")
    made.add_argument("--keep", action="store_true")
    made.add_argument("--record", type=Path)
    return made


def _check(options: argparse.Namespace) -> None:
    check_git()
    if options.workers < 1:
        raise OrchestratorError("--workers has to be 1 or more")
    for name, value in (("--speed", options.speed), ("--llm-speed", options.llm_speed)):
        if value is not None and not 0 < value <= 100:
            raise OrchestratorError(f"{name} has to be above 0: 0.1 is ten times as fast")
    _delays(options)
    _check_endpoint(options)
    if options.record is not None and not options.record.resolve().parent.is_dir():
        raise OrchestratorError(f"--record {options.record}: there is no such folder")
    try:
        import langchain.agents  # noqa: F401
        import langchain_openai  # noqa: F401
        import langgraph.graph  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingLibraryError(str(error.name), "demo") from error
    except ImportError as error:
        raise OrchestratorError(
            f"the installed LangChain and LangGraph do not fit each other: {error.msg}. Type:"
            " pip install --upgrade 'otel-orchestrator[demo]'"
        ) from error


def _delays(options: argparse.Namespace) -> dict[str, float]:
    """Read every `--slow WHAT=SECONDS`; seconds by what, at the pace of the demo."""
    known = {LLM, GIT, DIRECTOR, *(t["id"] for t in plan.shipped_tasks())}
    delays = {}
    for given in options.slow:
        what, _, seconds = given.partition("=")
        if what not in known and not options.repo:
            raise OrchestratorError(f"--slow {given}: WHAT is one of {', '.join(sorted(known))}")
        try:
            delays[what] = float(seconds) * options.speed
        except ValueError:
            delays[what] = -1.0
        if not 0 < delays[what] <= _LONGEST_DELAY_S:
            raise OrchestratorError(f"--slow {given}: type seconds, such as --slow {what}=2")
    return delays


def _check_endpoint(options: argparse.Namespace) -> None:
    if options.llm_url is not None:
        parts = urlsplit(options.llm_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OrchestratorError(
                f"--llm-url {options.llm_url} is no URL. Type: --llm-url http://localhost:11434/v1"
            )
        if not options.model:
            raise OrchestratorError("--llm-url needs --model, the name of the model to ask")
    elif options.model or options.repo:
        raise OrchestratorError("--model and --repo need --llm-url, an OpenAI-compatible endpoint")
    if options.llm_url is not None and (options.llm_speed or LLM in _delays(options)):
        raise OrchestratorError("--llm-speed and --slow llm are for the local LLM, not --llm-url")
    if options.repo is not None and not options.objective:
        raise OrchestratorError("--repo needs --objective, what is to be done there")


def _check_answers(url: str) -> None:
    """Connect once: the model's client would try for a long time, and then say less."""
    parts = urlsplit(url)
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname or ""):
        return  # the proxy connects, and may know names that are not known here
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), _CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:  # ValueError: no number of a port
        raise OrchestratorError(
            f"--llm-url {url} does not answer ({error}). Start that server, or leave --llm-url out"
            " to use the local LLM"
        ) from error


def run(options: argparse.Namespace) -> bool:
    """Run the orchestrator once; return whether everything it was to do is done."""
    otel.configure("demo-orchestrator", label=options.label)
    otel.instrument()
    with tempfile.TemporaryDirectory(prefix="otel-orchestrator-demo-") as temporary:
        folder = Path(temporary)
        if options.keep:
            folder = Path(tempfile.mkdtemp(prefix="otel-orchestrator-demo-"))
        repository, tasks = _prepare(options, folder)
        with _llm(options) as (url, model):
            done = asyncio.run(_orchestrate(options, repository, tasks, url, model))
        if options.keep:
            print(f"The repository is kept in {repository.root}")
    return done


def _prepare(options: argparse.Namespace, folder: Path) -> tuple[Repository, list[plan.Task]]:
    if options.repo is not None:
        return prepare_clone(options.repo, folder), []
    return prepare_shipped(folder), plan.shipped_tasks()


@contextmanager
def _llm(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Give the endpoint and the model; without one, start the local server beside this process."""
    if options.llm_url is not None:
        _check_answers(options.llm_url)
        yield options.llm_url, options.model
        return
    command = [sys.executable, "-m", "otel_orchestrator.demo.llm_server", "--end-with-parent"]
    command += ["--seed", str(options.seed), "--speed", str(options.speed)]
    command += ["--llm-speed", str(options.llm_speed or 1.0)]
    command += ["--slower", str(_delays(options).get(LLM, 0.0))]
    if options.record is not None:
        command += ["--record", str(options.record)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            raise OrchestratorError("the local LLM server did not start")
        yield url, _LOCAL_MODEL
    finally:
        server.terminate()
        server.wait(_START_TIMEOUT_S)
        if server.stdout is not None:
            server.stdout.close()


async def _orchestrate(
    options: argparse.Namespace,
    repository: Repository,
    tasks: list[plan.Task],
    url: str,
    model_name: str,
) -> bool:
    from .agent import make_model
    from .graph import Work, build
    from .progress import Progress

    api_key = os.environ.get("OPENAI_API_KEY", "none") if options.llm_url else "none"
    model = make_model(url, model_name, api_key, cached=options.llm_cache)
    slow = Slow(_delays(options), options.record)
    slow.hook_git(repository.root)
    before = await _passing(repository, tasks)
    with Progress() as progress:
        work = Work(repository, model, tasks, progress.say, slow, options.workers)
        graph = build(work, is_continuous=options.dispatch == "continuous")
        objective = options.objective or plan.shipped()["objective"]
        progress.line(f"{len(tasks) or 'some'} tasks for {options.workers} workers: {objective}")
        final = await _stream(graph, objective, options.workers, progress)
    return await _tell(repository, tasks, before, final)


async def _stream(graph: Any, objective: str, workers: int, progress: Any) -> list[plan.Task]:
    """Follow the graph's stream, as a server would to tell its clients."""
    tasks: list[plan.Task] = []
    given = {"objective": objective, "turn": 0, "tasks": []}
    config = {"max_concurrency": workers, "recursion_limit": 200}
    try:
        async for state in graph.astream(given, config, stream_mode="values"):
            tasks = state["tasks"]
            progress.plan(tasks)
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("openai", "httpx", "httpx2"):
            raise OrchestratorError(f"the LLM does not answer: {type(error).__name__}") from error
        raise
    return tasks


async def _passing(repository: Repository, tasks: list[plan.Task]) -> int:
    names = [t["test"] for t in tasks if t["test"]]
    results = [await run_tests(repository.root, name) for name in names]
    return sum(passed for passed, _ in results)


async def _tell(
    repository: Repository, tasks: list[plan.Task], before: int, final: list[plan.Task]
) -> bool:
    done = sum(1 for t in final if t["status"] == plan.DONE)
    print(f"{done} of {len(final)} tasks are done and merged.")
    if not tasks:
        return done == len(final) > 0
    after = await _passing(repository, tasks)
    print(
        f"Tests of the shop: {before} of {len(tasks)} passed before,"
        f" {after} of {len(tasks)} pass now."
    )
    return after == len(tasks)


if __name__ == "__main__":
    main()

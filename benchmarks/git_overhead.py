"""What tracing git costs: added time per process, with our hooks and with git's own events.

    python benchmarks/git_overhead.py [--repeats N] [--files N]

Three ways run the same git commands in turn, in one process: not instrumented, instrumented, and
instrumented with `git_trace2=True`. What counts is CPU time, because others on the machine change
it less than the wall clock, of the calling thread and of git (with all that it starts) apart; of
many repeats the fastest. What the reading thread needs for each process is a third: the program
does not wait for it, but shares Python with it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from overhead import Nowhere

from otel_orchestrator.instrumentors.git import GitInstrumentor
from otel_orchestrator.instrumentors.git.trace2 import events, reader
from otel_orchestrator.lifecycle import spans

COMMANDS = {
    "rev-parse": ("rev-parse", "HEAD"),
    "status": ("status", "--porcelain"),
    "log": ("log", "-10", "--format=%H"),
    "commit": (
        *("-c", "user.name=n", "-c", "user.email=e@localhost"),
        *("commit", "--quiet", "--allow-empty", "--message", "x"),
    ),
}
WAYS = ("untraced", "hooks", "trace2")


def repository_in(folder: Path, files: int) -> Path:
    """Make a repository with a number of files, checked out."""
    root = folder / "repository"
    subprocess.run(["git", "init", "--quiet", "-b", "main", str(root)], check=True)
    lines = ["commit refs/heads/main", "committer n <e@localhost> 0 +0000", "data 1", "x"]
    for i in range(files):
        lines += [f"M 100644 inline d{i % 20}/f{i}", "data 1", "x"]
    stream = "\n".join(lines) + "\n"
    fast_import = ["git", "fast-import", "--quiet"]
    subprocess.run(fast_import, cwd=root, input=stream.encode(), check=True)
    subprocess.run(["git", "reset", "--quiet", "--hard"], cwd=root, check=True)
    subprocess.run(["git", "config", "gc.auto", "0"], cwd=root, check=True)
    return root


def cpu_seconds() -> tuple[float, float]:
    """Return the CPU time of this thread, and that of all processes that have ended."""
    thread, ended = map(resource.getrusage, (resource.RUSAGE_THREAD, resource.RUSAGE_CHILDREN))
    return thread.ru_utime + thread.ru_stime, ended.ru_utime + ended.ru_stime


def by_run(root: Path, words: tuple[str, ...]) -> None:
    """Run git as most programs do."""
    subprocess.run(["git", *words], cwd=root, capture_output=True, check=True)


def by_asyncio(runner: asyncio.Runner) -> Callable[[Path, tuple[str, ...]], None]:
    """Return a function that runs git as a coroutine."""

    async def run(root: Path, words: tuple[str, ...]) -> None:
        process = await asyncio.create_subprocess_exec(
            "git", *words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await process.communicate()

    return lambda root, words: runner.run(run(root, words))


def measure(
    run: Callable[[Path, tuple[str, ...]], None],
    root: Path,
    words: tuple[str, ...],
    provider: TracerProvider,
    repeats: int,
) -> dict[str, tuple[float, float]]:
    """Return by each way the fewest CPU seconds of the thread and of git."""
    best = dict.fromkeys(WAYS, (float("inf"), float("inf")))
    for _ in range(max(1, repeats // 10)):
        for way in WAYS:
            if way != "untraced":
                GitInstrumentor().instrument(tracer_provider=provider, git_trace2=way == "trace2")
            run(root, words)  # the first one makes the folder and the thread
            gc.collect()
            gc.disable()
            for _ in range(10):
                thread, git = cpu_seconds()
                run(root, words)
                thread_after, git_after = cpu_seconds()
                least_thread, least_git = best[way]
                best[way] = (
                    min(least_thread, thread_after - thread),
                    min(least_git, git_after - git),
                )
            gc.enable()
            if way != "untraced":
                GitInstrumentor().uninstrument()
    return best


def reading_of(root: Path, words: tuple[str, ...], folder: Path) -> float:
    """Return the CPU seconds to make spans of one process's events."""
    file = folder / "events"
    file.unlink(missing_ok=True)
    environment = {**os.environ, "GIT_TRACE2_EVENT": str(file), "GIT_TRACE2_EVENT_NESTING": "2"}
    began_ns = time.time_ns()
    subprocess.run(["git", *words], cwd=root, env=environment, capture_output=True, check=True)
    ended_ns = time.time_ns()
    data = file.read_bytes()
    best = float("inf")
    parent = spans.start("git", state="working", category="git")
    for _ in range(50):
        began = time.thread_time()
        for part in events.parts_in(data, began_ns, ended_ns, 1_000_000):
            reader._make_spans(part, parent.context)
        best = min(best, time.thread_time() - began)
    parent.end()
    return best


def main() -> None:
    """Print a table: microseconds for each process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--files", type=int, default=1_000)
    options = parser.parse_args()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    print(
        f"CPU microseconds for each git process, {options.files} files, fastest of"
        f" {options.repeats}\n"
    )
    head = ("", "untraced", "hooks add", "trace2 adds", "to git", "read later")
    print("{:<20}{:>10}{:>12}{:>14}{:>10}{:>13}".format(*head))
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        folder = Path(name)
        root = repository_in(folder, options.files)
        for title, run in (("run", by_run), ("asyncio", by_asyncio(runner))):
            for command, words in COMMANDS.items():
                best = measure(run, root, words, provider, options.repeats)
                thread, git = best["untraced"]
                spans.use_provider(provider)
                cells = (
                    thread + git,
                    best["hooks"][0] - thread,
                    best["trace2"][0] - thread,
                    best["trace2"][1] - git,
                    reading_of(root, words, folder),
                )
                print(
                    "{:<20}{:>10.0f}{:>12.0f}{:>14.0f}{:>10.0f}{:>13.0f}".format(
                        f"{title} {command}", *(cell * 1e6 for cell in cells)
                    ),
                    flush=True,
                )
    provider.shutdown()
    spans.use_provider(None)


if __name__ == "__main__":
    main()

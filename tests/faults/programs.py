"""Small programs that, between them, pass every place where ours stands in for somebody's function.

A program returns what the app would see. Each group is what one instrumentor, or the set-up, is
about; its programs are the same with it and without.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..llm_server import LLM
from .calls import anthropic, http, langchain, openai
from .groups import Group, Program

# --- git ---


def _git(folder: Path, *, is_inside: bool) -> Group:
    from ..git_processes.ways import AS, WAYS, exec_git, plain

    root = folder / "project"
    root.mkdir()
    plain("init", "-q", "-b", "main", cwd=root)
    (root / "file").write_text("one\n")
    plain("add", ".", cwd=root)
    plain(*AS, "commit", "-qm", "first", cwd=root)
    locked = folder / "locked"
    plain("clone", "-q", str(root), str(locked), cwd=folder)
    (locked / ".git" / "index.lock").touch()

    def run(*words: str, **options: Any) -> Any:
        return subprocess.run(words, cwd=root, check=True, capture_output=True, **options).stdout

    def terminated() -> Any:
        process = subprocess.Popen(["git", "cat-file", "--batch"], cwd=root, stdin=subprocess.PIPE)
        process.terminate()
        code = process.wait()
        assert process.stdin
        process.stdin.close()
        return code

    def dropped() -> Any:
        subprocess.Popen(["git", "status"], cwd=root, stdout=subprocess.DEVNULL)
        return gc.collect() >= 0

    async def both(*words: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        return await process.communicate(), process.returncode

    async def terminated_async() -> Any:
        process = await asyncio.create_subprocess_exec(
            "git", "cat-file", "--batch", cwd=root, stdin=subprocess.PIPE
        )
        process.terminate()
        return await process.wait()

    async def in_shell() -> Any:
        process = await asyncio.subprocess.create_subprocess_shell(
            f"git -C {root} branch", stdout=subprocess.PIPE
        )
        return await process.communicate()

    programs: dict[str, Program] = {way.__name__: partial(way, root) for way in WAYS}
    programs |= {
        "output": lambda: run("git", "rev-parse", "--abbrev-ref", "HEAD"),
        "text": lambda: run("git", "log", "--format=%s", text=True),
        "environment": lambda: run("git", "var", "GIT_PAGER", env={"GIT_PAGER": "p", "PATH": PATH}),
        "fails": lambda: run("git", "checkout", "nowhere"),
        "no such program": lambda: run("/nowhere/git", "status"),
        "alias": lambda: run("git", "-c", "alias.st=status --short", "st"),
        "locked": lambda: run("git", "-C", str(locked), "add", "file"),
        "too slow": lambda: run("git", "-c", "alias.slow=!sleep 0.3", "slow", timeout=0.05),
        "terminated": terminated,
        "dropped": dropped,
        "async output": lambda: asyncio.run(both("git", "branch")),
        "async fails": lambda: asyncio.run(both("git", "checkout", "nowhere")),
        "async no such program": lambda: asyncio.run(both("/nowhere/git", "status")),
        "async terminated": lambda: asyncio.run(terminated_async()),
        "async alone": lambda: asyncio.run(exec_git(root, "branch")),
        "async shell": lambda: asyncio.run(in_shell()),
    }
    return Group(programs, ("git",), {"git_trace2": is_inside})


PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def git(llm: LLM, stack: ExitStack) -> Group:
    return _git(_folder(stack), is_inside=False)


def git_trace2(llm: LLM, stack: ExitStack) -> Group:
    return _git(_folder(stack), is_inside=True)


def _folder(stack: ExitStack) -> Path:
    import tempfile

    return Path(
        stack.enter_context(
            tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)
        )
    )


# --- graphs, and spans by hand ---


def langgraph(llm: LLM, stack: ExitStack) -> Group:
    from ..langgraph.programs import OWN_SPANS, PROGRAMS

    return Group(PROGRAMS, ("langgraph",), own_spans=OWN_SPANS)


def manual(llm: LLM, stack: ExitStack) -> Group:
    import otel_orchestrator as otel
    from otel_orchestrator.manual import Traced

    runner = stack.enter_context(asyncio.Runner())
    job: dict[str, Any] = {"id": "a", "status": "planned", "depends_on": []}
    makers: dict[str, Callable[[], Traced]] = {
        "run": lambda: otel.run("r", conversation_id="c", concurrency_limit=2),
        "loop": otel.loop,
        "node": lambda: otel.node("n"),
        "task": lambda: otel.task("worker", dict(job), write_timing=True),
        "wait": lambda: otel.wait("lock", on="l"),
        "tool_call": lambda: otel.tool_call("t", call_id="1"),
        "llm_call": lambda: otel.llm_call("gpt-asked", provider="openai"),
    }

    def entered(make: Callable[[], Any]) -> Any:
        with make():
            return "x"

    def raising(make: Callable[[], Any]) -> Any:
        with make():
            raise ValueError("x")

    def decorated(make: Callable[[], Traced]) -> Any:
        @make()
        def plain(x: int) -> int:
            return x

        @make()
        async def coroutine(x: int) -> int:
            await asyncio.sleep(0)
            return x

        @make()
        def generator(x: int) -> Iterator[int]:
            yield x
            yield x + 1

        @make()
        async def async_generator(x: int) -> AsyncIterator[int]:
            yield x
            yield x + 1

        async def drained() -> list[int]:
            return [item async for item in async_generator(7)]

        def left() -> Any:
            return next(iter(generator(9)))

        return plain(1), runner.run(coroutine(3)), list(generator(5)), runner.run(drained()), left()

    def whole() -> Any:
        """A run as somebody without LangGraph would write it."""
        done: list[str] = []
        with otel.run("r"):
            otel.observe_tasks([job, {**job, "id": "b", "depends_on": ["a"]}])
            with otel.loop(), otel.node("director"), otel.task("worker", job):
                with otel.wait("queue"):
                    done.append("waited")
                with otel.llm_call("gpt-asked") as call:
                    otel.record_usage(call, input_tokens=1, output_tokens=2)
                answer = {"id": "chatcmpl-1", "model": "m", "choices": [], "usage": {}}
                otel.log_llm_response("a", answer, 12.5)
                done.append("asked")
        return done

    programs: dict[str, Program] = {"whole": whole}
    for name, make in makers.items():
        programs |= {
            f"with {name}": partial(entered, make),
            f"with {name}, raising": partial(raising, make),
            f"@{name}": partial(decorated, make),
        }
    return Group(programs)


# --- the set-up: processors, files, exporters ---


@contextmanager
def _set_up_anew(folder: Path, port: int) -> Iterator[None]:
    """Run `configure()` as if for the first time in a process, and `shutdown()`."""
    import os

    from opentelemetry import metrics, trace
    from opentelemetry.util._once import Once

    import otel_orchestrator as otel
    from otel_orchestrator import sdk

    where = f"http://127.0.0.1:{port}"
    os.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": where,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
    }
    theirs: Any = trace, metrics._internal
    for module, name in zip(theirs, ("TRACER", "METER"), strict=True):
        setattr(module, f"_{name}_PROVIDER", None)
        setattr(module, f"_{name}_PROVIDER_SET_ONCE", Once())
    sdk._configured = None
    otel.configure("faults", label="l", console=True, run_dir=folder)
    yield
    otel.shutdown(timeout_s=0.1)


def configured(llm: LLM, stack: ExitStack) -> Group:
    """Everything that `configure()` adds, and an endpoint that takes what is sent."""
    from opentelemetry import metrics, trace

    import otel_orchestrator as otel

    from ..delivery.receiver import Receiver, receiving

    port = stack.enter_context(receiving(Receiver(signals="traces,metrics"))).port
    folder = _folder(stack)
    open_ones: list[Any] = []

    def begin() -> None:
        set_up = _set_up_anew(folder, port)
        set_up.__enter__()
        open_ones.append(set_up)

    def end() -> None:
        open_ones.pop().__exit__(None, None, None)

    def own_spans() -> Any:
        tracer = trace.get_tracer("app")
        http = {"http.request.method": "GET"}
        with tracer.start_as_current_span("mine") as span:
            with tracer.start_as_current_span("below", attributes=http):
                span.set_attribute("key", 1)
            return "mine"

    def a_run() -> Any:
        with otel.run("r"):
            otel.observe_tasks([{"id": "a", "status": "planned", "depends_on": []}])
            with otel.loop(), otel.task("worker", "a"), otel.node("n"):
                return "done"

    def all_of_it() -> Any:
        results = own_spans(), a_run()
        providers: Any = trace.get_tracer_provider(), metrics.get_meter_provider()
        for provider in providers:
            if hasattr(provider, "force_flush"):
                provider.force_flush(100)
        return results

    return Group({"all of it": all_of_it}, begin=begin, end=end, besides=MANUAL)


MANUAL: Final = frozenset(
    "manual runs queue.tasks queue.states queue.turns queue.fields lifecycle.spans lifecycle.waits"
    " lifecycle.wrapping lifecycle.attaching".split()
)


GROUPS: Final[dict[str, Callable[[LLM, ExitStack], Group]]] = {
    make.__name__: make
    for make in (
        langgraph, langchain, openai, anthropic, http, git, git_trace2, manual, configured,
    )
}  # fmt: skip

"""Other instrumentations beside ours, each in a program of its own: `make others`.

    python -m tests.llm.beside            make a virtual environment for them, and try all of them
    python -m tests.llm.beside NAME ORDER one of them, in this environment; `theirs` or `ours` first

For each: whether the program's results are what they were, which spans a call of the OpenAI SDK and
one of LangChain have, and whether all of ours is gone afterwards. They are no development
dependencies: some of them patch as soon as they are imported, and one brings a tracer of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from ..llm_server import serving

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "otel-orchestrator"
    / "beside"
)
# What each of them consists of: distributions, and `module:Class` of instrumentors.
OTHERS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "OpenInference": (
        ("openinference-instrumentation-langchain", "openinference-instrumentation-openai"),
        (
            "openinference.instrumentation.langchain:LangChainInstrumentor",
            "openinference.instrumentation.openai:OpenAIInstrumentor",
        ),
    ),
    "OpenLLMetry": (
        ("opentelemetry-instrumentation-langchain", "opentelemetry-instrumentation-openai"),
        (
            "opentelemetry.instrumentation.langchain:LangchainInstrumentor",
            "opentelemetry.instrumentation.openai:OpenAIInstrumentor",
        ),
    ),
    "LangSmith": (("langsmith",), ()),
    "ddtrace": (("ddtrace",), ()),
}
OURS_NEEDS: Final = ("langgraph", "langchain", "langchain-openai", "openai", "httpx2")
MESSAGES: Final[Any] = [{"role": "user", "content": "x"}]


def main() -> int:
    """Try all of them; 1 if one of them changes anything."""
    if len(sys.argv) == 3:
        return 0 if tried(sys.argv[1], theirs_first=sys.argv[2] == "theirs") else 1
    python = FOLDER / "bin" / "python"
    if not (FOLDER / ".complete").exists():
        venv.create(FOLDER, with_pip=True, clear=True)
        wanted = [name for distributions, _ in OTHERS.values() for name in distributions]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--editable", str(ROOT), *OURS_NEEDS, *wanted], check=True)
        (FOLDER / ".complete").touch()
    failed = 0
    for name in OTHERS:
        for order in ("theirs", "ours"):
            command = [str(python), "-m", "tests.llm.beside", name, order]
            failed |= subprocess.run(command, cwd=ROOT, check=False).returncode
    return failed


def tried(name: str, *, theirs_first: bool) -> bool:
    """Try one of them; print what comes of it, and return whether nothing is broken."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    import otel_orchestrator as otel

    exported = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    trace.set_tracer_provider(provider)
    with serving() as llm:
        programs = programs_of(llm.url)
        bare = {what: program() for what, program in programs.items()}
        if theirs_first:
            switch_on(name)
        before = ours_at()
        otel.instrument(tracer_provider=provider)
        if not theirs_first:
            switch_on(name)
        results, spans = {}, {}
        for what, program in programs.items():
            exported.clear()
            results[what] = program()
            spans[what] = [span.name for span in reversed(exported.get_finished_spans())]
        otel.uninstrument()
    # Where theirs wrap ours, only who takes theirs off first gets the originals back.
    is_gone = ours_at() == before if theirs_first else True
    is_same = results == bare
    told = [f"results {'the same' if is_same else 'DIFFER'}"]
    if theirs_first:
        told.append(f"{'nothing' if is_gone else 'SOMETHING'} of ours is left afterwards")
    print(f"{name}, {'theirs' if theirs_first else 'ours'} first: {', '.join(told)}")
    for what, names in spans.items():
        print(f"    {what}: {', '.join(names)}")
    return is_same and is_gone


def programs_of(url: str) -> dict[str, Callable[[], str]]:
    """Calls of the SDK and of LangChain; each returns the answer."""
    import openai
    from langchain_openai import ChatOpenAI

    given: Any = {"base_url": f"{url}/v1", "api_key": "k"}
    client = openai.OpenAI(**given)
    model = ChatOpenAI(model="gpt-asked", **given)

    def stream() -> str:
        chunks = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    def create() -> str:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
        return str(answer.choices[0].message.content)

    return {
        "SDK": create,
        "SDK, streamed": stream,
        "LangChain": lambda: str(model.invoke("x").content),
        "LangChain, streamed": lambda: "".join(str(c.content) for c in model.stream("x")),
    }


def switch_on(name: str) -> None:
    """Switch another instrumentation on, in its own way."""
    for home in OTHERS[name][1]:
        module, _, kind = home.partition(":")
        getattr(import_module(module), kind)().instrument()
    if name == "LangSmith":
        os.environ |= {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_API_KEY": "k",
            "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
        }
    elif name == "ddtrace":
        os.environ["DD_TRACE_AGENT_URL"] = "http://127.0.0.1:9"
        import_module("ddtrace").patch(openai=True, langchain=True, langgraph=True)


def ours_at() -> dict[str, Any]:
    """What stands where we replace something."""
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.tools.base import BaseTool
    from langgraph.pregel._loop import PregelLoop
    from openai import Stream
    from openai._base_client import AsyncAPIClient, SyncAPIClient

    places: tuple[tuple[Any, str], ...] = (
        (BaseChatModel, "generate"), (BaseChatModel, "stream"), (BaseTool, "run"),
        (SyncAPIClient, "request"), (AsyncAPIClient, "request"), (Stream, "__next__"),
        (PregelLoop, "tick"), (subprocess.Popen, "__init__"),
    )  # fmt: skip
    return {f"{owner.__name__}.{name}": vars(owner)[name] for owner, name in places}


if __name__ == "__main__":
    sys.exit(main())

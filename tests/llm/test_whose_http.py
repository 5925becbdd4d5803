"""Whoever makes the spans of HTTP requests: attempts have their phases, and nobody's are undone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import otel_orchestrator as otel
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from ..llm_server import LLM, Reply
from ..trees import attributes_of, tree
from .callers import call, http_module
from .measuring import KINDS
from .told import chat_of

MODULE = http_module(openai)
THEIRS: Any = HTTPX2ClientInstrumentor if MODULE is httpx2 else HTTPXClientInstrumentor
WHOLE = "chat gpt-asked\n  POST\n  wait rate_limit\n  POST resend_count=1"


@pytest.fixture
def provider(exported: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exported))
    return made


@pytest.fixture
def left_alone() -> Iterator[None]:
    """The very functions that stood there before are there again."""

    core = import_module(MODULE.__name__.replace("httpx", "httpcore"))

    def handlers() -> list[Any]:
        owners = (MODULE.HTTPTransport, MODULE.AsyncHTTPTransport)
        return [dict(vars(o)) for o in (*owners, core.ConnectionPool, core.AsyncConnectionPool)]

    before = handlers()
    yield
    otel.uninstrument()
    if THEIRS().is_instrumented_by_opentelemetry:
        THEIRS().uninstrument()
    for then, now in zip(before, handlers(), strict=True):
        assert {k for k in then.keys() | now.keys() if then.get(k) is not now.get(k)} == set()


def ours(provider: TracerProvider) -> None:
    names = ["openai", MODULE.__name__]
    otel.instrument(only=names, tracer_provider=provider)


def limited(llm: LLM, *, is_async: bool = False) -> None:
    llm.replies += [Reply(status=429, retry_after_s=0.05)]
    call("openai", llm.url, "create", is_async=is_async)


def drawn(exported: InMemorySpanExporter) -> str:
    told = tree(exported.get_finished_spans(), waits=True, show=[Attr.RESEND_COUNT])
    exported.clear()
    return "\n".join(line for line in told.splitlines() if "wait pool" not in line)


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize("is_ours_undone_first", [True, False])
def test_theirs_was_on_before(
    exported: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    provider: TracerProvider,
    left_alone: None,
    llm: LLM,
    is_async: bool,
    is_ours_undone_first: bool,
) -> None:
    seen = []

    async def note_async(span: Any, request: Any) -> None:
        seen.append(request.url)

    THEIRS().instrument(
        tracer_provider=provider,
        request_hook=lambda span, request: seen.append(request.url),
        async_request_hook=note_async,
    )
    ours(provider)
    limited(llm, is_async=is_async)
    posts = [attributes_of(s) for s in exported.get_finished_spans() if s.name == "POST"]
    assert {p[Attr.STATE] for p in posts} == {"working"}
    assert all(Attr.HTTP_FIRST_BYTE in p and Attr.HTTP_REUSED in p for p in posts)
    assert drawn(exported) == WHOLE
    assert len(seen) == 2, "their own hook goes on"
    if is_ours_undone_first:
        otel.uninstrument()
        limited(llm, is_async=is_async)
        assert drawn(exported) == "POST\nPOST"
        assert len(seen) == 4
    else:
        THEIRS().uninstrument()
        limited(llm, is_async=is_async)
        assert drawn(exported) == "chat gpt-asked\n  wait rate_limit"


@pytest.mark.parametrize("is_ours_undone_first", [True, False])
def test_theirs_is_switched_on_after(
    exported: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    provider: TracerProvider,
    left_alone: None,
    llm: LLM,
    is_ours_undone_first: bool,
) -> None:
    """OpenTelemetry's instrumentation is there once: then it is ours that stays."""
    ours(provider)
    THEIRS().instrument(tracer_provider=provider)
    limited(llm)
    assert drawn(exported) == WHOLE
    if is_ours_undone_first:
        otel.uninstrument()
        assert not THEIRS().is_instrumented_by_opentelemetry
    else:
        THEIRS().uninstrument()
        # Now it is theirs, and stays when we go.
        THEIRS().instrument(tracer_provider=provider)
        otel.uninstrument()
        limited(llm)
        assert drawn(exported) == "POST\nPOST"


def test_of_a_client_of_theirs_too(
    exported: InMemorySpanExporter, provider: TracerProvider, left_alone: None, llm: LLM
) -> None:
    otel.instrument(only=["httpx", "httpx2"], tracer_provider=provider)
    for module, kind in ((httpx, HTTPXClientInstrumentor), (httpx2, HTTPX2ClientInstrumentor)):
        kind().uninstrument()
        with module.Client() as client:
            kind.instrument_client(client, tracer_provider=provider)
            client.get(f"{llm.url}/v1/models?key=hunter2#part")
        (span,) = exported.get_finished_spans()
        told = attributes_of(span)
        assert told["http.url"] == f"{llm.url}/v1/models"
        assert told[Attr.STATE] == "working"
        exported.clear()


@pytest.mark.parametrize("is_async", KINDS)
def test_where_nobody_makes_spans_of_requests_the_call_has_its_attempts_and_waits(
    exported: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    provider: TracerProvider,
    left_alone: None,
    llm: LLM,
    is_async: bool,
) -> None:
    ours(provider)
    THEIRS().uninstrument()
    limited(llm, is_async=is_async)
    assert chat_of(exported)[Attr.LLM_ATTEMPTS] == 2
    assert Attr.HTTP_FIRST_BYTE not in chat_of(exported)
    assert drawn(exported) == "chat gpt-asked\n  wait rate_limit"


PROGRAM = """
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="x")
messages = [{"role": "user", "content": "x"}]
client.chat.completions.create(model="gpt-asked", messages=messages)
"""


BIN = Path(sys.executable).parent
CONFIGURED = """
import otel_orchestrator as otel

otel.configure("app")
"""
INSTRUMENTED = f"{CONFIGURED}otel.instrument()\n"
WAYS: Any = {
    "otel-orchestrator run": ([BIN / "otel-orchestrator", "run"], PROGRAM, {}),
    "instrument()": ([], INSTRUMENTED + PROGRAM, {}),
    "opentelemetry-instrument": ([BIN / "opentelemetry-instrument"], CONFIGURED + PROGRAM, {}),
    "both": ([BIN / "opentelemetry-instrument"], INSTRUMENTED + PROGRAM, {}),
    # Then OpenTelemetry's own instrumentation of the SDK makes no span, and ours does.
    "without openai": (
        [BIN / "opentelemetry-instrument"],
        CONFIGURED + PROGRAM,
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai"},
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_program_of_its_own_has_all_of_it(llm: LLM, tmp_path: Path, name: str) -> None:
    way, program, variables = WAYS[name]
    llm.replies += [Reply(status=429, retry_after_s=0.05)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [*way, sys.executable, "-c", program, llm.url],
        env={**environment, **variables, "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = read_run(find_run(None, tmp_path)).spans
    told = [
        (span.name, span.attributes)
        for span in sorted(found, key=lambda span: span.start_ns)
        if span.name != "wait pool"
    ]
    names = [name for name, _ in told]
    assert names == ["chat gpt-asked", "POST", "wait rate_limit", "POST"]
    assert told[0][1][Attr.LLM_ATTEMPTS] == 2
    posts = [attributes for name, attributes in told if name == "POST"]
    assert [p.get(Attr.RESEND_COUNT) for p in posts] == [None, 1]
    assert all(Attr.HTTP_FIRST_BYTE in p for p in posts)


@pytest.mark.parametrize("is_async", KINDS)
def test_a_hook_of_the_programs_may_say_how_it_ended(
    provider: TracerProvider,
    exported: InMemorySpanExporter,
    llm: LLM,
    left_alone: None,
    is_async: bool,
) -> None:
    """By the names that OpenTelemetry's own method has."""

    def hook(span: Any, *_: Any) -> None:
        span.set_status(StatusCode.OK, description="fine")

    async def async_hook(span: Any, *_: Any) -> None:
        hook(span)

    THEIRS().instrument(
        tracer_provider=provider, response_hook=hook, async_response_hook=async_hook
    )
    ours(provider)
    call("openai", llm.url, "create", is_async=is_async)
    (post,) = [s for s in exported.get_finished_spans() if s.name == "POST"]
    assert post.status.status_code is StatusCode.OK


def test_requests_are_below_what_the_program_put_around_the_call(
    provider: TracerProvider, exported: InMemorySpanExporter, llm: LLM, left_alone: None
) -> None:
    ours(provider)
    tracer = provider.get_tracer("mine")
    with otel.llm_call("gpt-asked"), tracer.start_as_current_span("mine"):
        call("openai", llm.url, "create", is_async=False)
    assert drawn(exported) == "chat gpt-asked\n  mine\n    POST"

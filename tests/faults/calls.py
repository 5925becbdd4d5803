"""Programs that call LLMs: by their SDKs, by LangChain, by bare HTTP."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from ..llm_server import LLM, Reply
from .groups import Group, Program

QUESTION: Final[Any] = [{"role": "user", "content": "x"}]
CHAT: Final = {"model": "gpt-asked", "messages": QUESTION}
RESPONSE: Final = {"model": "gpt-asked", "input": "x"}
MESSAGE: Final = {"model": "claude-asked", "messages": QUESTION, "max_tokens": 9}


def replied(llm: LLM, *replies: Reply) -> Callable[[Program], Any]:
    """Run a program with these replies, and no others left over by another program."""

    def run(program: Program) -> Any:
        llm.replies[:] = replies
        return program()

    return run


def _programs_of(
    llm: LLM,
    runner: asyncio.Runner,
    clients: tuple[Any, Any],
    create: Callable[..., Any],
    create_async: Callable[..., Any],
) -> dict[str, Program]:
    """Every way in which a call of an SDK goes on and ends."""
    client, async_client = clients
    patient = client.with_options(max_retries=1)

    def left(stream: Any) -> Any:
        for item in stream:
            return item
        return None

    def lost() -> Any:
        first = next(create(client, stream=True))
        gc.collect()
        return first

    def lines() -> Any:
        with create(client.with_streaming_response, stream=True) as response:
            return list(response.iter_lines())

    async def asked(**options: Any) -> Any:
        return await create_async(async_client, **options)

    async def streamed() -> Any:
        return [item async for item in await create_async(async_client, stream=True)]

    async def stepped() -> Any:
        return await anext(await create_async(async_client, stream=True))

    async def left_async() -> Any:
        async for item in await create_async(async_client, stream=True):
            return item
        return None

    async def body() -> Any:
        manager = create_async(async_client.with_streaming_response, stream=True)
        async with manager as response:
            return b"".join([part async for part in response.iter_bytes()])

    async def raw_async() -> Any:
        return (await create_async(async_client.with_raw_response)).text

    ok = replied(llm)
    return {
        "create": partial(ok, lambda: create(client)),
        "stream": partial(ok, lambda: list(create(client, stream=True))),
        "next": partial(ok, lambda: next(create(client, stream=True))),
        "left": partial(ok, lambda: left(create(client, stream=True))),
        "lost": partial(ok, lost),
        "raw": partial(ok, lambda: create(client.with_raw_response).text),
        "lines": partial(ok, lines),
        "dropped": partial(
            replied(llm, Reply(drop_after=2)), lambda: list(create(client, stream=True))
        ),
        "again": partial(replied(llm, Reply(status=429)), lambda: create(patient)),
        "refused": partial(replied(llm, Reply(status=500)), lambda: create(client)),
        "async create": partial(ok, lambda: runner.run(asked())),
        "async stream": partial(ok, lambda: runner.run(streamed())),
        "async next": partial(ok, lambda: runner.run(stepped())),
        "async left": partial(ok, lambda: runner.run(left_async())),
        "async body": partial(ok, lambda: runner.run(body())),
        "async raw": partial(ok, lambda: runner.run(raw_async())),
        "async refused": partial(replied(llm, Reply(status=500)), lambda: runner.run(asked())),
    }


LLM_OPTIONS: Final = {"capture_content": True, "redact": lambda text: text, "prices": {}}


def openai(llm: LLM, stack: ExitStack) -> Group:
    import openai

    runner = stack.enter_context(asyncio.Runner())
    given: Any = {"base_url": f"{llm.url}/v1", "api_key": "k", "max_retries": 0}
    clients = openai.OpenAI(**given), openai.AsyncOpenAI(**given)

    def create(client: Any, **options: Any) -> Any:
        return client.chat.completions.create(**CHAT, **options)

    def respond(client: Any, **options: Any) -> Any:
        return client.responses.create(**RESPONSE, **options)

    programs = _programs_of(llm, runner, clients, create, create)
    programs["responses"] = lambda: respond(clients[0])
    programs["responses stream"] = lambda: list(respond(clients[0], stream=True))
    return Group(programs, ("openai", "httpx", "httpx2"), LLM_OPTIONS)


def anthropic(llm: LLM, stack: ExitStack) -> Group:
    import anthropic

    runner = stack.enter_context(asyncio.Runner())
    given: Any = {"base_url": llm.url, "api_key": "k", "max_retries": 0}
    clients = anthropic.Anthropic(**given), anthropic.AsyncAnthropic(**given)

    def create(client: Any, **options: Any) -> Any:
        messages = client.messages if hasattr(client, "messages") else client
        return messages.create(**MESSAGE, **options)

    def of(client: Any, **options: Any) -> Any:
        return create(client, **options)

    programs = _programs_of(llm, runner, clients, of, of)
    return Group(programs, ("anthropic", "httpx", "httpx2"), LLM_OPTIONS)


def langchain(llm: LLM, stack: ExitStack) -> Group:
    from langchain_core.caches import InMemoryCache
    from langchain_core.callbacks.manager import CallbackManagerForLLMRun
    from langchain_core.rate_limiters import InMemoryRateLimiter
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    runner = stack.enter_context(asyncio.Runner())
    given: Any = {"base_url": f"{llm.url}/v1", "api_key": "k", "max_retries": 0}
    model = ChatOpenAI(model="gpt-asked", **given)
    streaming = ChatOpenAI(model="gpt-asked", streaming=True, **given)

    @tool
    def double(x: int) -> int:
        """Double."""
        return 2 * x

    @tool
    async def double_async(x: int) -> int:
        """Double."""
        return 2 * x

    @tool
    def broken(x: int) -> int:
        """Fail."""
        raise ValueError(x)

    async def astreamed() -> str:
        return "".join([str(chunk.content) async for chunk in model.astream("x")])

    refused = replied(llm, Reply(status=500))

    def left() -> Any:
        for chunk in model.stream("x"):
            return chunk.content
        return None

    cached = ChatOpenAI(model="gpt-asked", cache=InMemoryCache(), **given)

    limiter = InMemoryRateLimiter(requests_per_second=1000, check_every_n_seconds=0.001)
    limited = ChatOpenAI(model="gpt-asked", rate_limiter=limiter, **given)

    async def followed() -> str:
        stream = await model.astream_events("x", version="v3")
        return str((await stream.output).text)

    plain: dict[str, Program] = {
        "cached": lambda: [cached.invoke("x").content for _ in range(2)],
        "invoke": lambda: model.invoke("x").content,
        "stream": lambda: "".join(str(chunk.content) for chunk in model.stream("x")),
        "left": left,
        "limited": lambda: limited.invoke("x").content,
        "async limited": lambda: runner.run(limited.ainvoke("x")).content,
        "batch": lambda: [answer.content for answer in model.batch(["x", "y"])],
        "ainvoke": lambda: runner.run(model.ainvoke("x")).content,
        "astream": lambda: runner.run(astreamed()),
        "streaming invoke": lambda: streaming.invoke("x").content,
        "streaming ainvoke": lambda: runner.run(streaming.ainvoke("x")).content,
    }
    if hasattr(CallbackManagerForLLMRun, "on_stream_event"):  # not in all of langchain-core 1
        plain |= {
            "followed": lambda: str(model.stream_events("x", version="v3").output.text),
            "async followed": lambda: runner.run(followed()),
        }
    programs: dict[str, Program] = {
        **{name: partial(replied(llm), program) for name, program in plain.items()},
        **_retries(runner),
        "in a pool": lambda: runner.run(_in_a_pool().ainvoke({"x": "y"})),
        "refused": partial(refused, lambda: model.invoke("x")),
        "refused stream": partial(refused, lambda: list(model.stream("x"))),
        "tool": lambda: double.invoke({"x": 2}),
        "async tool": lambda: runner.run(double_async.ainvoke({"x": 2})),
        "broken tool": lambda: broken.invoke({"x": 2}),
    }
    return Group(programs, ("langchain", "openai", "httpx", "httpx2"), LLM_OPTIONS)


def _in_a_pool() -> Any:
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tools import BaseTool, StructuredTool, Tool, tool

    def same(x: str) -> str:
        """Give it back."""
        return x

    class Own(BaseTool):
        name: str = "own"
        description: str = "Give it back."

        def _run(self, x: str) -> str:
            return x

    called: tuple[Any, ...] = (
        RunnableLambda(same), Own(), Tool("same", same, "Same."), StructuredTool.from_function(same)
    )  # fmt: skip

    @tool
    async def each(x: str) -> list[str]:
        """Call what is only sync."""
        return [await one.ainvoke(x) for one in called]

    return each


def _retries(runner: asyncio.Runner) -> dict[str, Program]:
    from langchain.agents import middleware
    from langchain_core.runnables import RunnableLambda

    def flaky() -> tuple[Any, Any]:
        left = [1]

        def fails_once(given: Any) -> str:
            if left:
                raise ConnectionError(left.pop())
            return "y"

        async def later(given: Any) -> str:
            return fails_once(given)

        return fails_once, later

    def retrying() -> Any:
        params: Any = {"max": 0, "jitter": 0}
        return RunnableLambda(*flaky()).with_retry(exponential_jitter_params=params)

    def hooked(kind: Any, hook: str) -> Any:
        request = SimpleNamespace(tool=None, tool_call={"name": "x", "id": "1"})
        call = getattr(kind(initial_delay=0), hook)  # an agent holds on to what it finds here
        if hook.startswith("a"):
            return runner.run(call(request, flaky()[1]))
        return call(request, flaky()[0])

    programs: dict[str, Program] = {
        "retried": lambda: retrying().invoke("x"),
        "async retried": lambda: runner.run(retrying().ainvoke("x")),
    }
    for name in ("model", "tool"):  # not both in all of LangChain 1
        if kind := getattr(middleware, f"{name.title()}RetryMiddleware", None):
            for hook in (f"wrap_{name}_call", f"awrap_{name}_call"):
                programs[hook] = partial(hooked, kind, hook)
    return programs


def _run(runner: asyncio.Runner, function: Callable[[], Any]) -> Any:
    return runner.run(function())


def http(llm: LLM, stack: ExitStack) -> Group:
    import httpx
    import httpx2

    import otel_orchestrator as otel

    runner = stack.enter_context(asyncio.Runner())
    url = f"{llm.url}/v1/chat/completions"
    programs: dict[str, Program] = {}
    for module in (httpx, httpx2):
        kind: Any = module

        def unreachable(kind: Any = kind) -> Any:
            return kind.post("http://127.0.0.1:9/", json=CHAT, trust_env=False)

        def part(kind: Any = kind) -> Any:
            with kind.stream("POST", url, json={**CHAT, "stream": True}) as response:
                return next(response.iter_bytes())[:5]

        def traced(kind: Any = kind) -> Any:
            heard: list[str] = []
            extensions = {"trace": lambda event, info: heard.append(event)}
            kind.Client().post(url, json=CHAT, extensions=extensions)
            return heard

        async def post_async(kind: Any = kind) -> Any:
            async with kind.AsyncClient() as client:
                return (await client.post(url, json=CHAT)).text

        def post(kind: Any = kind) -> Any:
            return kind.post(url, json=CHAT).text

        def in_a_call(kind: Any = kind) -> Any:
            llm.replies[:] = [Reply(status=429, retry_after_s=None), Reply(status=500)]
            with otel.llm_call("gpt-asked"):
                return [kind.post(url, json=CHAT).status_code for _ in range(3)]

        name = kind.__name__
        programs |= {
            f"{name} post": partial(replied(llm), post),
            f"{name} refused": partial(replied(llm, Reply(status=429, retry_after="1")), post),
            f"{name} unreachable": unreachable,
            f"{name} part": part,
            f"{name} traced": traced,
            f"{name} in a call": in_a_call,
            f"{name} async": partial(_run, runner, post_async),
        }
    return Group(programs, ("httpx", "httpx2"))

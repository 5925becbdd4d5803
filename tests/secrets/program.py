"""A program that has secrets everywhere: a graph, a model, tools, git, HTTP, spans of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import httpx
import openai
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from opentelemetry import metrics, trace
from opentelemetry.trace import Link, Status, StatusCode

import otel_orchestrator as otel
from otel_orchestrator._guard import guarded

from .planted import MARKER, text, words


class State(TypedDict, total=False):
    """The graph's state, with secrets in it."""

    note: str
    plan: list[dict[str, Any]]


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return text("tool result") + query[:1]


@tool
def broken(query: str) -> str:
    """Fail."""
    raise RuntimeError(text("response of a tool that fails") + query[:1])


def plan(state: State) -> State:
    tasks = [{"id": f"{MARKER}-{w}", "status": "planned"} for w in words("task")]
    return {"plan": [*tasks, {"id": text("task"), "status": "planned"}]}


def to_workers(state: State) -> list[Send]:
    return [Send("worker", {"note": state["note"], "task": one}) for one in state["plan"]]


def worker(item: dict[str, Any]) -> State:
    with otel.wait("lock", on=f"{item['task']['id']} {text('wait')}"):
        return {}


def review(state: State) -> State:
    return {"note": "done"}


def graph() -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("plan", plan)
    builder.add_node("worker", worker)
    builder.add_node("review", review)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", to_workers, ["worker"])
    builder.add_edge("worker", "review")
    builder.add_edge("review", END)
    return builder.compile()


def call_models(url: str) -> None:
    key: Any = words("request header")[0]
    model = ChatOpenAI(model="gpt-asked", base_url=f"{url}/v1", api_key=key, max_retries=0)
    call = {"id": "1", "name": "look_up", "args": {"query": text("tool argument")}}
    model.invoke(
        [
            SystemMessage(text("system instructions")),
            HumanMessage(text("prompt")),
            AIMessage(text("history"), tool_calls=[call]),
            ToolMessage(text("tool result"), tool_call_id="1"),
        ]
    )
    user = words("URL user")
    with_user = url.replace("://", f"://{user[0]}:{user[1]}@")
    with openai.OpenAI(
        base_url=f"{with_user}/v1",
        api_key=key,
        default_query={"key": words("URL query")[0]},
        default_headers={"x-api-key": words("request header")[1]},
        max_retries=0,
    ) as client:
        asked: Any = [{"role": "user", "content": text("prompt")}]
        nothing: Any = []
        for messages in (asked, nothing):
            with suppress(openai.APIError):  # the second is refused, in words that hold secrets
                client.chat.completions.create(
                    model="gpt-asked", messages=messages, extra_headers={"x-refuse": "1"}
                )


def call_http(url: str) -> None:
    queries = [*words("URL query"), *text("URL query").split()]
    with httpx.Client() as http:
        for user, query in zip(words("URL user"), words("URL query"), strict=True):
            address = url.replace("://", f"://{user}@")
            http.post(f"{address}/v1/chat/completions?{query}", json={})
        for header in (f"Bearer {w}" for w in words("request header")):
            http.post(f"{url}/v1/chat/completions", json={}, headers={"authorization": header})
        http.post(f"{url}/v1/chat/completions", params={"q": "&".join(queries)}, json={})


def call_git(folder: Path) -> None:
    def git(*arguments: str, **options: Any) -> None:
        subprocess.run(["git", *arguments], cwd=folder, capture_output=True, **options)

    git("init", "-q", ".")
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.com")
    git("-c", f"http.extraHeader={text('git config')}", "status")
    git("commit", "--allow-empty", "-m", text("git argument"))
    for i, (remote, branch, tree) in enumerate(
        zip(words("git remote"), words("branch"), words("worktree"), strict=True)
    ):
        git("remote", "add", f"r{i}", f"https://{remote}@127.0.0.1:9/{remote}.git")
        git("fetch", f"r{i}")
        git("clone", f"https://user:{remote}@127.0.0.1:9/{remote}.git")
        git("worktree", "add", "-b", f"{MARKER}-{branch}", f"trees/{MARKER}-{tree}")
        git("-C", f"trees/{MARKER}-{tree}", "status")
    git("log", "--format=%B")
    git("show", text("git output"))


def use_spans_by_hand() -> None:
    tracer = trace.get_tracer("harmless.tracer", attributes={"note": text("scope")})
    linked = Link(trace.get_current_span().get_span_context(), {"why": text("link")})
    with suppress(RuntimeError), tracer.start_as_current_span("own", links=[linked]) as span:
        span.set_attribute("own.note", text("span attribute"))
        span.set_attribute("own.list", ["--password", words("list attribute")[0]])
        span.set_attribute("own.lines", text("list attribute").split("\n"))
        nested: Any = {"deep": {"deeper": [text("nested attribute")], "password": "x y z"}}
        span.set_attribute("own.nested", nested)
        span.add_event(text("event"), {"own.note": text("event attribute")})
        for name in ("authorization", "http.request.header.x-api-key", "db.password", "userToken"):
            span.set_attribute(name, words("span attribute")[0][-20:])
        try:
            raise ValueError(text("chained exception"))
        except ValueError as error:
            raise RuntimeError(text("exception")) from error
    with tracer.start_as_current_span(text("span name")) as span:
        span.set_status(Status(StatusCode.ERROR, text("status")))
    counter = metrics.get_meter("harmless.meter").create_counter("harmless.counter")
    counter.add(1, {"note": text("metric")})
    for name in words("span name"):
        with otel.node(f"{MARKER} {name}"), otel.tool_call(f"{MARKER} {name}"):
            pass


def log() -> None:
    with guarded("trying a defect of our own"):
        try:
            raise ValueError(text("chained exception"))
        except ValueError as error:
            raise KeyError(text("log line")) from error


def main() -> None:
    """Do it all, in one run."""
    url, folder, redact = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "redact"
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("openai").setLevel(logging.ERROR)
    os.environ["SECRETS"] = text("environment")
    otel.configure("harmless", console=True, redact=None if redact else False)
    otel.instrument(capture_content=True, tasks_key="plan", git_trace2=True)
    with otel.run("everything"):
        graph().invoke(
            {"note": text("state")},
            {"configurable": {"thread_id": text("thread")}, "metadata": {"x": text("thread")}},
        )
        call_models(url)
        for one in (look_up, broken):
            with suppress(RuntimeError):
                one.invoke({"query": text("tool argument")})
        call_http(url)
        call_git(folder)
        use_spans_by_hand()
        log()
    otel.shutdown(30)


if __name__ == "__main__":
    main()

"""Which calls ask the same: hashes of prompts, tools and options."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from otel_orchestrator.semconv import Attr

from ..llm_server import LLM, Reply
from ..trees import attributes_of
from .models import PROMPT, anthropic, chats, openai


def test_equal_prompts_have_equal_hashes_which_do_not_tell_them(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    model = openai(llm)
    asked: list[Any] = [PROMPT, PROMPT, f"{PROMPT}!", [HumanMessage("a")], [AIMessage("a")]]
    for prompt in asked:
        model.invoke(prompt)
    list(model.stream([HumanMessage("a", id="an id")]))
    hashes = [
        attributes_of(s)[Attr.PROMPT_HASH]
        for s in traced.get_finished_spans()
        if s.name == "chat gpt-asked"
    ]
    assert hashes[0] == hashes[1]
    assert hashes[3] == hashes[5]
    assert len(set(hashes)) == 4


@tool
def look(path: str) -> str:
    """Look."""
    return path


@tool
def listen(path: str) -> str:
    """Listen."""
    return path


class Verdict(BaseModel):
    """What the model is to decide."""

    good: bool


class Grade(BaseModel):
    """What the model is to decide otherwise."""

    grade: int


def test_calls_are_equal_only_if_all_is_that_determines_the_answer(
    traced: InMemorySpanExporter, llm: LLM
) -> None:
    def hash_of(model: Any, how: str = "invoke", **options: Any) -> str:
        traced.clear()
        model = model.bind(**options) if options else model
        _ = model.invoke(PROMPT) if how == "invoke" else list(model.stream(PROMPT))
        (told,) = chats(traced)
        return str(told[Attr.PROMPT_HASH])

    def plain(**options: Any) -> Any:
        return openai(llm, **options)

    different: list[Callable[[], str]] = [
        lambda: hash_of(plain()),
        lambda: hash_of(plain().bind_tools([look])),
        lambda: hash_of(plain().bind_tools([listen])),
        lambda: hash_of(plain().bind_tools([look, listen])),
        lambda: hash_of(plain().bind_tools([look], tool_choice="any")),
        lambda: hash_of(plain(temperature=0.5)),
        lambda: hash_of(plain(), temperature=0.7),
        lambda: hash_of(plain(max_tokens=5)),
        lambda: hash_of(plain(), stop=["x"]),
        lambda: hash_of(plain(), response_format={"type": "json_object"}),
        lambda: hash_of(anthropic(llm)),
        lambda: hash_of(anthropic(llm).bind_tools([look])),
        lambda: hash_of(anthropic(llm, temperature=0.5)),
    ]
    hashes = [ask() for ask in different]
    assert [ask() for ask in different] == hashes, "the same again"
    assert len(set(hashes)) == len(hashes)
    assert hash_of(plain(streaming=True, stream_usage=True)) == hashes[0]
    assert hash_of(plain(max_retries=5, timeout=9), "stream") == hashes[0]
    assert hash_of(plain().bind_tools([look]), "stream") == hashes[1]
    assert hash_of(anthropic(llm, streaming=True, max_retries=5)) == hashes[-3]


def test_what_is_asked_for_by_a_schema_counts(traced: InMemorySpanExporter, llm: LLM) -> None:
    for schema in (Verdict, Verdict, Grade):
        llm.replies += [Reply(tool=schema.__name__)]
        structured = openai(llm).with_structured_output(schema, method="function_calling")
        with suppress(ValueError):  # the local server fills no schema in
            structured.invoke(PROMPT)
    first, same, other = (told[Attr.PROMPT_HASH] for told in chats(traced))
    assert first == same
    assert first != other


def test_words_to_stop_at_may_be_given_by_position(traced: InMemorySpanExporter, llm: LLM) -> None:
    model = openai(llm)
    for stop in (["x"], ["y"]):
        model.generate([[HumanMessage(PROMPT)]], stop)
        model.generate([[HumanMessage(PROMPT)]], stop=stop)
    hashes = [told[Attr.PROMPT_HASH] for told in chats(traced)]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]

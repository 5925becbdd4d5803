"""Answers out of a cache of LangChain are no calls."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import Generation
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.llm import prices
from otel_orchestrator.semconv import Attr, Metric

from ..llm_server import LLM, SECRET_ANSWER
from ..trees import tree
from .models import PROMPT, ask, chats, counts, openai


class Written(BaseCache):
    """A cache that keeps what it is given as bytes, as those on disks and servers do."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def lookup(self, prompt: str, llm_string: str) -> Any:
        found = self.kept.get((prompt, llm_string))
        return None if found is None else self.read(found)

    def read(self, found: bytes) -> Any:
        return pickle.loads(found)

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        self.kept[prompt, llm_string] = pickle.dumps(return_val)

    def clear(self, **kwargs: Any) -> None:
        self.kept.clear()


class OnlyText(Written):
    """An old cache, which knows of no messages."""

    def read(self, found: bytes) -> list[Generation]:
        return [Generation(text=answer.text) for answer in pickle.loads(found)]


# Nothing of a call that was not made.
NOT_IN_A_CACHED_ONE = (
    Attr.INPUT_TOKENS,
    Attr.OUTPUT_TOKENS,
    Attr.LLM_CHUNKS,
    Attr.TIME_TO_FIRST_CHUNK,
    Attr.LLM_ATTEMPTS,
    Attr.LLM_COST,
)


@pytest.fixture(params=["the model's", "everybody's"])
def cached(request: pytest.FixtureRequest) -> Iterator[Callable[[BaseCache], dict[str, Any]]]:
    """Takes a cache; returns the options for a model that is to use it."""

    def use(cache: BaseCache) -> dict[str, Any]:
        if request.param == "the model's":
            return {"cache": cache}
        set_llm_cache(cache)
        return {}

    yield use
    set_llm_cache(None)


@pytest.mark.parametrize("cache", [InMemoryCache, Written, OnlyText])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("how", ["invoke", "batch", "ainvoke", "abatch"])
def test_an_answer_out_of_a_cache_is_no_call(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    llm: LLM,
    cached: Callable[[BaseCache], dict[str, Any]],
    cache: type[BaseCache],
    streaming: bool,
    how: str,
) -> None:
    prices.use({"gpt-real": {"input": 1.0, "output": 1.0}})
    model = openai(llm, streaming=streaming, stream_usage=True, **cached(cache()))
    assert ask(model, how).strip() == SECRET_ANSWER
    before = counts(measured)
    assert before[Metric.LLM_DURATION] == 1
    assert before[Metric.TOKEN_USAGE] == 2
    assert ask(model, how).strip() == SECRET_ANSWER
    assert tree(traced.get_finished_spans(), show=[Attr.LLM_CACHED]) == (
        "chat gpt-asked\n  POST\nchat gpt-asked cached=True"
    )
    first, again = chats(traced)
    assert (first[Attr.INPUT_TOKENS], first[Attr.OUTPUT_TOKENS]) == (11, 4)
    assert Attr.LLM_COST in first
    assert not [key for key in NOT_IN_A_CACHED_ONE if key in again]
    assert again[Attr.PROMPT_HASH] == first[Attr.PROMPT_HASH]
    assert again[Attr.OUTCOME] == "ok"
    assert counts(measured) == before


def test_a_call_whose_answer_is_used_again_before_it_returns_was_made(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    class Eager(InMemoryCache):
        def update(self, *args: Any) -> None:
            super().update(*args)
            somebody = threading.Thread(target=model.invoke, args=(PROMPT,))
            somebody.start()
            somebody.join()

    model = openai(llm, cache=Eager())
    otel.uninstrument()
    otel.instrument(only=["langchain"])  # without HTTP, whose attempts would tell
    model.invoke(PROMPT)
    first, again = chats(traced)
    assert first[Attr.INPUT_TOKENS] == 11
    assert Attr.LLM_CACHED not in first
    assert again[Attr.LLM_CACHED] is True
    assert counts(measured)[Metric.LLM_DURATION] == 1


def test_of_several_prompts_only_those_that_were_asked_are_counted(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    model = openai(llm, cache=InMemoryCache())
    prompts: list[list[BaseMessage]] = [[HumanMessage("a")], [HumanMessage("b")]]
    model.generate(prompts[:1])
    model.generate(prompts)
    first, again = chats(traced)
    assert again[Attr.INPUT_TOKENS] == first[Attr.INPUT_TOKENS] == 11
    assert Attr.LLM_CACHED not in again
    assert counts(measured)[Metric.LLM_DURATION] == 2


@pytest.mark.parametrize("asked", ["again", "again and more", "more and again"])
def test_a_call_by_hand_is_cached_if_all_within_is(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM, asked: str
) -> None:
    model = openai(llm, cache=InMemoryCache())
    model.invoke("again")
    with otel.llm_call("gpt-asked"):
        for prompt in asked.split(" and "):
            model.invoke(prompt)
    _, by_hand = chats(traced)
    is_cached = asked == "again"
    assert by_hand.get(Attr.LLM_CACHED) == (True if is_cached else None)
    assert by_hand.get(Attr.INPUT_TOKENS) == (None if is_cached else 11)
    assert counts(measured)[Metric.LLM_DURATION] == (1 if is_cached else 2)


def test_an_answer_out_of_a_cache_is_not_logged_as_a_call_either(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    model = openai(llm, cache=InMemoryCache())
    for _ in range(2):
        otel.log_llm_response("fix-1", model.invoke(PROMPT), duration_ms=5)
    assert [told.get(Attr.LLM_CACHED) for told in chats(traced)] == [None, True]
    assert counts(measured)[Metric.TOKEN_USAGE] == 2

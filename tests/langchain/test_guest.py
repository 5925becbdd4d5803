"""LangChain is left as it was: functions, messages, whatever fails in ours."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks.manager import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import _guard
from otel_orchestrator.instrumentors import langchain

from ..llm_server import LLM, SECRET_ANSWER
from .models import PROMPT, WAYS, ask, openai

TOLD = ("on_llm_new_token", "on_stream_event")  # the latter in newer ones only


def test_uninstrument_restores_the_very_functions() -> None:
    from langchain_core.tools.base import BaseTool

    def functions() -> list[Any]:
        models = [vars(BaseChatModel)[n] for n in ("generate", "agenerate", "stream", "astream")]
        managers = (CallbackManagerForLLMRun, AsyncCallbackManagerForLLMRun)
        told = [vars(m)[n] for m in managers for n in TOLD if n in vars(m)]
        models.append(vars(BaseChatModel)["_convert_cached_generations"])
        return [*models, *told, vars(BaseTool)["run"], vars(BaseTool)["arun"]]

    before = functions()
    otel.instrument(only=["langchain"])
    otel.instrument(only=["langchain"])
    assert all(a is not b for a, b in zip(functions(), before, strict=True))
    otel.uninstrument()
    assert all(a is b for a, b in zip(functions(), before, strict=True))


# Everything that our wrappers call, inside of their guards.
HOOKS = (
    "_model_name",
    "_provider",
    "_address",
    "_read_message",
    "_read_usage",
    "_take",
    "_says_something",
)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_fault_of_ours_changes_nothing_for_the_program(
    exported: InMemorySpanExporter, llm: LLM, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.setattr(_guard, "strict", False)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(langchain, hook, broken)
    otel.instrument(only=["langchain"])
    try:
        for how in WAYS:
            model = openai(llm, streaming=True, output_version="v1")
            assert ask(model, how).strip() == SECRET_ANSWER
    finally:
        otel.uninstrument()


def test_messages_are_left_as_they_are(traced: InMemorySpanExporter, llm: LLM) -> None:
    answer = openai(llm).invoke([HumanMessage(PROMPT)])
    assert isinstance(answer, AIMessage)
    assert llm.requests[0]["messages"] == [{"content": PROMPT, "role": "user"}]

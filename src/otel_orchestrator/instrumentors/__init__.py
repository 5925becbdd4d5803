"""`instrument()` and `uninstrument()`: every instrumentor whose library is installed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from .._guard import is_disabled
from ..errors import MissingLibraryError, OrchestratorError
from ._options import check_kinds, is_of_names
from ._providers import LLM_OPTIONS

__all__ = ("instrument", "uninstrument")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An instrumentor, as `module:Class`, the library it needs, the extra of ours that brings it,
    if there is one, and the options it takes.

    `given` are options that it gets from `instrument()`, but not from `opentelemetry-instrument`.
    """

    home: str
    library: str | None
    extra: str | None = None
    options: frozenset[str] = frozenset()
    given: Mapping[str, Any] = field(default_factory=dict)


_HERE: Final = __name__
_MAKE_SPANS: Final = {"make_spans": True}
_ENTRIES: Final = {
    "langgraph": _Entry(
        f"{_HERE}.langgraph:LangGraphInstrumentor",
        "langgraph",
        "langgraph",
        options=frozenset(
            {
                "loop_head",
                "agents",
                "agent_steps",
                "runs_in_checkpoints",
                "wait_threshold_s",
                "tasks_key",
                "task_fields",
            }
        ),
    ),
    "langchain": _Entry(
        f"{_HERE}.langchain:LangChainInstrumentor", "langchain_core", options=LLM_OPTIONS
    ),
    "openai": _Entry(f"{_HERE}.openai:OpenAIInstrumentor", "openai", options=LLM_OPTIONS),
    "anthropic": _Entry(
        f"{_HERE}.anthropic:AnthropicInstrumentor", "anthropic", options=LLM_OPTIONS
    ),
    "httpx": _Entry(f"{_HERE}.http:HttpxInstrumentor", "httpx", given=_MAKE_SPANS),
    "httpx2": _Entry(f"{_HERE}.http:Httpx2Instrumentor", "httpx2", given=_MAKE_SPANS),
    "git": _Entry(
        f"{_HERE}.git:GitInstrumentor",
        None,
        options=frozenset({"git_trace2", "git_trace2_threshold_s"}),
    ),
}
_PROVIDERS: Final = frozenset({"tracer_provider", "meter_provider"})
_in_force: Final[dict[str, Mapping[str, Any]]] = {}
"""The options that each was instrumented with; nothing of what others than `instrument()` did."""


def instrument(*, only: Collection[str] | None = None, **options: Any) -> tuple[str, ...]:
    """Instrument every library that is installed; return the names of what was instrumented.

    Called again, as by a program that `otel-orchestrator run` or `opentelemetry-instrument` has
    started, the options of this call hold; runs under way are not followed any further if these are
    other options than before.

    With `OTEL_SDK_DISABLED=true` nothing is: nobody would get what is seen.

    Args:
        only: instrument just these: `langgraph`, `langchain`, `openai`, `anthropic`, `httpx`,
            `httpx2`, `git`.
        options: passed to the instrumentors: `tracer_provider`, `meter_provider`, and what
            `LangGraphInstrumentor` takes, such as `loop_head="director"` or `tasks_key="plan"`.

    Raises:
        OrchestratorError: an unknown name in `only`, an unknown option, or one that is of the
            wrong kind.
        MissingLibraryError: a library named in `only` is not installed.
    """
    _check(only, options)
    done = []
    is_off = is_disabled()
    for name, entry in _ENTRIES.items():
        if only is not None and name not in only:
            continue
        if entry.library is not None and find_spec(entry.library) is None:
            if only is not None:
                raise MissingLibraryError(entry.library.replace("_", "-"), entry.extra)
            continue
        if is_off:
            continue
        taken = {k: v for k, v in options.items() if k in entry.options | _PROVIDERS}
        instrumentor = _load(entry)
        is_instrumented = instrumentor.is_instrumented_by_opentelemetry
        if is_instrumented and taken and taken != _in_force.get(name, {}):
            instrumentor.uninstrument()
            is_instrumented = False
        if not is_instrumented:
            instrumentor.instrument(**taken, **entry.given)
            _in_force[name] = taken
        if instrumentor.is_instrumented_by_opentelemetry:  # else it has said what it needs
            done.append(name)
    return tuple(done)


def uninstrument() -> None:
    """Put back the very functions that `instrument()` replaced."""
    for entry in _ENTRIES.values():
        if entry.library is None or find_spec(entry.library) is not None:
            instrumentor = _load(entry)
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()


def _check(only: Collection[str] | None, options: dict[str, Any]) -> None:
    if only is not None and not is_of_names(only):
        raise OrchestratorError(f'instrument(only={only!r}): give a list, such as ["langgraph"]')
    if unknown := set(only or ()) - set(_ENTRIES):
        raise OrchestratorError(
            f"instrument(only=...): there is no {sorted(unknown)[0]!r}; there are"
            f" {', '.join(_ENTRIES)}"
        )
    known = _PROVIDERS.union(*(entry.options for entry in _ENTRIES.values()))
    if unknown := set(options) - known:
        raise OrchestratorError(
            f"instrument() has no option {sorted(unknown)[0]!r}; it has {', '.join(sorted(known))}"
        )
    check_kinds(options)


def _load(entry: _Entry) -> Any:
    module, _, name = entry.home.partition(":")
    return getattr(import_module(module), name)()

"""A library's new version moves what we stand in for: one sentence says so, the rest goes on."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version
from typing import Any

import pytest

from otel_orchestrator import instrumentors
from otel_orchestrator.instrumentors._patching import Patch
from otel_orchestrator.instrumentors.langgraph import choke_points


def instrumentor_of(name: str) -> Any:
    return instrumentors._load(instrumentors._ENTRIES[name])


def patches_of(name: str) -> tuple[Patch, ...]:
    """What an instrumentor replaces, with everything in its place."""
    instrumentor = instrumentor_of(name)
    instrumentor.instrument()
    patches: tuple[Patch, ...] = instrumentor._patches
    instrumentor.uninstrument()
    return patches


def label_of(patch: Patch) -> str:
    owner = patch.owner
    return f"{getattr(owner, '__qualname__', owner.__name__)}.{patch.name}"


PATCHED = [
    pytest.param(name, patch, id=f"{name} {label_of(patch)}")
    for name in ("langgraph", "langchain", "openai", "anthropic", "git")
    for patch in patches_of(name)
]
REQUIRED = {seam.name for seam in choke_points.seams() if seam.is_required}


def said_when_instrumenting(name: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level(logging.WARNING, "otel_orchestrator")
    instrumentor_of(name).instrument()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("name", "patch"), PATCHED)
def test_one_sentence_says_what_has_moved_in_which_version_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, patch: Patch
) -> None:
    before = len(patches_of(name))
    monkeypatch.delattr(patch.owner, patch.name)
    said = said_when_instrumenting(name, caplog)
    try:
        still = instrumentor_of(name)._patches
    finally:
        instrumentor_of(name).uninstrument()
    assert patch.name not in vars(patch.owner)
    # LangChain's own middlewares are in a distribution of their own.
    is_core = str(getattr(patch.owner, "__module__", patch.owner.__name__)).startswith("langchain_")
    library = "langchain-core" if is_core else name
    moved_in = (
        f"Python {platform.python_version()}"
        if name == "git"
        else (f"{library} {version(library)}")
    )
    (sentence,) = said
    # A client has no request of its own, so what it inherits is named by the client.
    label = ".request" if patch.name == "request" else label_of(patch)
    assert sentence.startswith(f"{moved_in} has moved ")
    assert f"{label}: " in sentence
    assert "All else is traced" in sentence
    assert "pin" in sentence
    # LangGraph's spans are nearly all of one piece: without it they come from its callbacks.
    falls_back = name == "langgraph" and patch.name in REQUIRED
    assert len(still) == (0 if falls_back else before - 1)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_request_with_other_parameters_has_moved(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    request = next(patch for patch in patches_of(name) if patch.name == "request")

    def renamed(self: Any, what: Any, how: Any) -> None:
        """Take other parameters than today's."""

    monkeypatch.setattr(request.owner, "request", renamed)
    (sentence,) = said_when_instrumenting(name, caplog)
    instrumentor_of(name).uninstrument()
    assert f"{request.owner.__name__}.request: calls of the SDK have no chat spans" in sentence
    assert request.owner.request is renamed


def test_what_has_moved_together_is_said_together(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for patch in patches_of("openai"):
        monkeypatch.delattr(patch.owner, patch.name)
    (sentence,) = said_when_instrumenting("openai", caplog)
    instrumentor_of("openai").uninstrument()
    assert all(patch.name in sentence for patch in patches_of("openai"))

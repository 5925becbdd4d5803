"""The oldest versions that pyproject.toml allows are the ones that `make test-oldest` installs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from otel_orchestrator.instrumentors.anthropic import AnthropicInstrumentor
from otel_orchestrator.instrumentors.langchain import LangChainInstrumentor
from otel_orchestrator.instrumentors.openai import OpenAIInstrumentor

ROOT = Path(__file__).parents[1]


def test_each_lower_bound_is_a_version_that_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    instrumented = [
        requirement
        for kind in (OpenAIInstrumentor, AnthropicInstrumentor, LangChainInstrumentor)
        for requirement in kind().instrumentation_dependencies()
    ]
    allowed = version_after(">=", [*project["dependencies"], *extras["langgraph"], *instrumented])
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    tested = version_after("==", [line for line in lines if line and line[0] != "#"])
    assert {name: tested.get(name) for name in allowed} == allowed


def version_after(operator: str, requirements: list[str]) -> dict[str, Version]:
    """Return the version that each requirement names after `operator`, by package."""
    return {
        requirement.name: Version(specifier.version)
        for requirement in map(Requirement, requirements)
        for specifier in requirement.specifier
        if specifier.operator == operator
    }

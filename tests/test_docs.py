"""Every example in the docs runs, every name in them exists, every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import otel_orchestrator
from otel_orchestrator import semconv
from otel_orchestrator.cli import _COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "collector" / "README.md",
]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for i, code in enumerate(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)):
            found.append((f"{page.name}-{i}", code))
    return found


@pytest.mark.parametrize(
    ("name", "code"), blocks("python"), ids=lambda v: v if "-" in v[:30] else ""
)
def test_python_examples_run(tmp_path: Path, name: str, code: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_there_are_examples() -> None:
    assert len(blocks("python")) >= 4
    assert len(blocks("console")) >= 5


def test_commands_in_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for _, code in blocks("console"):
        for command in re.findall(r"otel-orchestrator (\w+)", code):
            assert command in _COMMANDS
        for target in re.findall(r"\bmake (\S+)", code):
            assert f"\n{target}:" in makefile


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            linked = (page.parent / path) if path else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
                assert anchor in slugs, f"{page.name}: {target}"


def test_every_attribute_and_metric_of_ours_is_documented_and_none_other() -> None:
    values = [
        v
        for owner in (semconv.Attr, semconv.Metric)
        for k, v in vars(owner).items()
        if not k.startswith("_")
    ]
    ours = {v for v in values if v.startswith("orchestrator.")}
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"`(orchestrator\.[a-z_.]+)`", text))
    only_in_metrics = {semconv.Attr.TASK_STATE, semconv.Attr.GIT_COMMAND}
    assert named == ours - only_in_metrics


def test_every_module_is_explained() -> None:
    source = Path(otel_orchestrator.__file__).parent
    modules = {p.stem if p.suffix else p.name for p in source.iterdir()} - {
        "__init__",
        "__pycache__",
        "py",
    }
    modules = {m for m in modules if m != "py.typed"}
    explained = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "architecture.md").read_text()))
    assert modules - explained == set()


def test_every_page_is_reached_from_the_readme() -> None:
    reached, next_ones = set(), {ROOT / "README.md"}
    while next_ones:
        page = next_ones.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", page.read_text())
        next_ones |= {(page.parent / link).resolve() for link in links} - reached
    assert set(PAGES) - reached == set()

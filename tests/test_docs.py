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
CODE = [
    path
    for folder in ("src", "tests", "benchmarks", "collector")
    for path in sorted((ROOT / folder).rglob("*.py"))
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
    named = set()
    for _, code in blocks("console"):
        named |= set(re.findall(r"otel-orchestrator (\w+)", code))
    for page in PAGES:
        named |= set(re.findall(r"`otel-orchestrator ([a-z]+)", page.read_text()))
    assert named - _COMMANDS.keys() == set()


def test_targets_that_are_named_have_rules() -> None:
    makefile = (ROOT / "Makefile").read_text()
    rules = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set()
    for _, code in blocks("console"):
        named |= set(re.findall(r"\bmake (\S+)", code))
    for page in (*PAGES, *CODE):
        named |= set(re.findall(r"`make ([a-z-]+)", page.read_text()))
    assert {"demo", "bench-compare"} <= named
    assert named - rules == set()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(phony.split()) == rules  # make says nothing of one without a rule, and does nothing


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


def test_the_table_of_modules_explains_each_of_them_once_and_none_that_is_gone() -> None:
    """Modules further inside say it themselves: a linter sees to that."""
    table = re.findall(
        r"^\| ((?:`[\w/]+`(?:, )?)+) \| (.+) \|$",
        (ROOT / "docs" / "architecture.md").read_text().partition("\n## ")[0],
        re.MULTILINE,
    )
    explained = [name for names, _ in table for name in re.findall(r"`([\w/]+)`", names)]
    source = Path(otel_orchestrator.__file__).parent
    inside = {name.partition("/")[0] for name in explained if "/" in name}
    assert sorted(explained) == sorted(
        [
            *_modules_in(source),
            # Of a package with a row for one package in it: a row for each.
            *(f"{name}/{p}" for name in inside for p in _modules_in(source / name, "*/")),
        ]
    )


def test_the_parts_of_the_sdk_are_the_ones_that_are_named() -> None:
    (row,) = re.findall(
        r"^\| `sdk` \| .+?; its parts: (.+) \|$",
        (ROOT / "docs" / "architecture.md").read_text(),
        re.MULTILINE,
    )
    parts = re.findall(r"`([a-z_]+)`", row)
    assert sorted(parts) == _modules_in(Path(otel_orchestrator.__file__).parent / "sdk")


def _modules_in(package: Path, pattern: str = "*") -> list[str]:
    names = {p.stem for p in package.glob(pattern) if p.suffix == ".py" or any(p.glob("*.py"))}
    return sorted(names - {"__init__", "__pycache__"})


def test_every_page_is_reached_from_the_readme() -> None:
    reached, next_ones = set(), {ROOT / "README.md"}
    while next_ones:
        page = next_ones.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", page.read_text())
        next_ones |= {(page.parent / link).resolve() for link in links} - reached
    assert set(PAGES) - reached == set()

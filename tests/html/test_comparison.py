"""`compare --html`: the answer first, every run as a dot, every number as in the text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from otel_orchestrator.analysis.comparing.causes import causes_of
from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.rules import rules_with
from otel_orchestrator.reports.compare.words import answer, because, sureness, verdict
from otel_orchestrator.reports.html import comparison as page_of
from tests.compare.made import in_turns
from tests.reading.runs import RUN_ID, write_example

from .conftest import Opened
from .test_hostile import ATTACKS


def slower(**more: Any) -> Comparison:
    """Compare five runs with five whose LLM calls take a third longer."""
    base = [{"llm": (100 + n, 102), "lock": 30 + n, **more} for n in range(5)]
    candidate = [{"llm": (133 + n, 136), "lock": 30 + n, **more} for n in range(5)]
    before, after = in_turns(base, candidate)
    return compare(before, after, rules_with([]), trusted=False)


Show = Callable[..., Opened]


@pytest.fixture
def show(watched: Callable[..., Opened], tmp_path: Path) -> Show:
    """Open the page of a comparison; whatever it says, asks or runs fails the test."""

    def opened(told: Comparison, **options: Any) -> Opened:
        path = tmp_path / "comparison.html"
        page = page_of.render(told, jaeger_url="http://localhost:16686")
        path.write_text(page, encoding="utf-8")
        one = watched(path, **options)
        one.page.goto(path.as_uri())
        return one

    return opened


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_it_says_what_the_text_says(show: Show) -> None:
    told = slower()
    page = show(told).page
    assert plain(page.locator("h1").inner_text()) == answer(told)
    assert answer(told).startswith("Slower: wall clock")
    text = plain(page.locator("main").inner_text())
    for line in (*map(because, causes_of(told)), *sureness(told), *map(verdict, told.gates)):
        assert line in text
    assert "Before and after are medians; change is the median of all pairwise differences" in text


def test_every_run_is_a_dot_and_the_change_has_its_interval(show: Show) -> None:
    page = show(slower()).page
    first = page.locator("#judged article").first
    assert "regression" in first.inner_text()
    assert first.locator(".dots.before span").count() == 5
    assert first.locator(".dots.after span").count() == 5
    before, after = (first.locator(f".dots.{g} span").all() for g in ("before", "after"))
    lefts = [
        [float(d.evaluate("d => parseFloat(d.style.left)")) for d in group]
        for group in (before, after)
    ]
    assert max(lefts[0]) < min(lefts[1]), "all runs after were slower than all before"
    interval = first.locator(".interval")
    none, limit, expected = (
        interval.locator(f".{name}").evaluate("d => parseFloat(d.style.left)")
        for name in ("none", "limit", "expected")
    )
    assert none < limit < expected


def test_paths_runs_and_links_are_there(show: Show) -> None:
    told = slower(names=tuple(f"execute_tool t{n}" for n in range(30)))
    page = show(told).page
    paths = page.locator("#table-paths tbody tr")
    expect(paths).to_have_count(len(told.paths))
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("tool t17")
    expect(paths).to_have_count(1)
    assert page.locator("#runs tbody tr").count() == 10
    links = page.locator("#jaeger a").evaluate_all("all => all.map(a => a.href)")
    assert links
    assert all(link.startswith("http://localhost:16686/trace/") for link in links)


def test_dark_is_dark(show: Show) -> None:
    opened = show(slower(), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = opened.page.evaluate(ground)
    opened.page.keyboard.press("t")
    assert opened.page.evaluate(ground) != dark


@pytest.mark.parametrize("width", [400, 1440])
def test_it_fits_the_screen(show: Show, width: int) -> None:
    opened = show(slower(), viewport={"width": width, "height": 900})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_of_what_it_is_told_runs(show: Show) -> None:
    names = tuple(f"execute_tool {attack}" for attack in ATTACKS)
    opened = show(slower(names=names, label=ATTACKS[1], outcome=ATTACKS[0]))
    page = opened.page
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("script").count() == 2
    assert page.locator("img, iframe, object, base, svg").count() == 0
    assert "</script><script>window.hacked=1</script>" in page.locator("#table-paths").inner_text()


def test_the_command_writes_a_page_beside_its_answer(tmp_path: Path) -> None:
    text = write_example(tmp_path / "a").read_text()
    other = f"{RUN_ID[:-1]}4"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"{other}.jsonl").write_text(
        text.replace(RUN_ID, other).replace(f"{1:032x}", f"{2:032x}")
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from otel_orchestrator.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "compare", "a", "--with", "b", *arguments],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip

    done = run("--html")
    assert done.returncode == 0, done.stderr
    assert "One run each" in done.stdout
    assert "Wrote comparison.html" in done.stderr
    assert "<title>One run each" in (tmp_path / "comparison.html").read_text()
    assert "Type --force" in run("--html").stderr
    assert run("--html", "--output", "other.html").returncode == 0
    assert (tmp_path / "other.html").exists()

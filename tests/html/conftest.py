"""Pages in a real Chromium, without a window; without the browser these tests skip."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run
from otel_orchestrator.reports import html

ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
HOOK = "window.otelOrchestrator"


@dataclass
class Opened:
    """A page in the browser, and what it did that it must not do."""

    page: Page
    path: Path
    trouble: list[str] = field(default_factory=list)

    def ask(self, expression: str) -> Any:
        """Evaluate an expression, in which `o` is what the page lets tests look into."""
        return self.page.evaluate(f"(() => {{ const o = {HOOK}; return {expression}; }})()")

    def settle(self) -> None:
        """Wait until everything that was asked for is drawn."""
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    @property
    def window(self) -> tuple[float, float]:
        """From when to when is shown, in microseconds."""
        return self.ask("o.view.from"), self.ask("o.view.to")


Open = Callable[..., Opened]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start Chromium once for these tests, and no longer: it keeps an event loop."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        message = "chromium is missing. Type: apt-get install chromium"
        if os.environ.get("OTEL_ORCHESTRATOR_REQUIRE_BACKENDS"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        yield started
        started.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Give pages whose errors, dialogs and requests are written down: there must be none."""
    opened: list[Opened] = []
    contexts = []

    def give(path: Path, **options: Any) -> Opened:
        chosen = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", **options}
        contexts.append(browser.new_context(**chosen))
        one = Opened(contexts[-1].new_page(), path)
        page, note = one.page, one.trouble.append

        def asked(request: Request) -> None:
            if request.url.partition("#")[0] != path.as_uri():
                note(f"request: {request.url}")

        def dialog(shown: Dialog) -> None:
            note(f"dialog: {shown.message}")
            shown.dismiss()

        page.on("console", lambda m: note(f"console {m.type}: {m.text}"))
        page.on("pageerror", lambda e: note(f"error: {e}"))
        page.on("dialog", dialog)
        page.on("popup", lambda p: note(f"popup: {p.url}"))
        page.on("request", asked)
        opened.append(one)
        return one

    yield give
    trouble = [one.trouble for one in opened]
    for context in contexts:
        context.close()
    assert trouble == [[]] * len(opened)


@pytest.fixture
def open_page(watched: Callable[..., Opened], tmp_path: Path) -> Open:
    """Open the report of a run."""

    def show(run: Run, fragment: str = "", **options: Any) -> Opened:
        path = tmp_path / "report.html"
        path.write_text(html.render(study(run)), encoding="utf-8")
        one = watched(path, **options)
        one.page.goto(path.as_uri() + fragment)
        if options.get("java_script_enabled", True):
            one.settle()
        return one

    return show

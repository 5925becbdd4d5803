"""20 000 spans: what is drawn is what is in sight, and the file stays small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run
from otel_orchestrator.reports import html

from .conftest import Open, Opened
from .large import large_run

MANY = 20_000
ROUNDS = 20
SCREEN = 100  # rows of a panel, and more


@pytest.fixture(scope="module")
def page() -> str:
    return html.render(study(large_run()))


@pytest.fixture
def opened(open_page: Open, page: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(html, "render", lambda told: page)
    yield open_page(Run("made before", ()))


def frames(opened: Opened, what: str, action: str) -> tuple[int, int]:
    """Do something in so many frames, print how long they took; returns frames and most bars."""
    took = opened.page.evaluate(
        f"""async () => {{
            const o = window.otelOrchestrator, {{ stats }} = o.view;
            const frame = () => new Promise((done) => requestAnimationFrame(done));
            await frame(); await frame();
            const [frames, spent] = [stats.frames, stats.spent_ms];
            stats.longest_ms = stats.bars = 0;
            let bars = 0;
            for (let n = 0; n < {ROUNDS}; n++) {{
                {action};
                await frame(); await frame();
                bars = Math.max(bars, stats.bars);
            }}
            const drawn = stats.frames - frames;
            return [drawn, bars, (stats.spent_ms - spent) / drawn, stats.longest_ms];
        }}"""
    )
    print(f"{what}: {took[0]} frames, {took[2]:.1f} ms each, {took[3]:.1f} at most, {took[1]} bars")
    return took[0], took[1]


def test_the_file_is_small_for_what_is_in_it(page: str) -> None:
    print(f"{len(page) / 1e6:.2f} MB")
    assert len(page) < 150 * MANY


def test_it_opens_with_all_of_them(opened: Opened) -> None:
    timing = "performance.getEntriesByType('navigation')[0]"
    loaded = opened.page.evaluate(f"{timing}.domComplete - {timing}.responseEnd")
    print(f"opened in {loaded:.0f} ms after the file was read")
    assert opened.ask("o.run.count") >= MANY


def test_each_frame_draws_what_is_in_sight_and_no_more(opened: Opened) -> None:
    """A lane has at most so many pixels, a screen so many rows: no frame draws 20 000 bars."""
    whole = opened.ask("o.view.stats.bars")
    assert whole < MANY / 2
    zoomed = frames(opened, "zooming", "o.view.zoom(1.3)")
    assert zoomed[0] >= ROUNDS
    assert zoomed[1] < MANY / 2
    opened.ask("o.view.show(4e8, 4.3e8)")
    panned = frames(opened, "panning", "o.view.pan(0.05)")
    assert panned[0] >= ROUNDS
    assert panned[1] < MANY / 10
    scroller = "document.querySelector('#spans .scroller')"
    scrolled = frames(opened, "scrolling", f"{scroller}.scrollTop = n % 2 * 700")
    assert scrolled[0] >= ROUNDS / 2
    assert scrolled[1] < SCREEN, "a panel that scrolls is the only one that is drawn"


def test_everything_unfolded_still_draws_only_what_is_in_sight(opened: Opened) -> None:
    opened.press("0", "w", "u")
    assert opened.ask("o.waterfall.visible.length") == opened.ask("o.run.count")
    bars = frames(
        opened, "scrolling all", "document.querySelector('#spans .scroller').scrollTop += 9000"
    )[1]
    assert bars < SCREEN
    opened.page.locator("#spans .scroller").focus()
    opened.press("End")
    assert opened.ask("o.waterfall.panel.cursor.row") == opened.ask("o.run.count") - 1


def test_a_search_finds_one_among_all_and_leads_to_it(opened: Opened) -> None:
    opened.page.fill("#search", "task-13-7 wait queue")
    assert opened.page.locator("#found").inner_text() == "nothing found"
    opened.page.fill("#search", "task-13-7 node")
    took = opened.page.evaluate(
        """() => {
            const input = document.getElementById('search'), began = performance.now();
            input.value = 'task-13-7 node';
            input.dispatchEvent(new Event('input'));
            return performance.now() - began;
        }"""
    )
    print(f"searched in {took:.0f} ms")
    assert opened.page.locator("#found").inner_text() == "1"
    opened.page.locator("#search").press("Enter")
    opened.settle()
    chosen = opened.ask("[o.panels.chosen.from, o.panels.chosen.to]")
    start, end = opened.window
    assert start < chosen[1]
    assert chosen[0] < end


def test_the_rows_of_a_large_run_are_those_of_the_window(opened: Opened) -> None:
    assert opened.page.locator("#only-window").get_attribute("aria-pressed") == "true"
    everything = opened.ask("o.waterfall.visible.length")
    opened.ask("o.view.show(4e8, 4.3e8)")
    opened.settle()
    assert 0 < opened.ask("o.waterfall.visible.length") < everything
    assert "in the window" in opened.page.locator("#tasks summary").inner_text()


def test_a_runs_start_and_end_are_not_looked_for_each_time() -> None:
    """Reports ask for them for each span."""
    looked = 0

    class Counting(tuple):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[object]:
            nonlocal looked
            looked += 1
            return super().__iter__()

    run = Run("run", Counting(large_run().spans[:100]))
    before = looked
    for _ in range(10):
        assert run.start_ns < run.end_ns
    assert looked == before

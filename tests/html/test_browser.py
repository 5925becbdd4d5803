"""The page, used: search, zoom, keyboard, details, what-if, themes, paper. `open_page` fails a test
in which the page says something on the console, asks for anything, or opens a dialog."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import Open, Opened
from .runs import example, planned


@pytest.fixture
def opened(open_page: Open) -> Opened:
    return open_page(planned())


def shown(opened: Opened) -> list[str]:
    """Return the names of the spans that have a row."""
    names: list[str] = opened.ask("o.waterfall.visible.map(o.run.name)")
    return names


def details(opened: Opened) -> str:
    return opened.page.locator("#details").inner_text()


def test_everything_is_there(opened: Opened) -> None:
    headings = opened.page.locator("h2:visible, .panels h3").all_inner_texts()
    assert headings == [
        "Verdict: what to optimise", "What if", "What to do", "Timeline", "Queue",
        "LLM calls at once", "Worker slots", "Tasks", "Spans", "Time, accounted for",
        "Supersteps", "LLM calls", "git", "Spans by category",
    ]  # fmt: skip
    assert opened.page.locator("h1").inner_text().startswith("w")


def test_the_verdict_comes_first_and_points_to_spans(opened: Opened) -> None:
    first = opened.page.locator("main section").first
    assert first.get_attribute("id") == "verdict"
    supported = first.locator(".finding.supported").first
    assert "LLM latency" in supported.inner_text()
    supported.locator(".examples button").first.click()
    assert "chat m" in details(opened)


def test_search_marks_what_it_finds_and_goes_through_it(opened: Opened) -> None:
    opened.press("/")
    opened.page.keyboard.type("commit")
    assert opened.page.locator("#found").inner_text() == "3"
    opened.press("Enter")
    assert opened.page.locator("#found").inner_text() == "1 of 3"
    assert opened.ask("o.run.name(o.panels.chosen.span)") == "git commit"
    opened.press("Escape")
    assert opened.page.locator("#search").input_value() == ""


def test_search_takes_every_word_and_looks_into_attributes(opened: Opened) -> None:
    def found(words: str) -> set[str]:
        opened.page.fill("#search", words)
        names: list[str] = opened.ask("o.search.found.map(o.run.name)")
        return set(names)

    assert found("waiting barrier") == {"wait barrier"}
    assert found("WORKER") == {"task worker", "node worker"}, "node.name is an attribute"
    assert found("working zebra") == set()
    assert opened.page.locator("#found").inner_text() == "nothing found"


def test_next_and_before_go_round(opened: Opened) -> None:
    opened.page.fill("#search", "task worker")
    opened.page.locator("h1").click()
    opened.press("Escape")  # leaves the field; the search is cleared
    opened.page.fill("#search", "task worker")
    opened.page.locator("#search").blur()
    seen = []
    for key in ("n", "n", "N", "N"):
        opened.press(key)
        seen.append(opened.page.locator("#found").inner_text())
    assert seen == ["1 of 4", "2 of 4", "1 of 4", "4 of 4"]


def test_keys_zoom_move_and_show_all(opened: Opened) -> None:
    start, end = opened.window
    opened.press("+", "+")
    closer = opened.window
    assert closer[1] - closer[0] == pytest.approx((end - start) / 2.25)
    opened.press("Shift+ArrowRight")
    assert opened.window[0] == pytest.approx(closer[0] + 0.2 * (closer[1] - closer[0]))
    opened.press("-")
    assert opened.window[1] - opened.window[0] == pytest.approx((end - start) / 1.5)
    opened.press("0")
    assert opened.window == (start, end)


def test_the_wheel_zooms_where_it_points(opened: Opened) -> None:
    panel = opened.page.locator("#slots canvas")
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    assert box is not None
    x = box["width"] * 0.7
    before = opened.ask(f"o.panels.area.at({x})")
    opened.page.mouse.move(box["x"] + x, box["y"] + 10)
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, -240)
    opened.page.keyboard.up("Control")
    opened.settle()
    start, end = opened.window
    assert end - start < 0.5 * opened.ask("o.view.whole[1] - o.view.whole[0]")
    assert opened.ask(f"o.panels.area.at({x})") == pytest.approx(before, abs=(end - start) / 100)


def test_dragging_the_ruler_shows_a_part_and_dragging_a_panel_moves_it(opened: Opened) -> None:
    ruler = opened.page.locator(".ruler canvas")
    ruler.scroll_into_view_if_needed()
    box = ruler.bounding_box()
    assert box is not None
    wanted = [opened.ask(f"o.panels.area.at({x})") for x in (600, 800)]
    opened.page.mouse.move(box["x"] + 600, box["y"] + 60)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 700, box["y"] + 60)
    opened.page.mouse.move(box["x"] + 800, box["y"] + 60)
    opened.page.mouse.up()
    opened.settle()
    assert opened.window == pytest.approx(wanted, rel=0.02)
    panel = opened.page.locator("#slots canvas").bounding_box()
    assert panel is not None
    opened.page.mouse.move(panel["x"] + 800, panel["y"] + 10)
    opened.page.mouse.down()
    opened.page.mouse.move(panel["x"] + 850, panel["y"] + 10)
    opened.page.mouse.move(panel["x"] + 900, panel["y"] + 10)
    opened.page.mouse.up()
    assert opened.window[0] < wanted[0], "what was left of the window came in"


def test_a_click_shows_details_and_escape_hides_them(opened: Opened) -> None:
    panel = opened.page.locator("#spans .scroller")
    row = shown(opened).index("wait barrier")
    at = opened.ask("o.panels.area.x((o.view.from + o.view.to) / 2)")
    panel.click(position={"x": at, "y": row * 20 + 10})
    text = details(opened)
    assert text.startswith("wait barrier")
    assert "slowest task" in text, "says what it means"
    assert "#span=" in opened.page.url
    opened.press("Escape")
    assert opened.page.locator("#details").is_hidden()


def test_the_tree_is_walked_and_folded_by_keys(opened: Opened) -> None:
    opened.page.locator("#spans .scroller").focus()
    opened.press("ArrowDown", "ArrowDown")
    said = opened.page.locator("#said")
    assert said.inner_text().startswith("superstep")
    everything = len(shown(opened))
    opened.press("ArrowLeft")
    assert len(shown(opened)) < everything, "folded"
    opened.press("ArrowRight")
    assert len(shown(opened)) == everything
    opened.press("ArrowRight")
    assert said.inner_text().startswith("node director")
    opened.press("ArrowLeft", "ArrowLeft")
    assert said.inner_text().startswith("superstep"), "first folds, then goes up"
    opened.press("End")
    assert opened.ask("o.waterfall.panel.cursor.row") == len(shown(opened)) - 1
    opened.press("Home", "Enter")
    assert details(opened).startswith("invoke_workflow w")
    assert opened.page.evaluate("document.activeElement.id") == "details"


def test_lanes_are_walked_by_keys_and_say_why_a_slot_was_idle(opened: Opened) -> None:
    slots = opened.page.locator("#slots .scroller")
    slots.focus()
    said = opened.page.locator("#said")

    def walk() -> list[str]:
        """Walk a lane from its end to its beginning."""
        opened.press(*["ArrowRight"] * 12)
        told = []
        for _ in range(12):
            told.append(said.inner_text().partition(",")[0])
            opened.press("ArrowLeft")
        return told

    told = walk()
    assert {"slot 1: director", "slot 1: a", "slot 1 idle: held by a barrier"} <= set(told)
    opened.press("ArrowDown")
    assert "slot 2: b" in walk()
    opened.press(
        "ArrowUp",
        *["ArrowRight"] * 12,
        *["ArrowLeft"] * told.index("slot 1 idle: held by a barrier"),
    )
    opened.press("Enter")
    text = details(opened)
    assert "held by a barrier" in text
    assert "b is the straggler of superstep" in text
    assert "Continuous dispatch" in text


def test_lifecycles_lead_to_what_they_depend_on(opened: Opened) -> None:
    tasks = opened.page.locator("#tasks .scroller")
    tasks.focus()
    opened.press("End", "Enter")
    assert "depends on\na" in details(opened)
    opened.page.locator("#details dd button", has_text="a").first.click()
    assert opened.ask("o.run.task(o.panels.chosen.span)") == "a"


def test_the_critical_path_can_be_all_that_is_shown(opened: Opened) -> None:
    everything = shown(opened)
    opened.press("c")
    assert opened.page.locator("#only-path").get_attribute("aria-pressed") == "true"
    assert 0 < len(shown(opened)) < len(everything)
    holds = "[...o.run.path.keys()].some((p) => n <= p && p <= o.run.last[n])"
    assert opened.ask(f"o.waterfall.visible.every((n) => {holds})")
    opened.press("c")
    assert shown(opened) == everything


def test_the_phases_of_a_call_add_up_to_it(open_page: Open, tmp_path: Path) -> None:
    opened = open_page(example(tmp_path))
    opened.press("/")
    opened.page.keyboard.type("chat")
    opened.press("Enter", "Tab")
    opened.page.locator("#spans .scroller").focus()
    opened.press("Enter")
    assert "Phases of the call" in details(opened)
    lengths = "flat.filter((_, k) => k % 2).reduce((a, b) => a + b, 0)"
    sums = opened.ask(f"[...o.run.phases].map(([n, flat]) => [o.run.took(n), {lengths}])")
    assert sums
    assert all(took == whole for took, whole in sums)


def test_the_sliders_step_through_estimates(opened: Opened) -> None:
    page = opened.page
    answer = page.locator("#what-if .answer")
    assert "as measured" in answer.inner_text()
    wall = opened.ask("o.run.data.run.wall_s")
    page.locator("#speed").focus()
    opened.press("ArrowRight", "ArrowRight")
    grid = opened.ask("o.run.data.grid")
    assert page.locator(".slider output").first.inner_text() == "2 times as fast"
    speed, slots = grid["speeds"].index(2), grid["workers"].index(2)
    low, expected, high = grid["seconds"][speed][slots]
    text = answer.inner_text()
    assert text.startswith(opened.ask(f"o.fmt.seconds({expected})"))
    assert f"saves {opened.ask(f'o.fmt.share({1 - expected / wall})')}" in text
    assert opened.ask(f"o.fmt.seconds({low})") in text
    assert opened.ask(f"o.fmt.seconds({high})") in text
    page.locator("#workers").focus()
    opened.press("Home")
    assert page.locator(".slider output").last.inner_text() == "1 instead of 2"


def test_dark_and_light_follow_the_system_and_the_key(open_page: Open) -> None:
    def ground(opened: Opened) -> str:
        colour: str = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    dark = open_page(planned(), color_scheme="dark")
    light = open_page(planned(), color_scheme="light")
    assert ground(dark) != ground(light)
    wanted = ground(light)
    dark.press("t")
    assert ground(dark) == wanted
    assert dark.ask("o.view.stats.frames") > 1, "canvases are drawn anew"


def test_help_lists_the_keys(opened: Opened) -> None:
    opened.press("?")
    assert "critical path" in opened.page.locator("#help").inner_text()
    opened.press("Escape")
    assert opened.page.locator("#help").is_hidden()


def test_an_address_leads_to_a_span(open_page: Open) -> None:
    run = planned()
    call = next(s for s in run.spans if s.name == "git commit")
    opened = open_page(run, f"#span={call.span_id}")
    assert details(opened).startswith("git commit")
    assert call.span_id in details(opened)


def test_the_spans_are_a_table_and_the_report_is_text_too(opened: Opened) -> None:
    opened.page.locator("#table summary").click()
    rows = opened.page.locator("#table tbody tr")
    expect(rows).to_have_count(opened.ask("o.run.count"))
    opened.page.fill("#search", "wait barrier")
    opened.page.locator("#table button", has_text="found").click()
    found = opened.ask("o.search.found.length")
    assert found > 0
    expect(rows).to_have_count(found)
    opened.page.locator("#as-text summary").click()
    assert "Verdict: what to optimise" in opened.page.locator("#as-text pre").inner_text()


def test_durations_read_as_in_the_text_report(opened: Opened) -> None:
    from otel_orchestrator.reports import units

    for ns in (0, 812_000, 999_400, 43_000_000, 999_600_000, 3_210_000_000, 59_994_000_000,
               61_000_000_000, 245_000_000_000, 3_600_000_000_000, 7_260_000_000_000):  # fmt: skip
        assert opened.ask(f"o.fmt.duration({ns / 1000})") == units.duration(ns)
    for number in (0, 999, 12_345, 1_234_567):
        assert opened.ask(f"o.fmt.count({number})") == units.count(number)
    for fraction in (0, 0.0004, 0.5, 1, -0.025):
        assert opened.ask(f"o.fmt.share({fraction})") == units.share(fraction)


@pytest.mark.parametrize("width", [400, 768, 1440])
def test_it_fits_the_screen(open_page: Open, width: int) -> None:
    opened = open_page(planned(), viewport={"width": width, "height": 900})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_every_row_is_there(opened: Opened, tmp_path: Path) -> None:
    opened.page.emulate_media(color_scheme="dark")
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    pieces = opened.page.locator(".paper-only canvas")
    heights = pieces.evaluate_all("all => all.map(c => c.height / devicePixelRatio)")
    lanes = 2 * 24 + 4 * 24 + 2 * 54
    assert sum(heights) == len(shown(opened)) * 20 + lanes
    assert opened.page.evaluate("document.documentElement.dataset.theme") == "light"
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert pieces.count() == 0
    assert opened.page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_the_text_is_there(open_page: Open) -> None:
    opened = open_page(planned(), java_script_enabled=False)
    assert "the same report as text" in opened.page.locator("#main").inner_text()
    assert "Verdict: what to optimise" in (opened.page.locator("#as-text pre").text_content() or "")

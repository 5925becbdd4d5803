"""A page of a run whose names and attributes try everything does nothing of it."""

from __future__ import annotations

import pytest

from otel_orchestrator.model import Run, Value, changed

from .conftest import Open, Opened
from .runs import planned

HACK = "window.hacked=1"
ATTACKS = (
    f"<script>{HACK}</script>",
    f"</script><script>{HACK}</script>",
    f"</pre></details></section><img src=x onerror={HACK}>",
    f"<!--<script>{HACK}</script>",
    f"</title><svg onload={HACK}>",
    f'" onmouseover="{HACK}" x="',
    f"' autofocus onfocus='{HACK}",
    f"javascript:{HACK}",
    f"`${{{HACK}}}`",
    f"\u2028{HACK}\u2029//",
    f"]]>{HACK}//{{{{data}}}}",
    "<style>*{display:none}</style>",
    "<base href=http://127.0.0.1:9/><link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content=0;url=http://127.0.0.1:9/>",
    "\ud800\udfff\ud800 half \x00\x1b[31m\u202eright to left",
    "__proto__",
    "constructor",
    "&lt;b&gt;&amp;" * 400,
)


def hostile() -> Run:
    """Return a run in which every text is one of the attacks, or has one in it."""
    run = planned()
    spans = []
    for n, span in enumerate(run.spans):
        attack = ATTACKS[n % len(ATTACKS)]
        said: dict[str, Value] = {
            k: v if not isinstance(v, str) or k == "orchestrator.state" else f"{v}{attack}"
            for k, v in span.attributes.items()
        }
        if "orchestrator.category" in span.attributes and n % 2:
            said["orchestrator.category"] = span.attributes["orchestrator.category"]
        said |= {attack: attack, "orchestrator.wait.on": attack, "gen_ai.request.model": attack}
        said |= {"orchestrator.git.lock": attack, "error.type": attack}
        name = f"{span.name} {attack}" if n else span.name
        spans.append(changed(span, name=name, attributes=said, trace_id=attack))
    resource = {"service.name": ATTACKS[0], "orchestrator.run.label": ATTACKS[2]}
    return Run(ATTACKS[1], tuple(spans), run.points, resource, (ATTACKS[2], ATTACKS[0]))


def test_nothing_of_it_runs_wherever_it_is_shown(open_page: Open) -> None:
    """`open_page` fails on any console message, dialog, popup or request."""
    opened = open_page(hostile())
    page = opened.page
    look_at_everything(opened)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("script").count() == 2
    assert page.locator("img, iframe, object, embed, base, link[rel=stylesheet], svg").count() == 0
    assert page.locator("style").count() == 1
    assert page.locator("h2").first.is_visible(), "no style of the data counts"


def look_at_everything(opened: Opened) -> None:
    page = opened.page
    for n in range(opened.ask("o.run.count")):
        opened.ask(f"o.panels.choose(o.waterfall.reach({n}), {{ open: true }})")
    opened.settle()
    page.locator("#table summary").click()
    page.locator("#as-text summary").click()
    for panel in ("slots", "tasks", "spans", "queue"):
        page.locator(f"#{panel} .scroller").focus()
        opened.press("ArrowDown", "ArrowRight", "Enter")
        box = page.locator(f"#{panel} canvas").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 60, box["y"] + 10)
    for button in page.locator("#verdict .examples button, #supersteps button").all():
        button.click()
    opened.press("t", "?", "Escape")
    page.pdf(format="A4")


def test_it_is_shown_as_it_is(open_page: Open) -> None:
    opened = open_page(hostile())
    opened.page.fill("#search", "</script><script>window.hacked=1</script>")
    opened.page.locator("#search").press("Enter")
    opened.page.locator("#spans .scroller").focus()
    opened.press("Enter")
    title = opened.page.locator("#details h2").inner_text()
    assert "</script><script>window.hacked=1</script>" in title


@pytest.mark.parametrize("address", ["javascript:window.hacked=1//", "data:text/html,x", "//x"])
def test_only_an_address_of_the_web_is_a_link(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    from otel_orchestrator.reports import html

    render = html.render
    monkeypatch.setattr(html, "render", lambda told: render(told, jaeger_url=address))
    opened = open_page(planned())
    opened.ask("o.panels.choose(o.waterfall.reach(0), { open: true })")
    assert opened.page.locator("#details a").count() == 0

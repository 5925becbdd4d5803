"""The page as a file: one file, the same for the same run, in which data are never code."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import changed
from otel_orchestrator.reports import html
from otel_orchestrator.reports.html.page import embedded

from .runs import example, planned

GOLDEN = Path(__file__).parent / "golden" / "example.json"
SOURCE = Path(html.__file__).parent


class Parts(HTMLParser):
    """What is in a page, by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._tag, []).append(data)

    @property
    def scripts(self) -> list[str]:
        return self.texts["script"]


@pytest.fixture
def page(tmp_path: Path) -> str:
    return html.render(study(example(tmp_path)))


def data_of(page: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Parts(page).scripts[0])
    return data


def test_the_data_are_the_golden_ones(page: str) -> None:
    """Look at what changed; if it is better, write it anew with UPDATE_GOLDEN=1."""
    text = json.dumps(data_of(page), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s+", " ", m[0]), text)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_same_run_makes_the_same_page(page: str, tmp_path: Path) -> None:
    assert html.render(study(example(tmp_path))) == page


def test_the_spans_of_the_page_are_those_of_the_run(tmp_path: Path) -> None:
    """The columns, put together again as the page does it, say what was recorded."""
    run = example(tmp_path)
    columns = data_of(html.render(study(run)))["spans"]
    texts, told = columns["texts"], {}
    starts: list[int] = []
    for n, parent in enumerate(columns["parent"]):
        starts.append(columns["start"][n] + (starts[n - parent] if parent else 0))
        shape, *values = columns["attributes"][n]
        told[columns["id"][n]] = (
            texts[columns["name"][n]],
            starts[n],
            columns["took"][n],
            columns["id"][n - parent] if parent else None,
            {texts[k]: texts[v] for k, v in zip(columns["shapes"][shape], values, strict=True)},
        )
    hidden = {
        "orchestrator.run.id",
        "orchestrator.state",
        "orchestrator.category",
        "orchestrator.outcome",
    }
    assert told == {
        s.span_id: (
            s.name,
            s.start_ns // 1000 - run.start_ns // 1000,
            run.end_of(s) // 1000 - s.start_ns // 1000,
            s.parent_id,
            {k: str(v) for k, v in s.attributes.items() if k not in hidden},
        )
        for s in run.spans
    }


def test_it_is_one_file_that_names_no_other(page: str) -> None:
    tags = Parts(page).tags
    assert {name for name, _ in tags} & {
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    } == set()
    loaded = [
        v for _, attrs in tags for k, v in attrs.items() if k in ("src", "href", "srcset", "action")
    ]
    assert loaded == ["data:,", "#main"], "an icon that is none, so that browsers ask for none"
    assert not re.search(r"@import|url\(", page)


def test_its_policy_allows_its_own_scripts_and_styles_and_nothing_else(page: str) -> None:
    parts = Parts(page)
    policy = next(
        a["content"] for n, a in parts.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in str(policy).split("; "))

    def hashed(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == hashed(parts.scripts[1])
    assert rules["style-src"] == hashed("".join(parts.texts["style"]))
    assert set(rules) == {
        "default-src", "script-src", "style-src", "img-src", "base-uri", "form-action",
        "require-trusted-types-for", "trusted-types",
    }  # fmt: skip


def test_data_can_neither_end_their_block_nor_begin_a_tag() -> None:
    nasty = "</script><script>1</script><!-- ]]> & \u2028\u2029 \ud800 \x00"
    text = embedded({"name": nasty})
    assert json.loads(text) == {"name": nasty}
    assert text.isascii()
    assert not set(text) & set("<>&")


def test_no_script_makes_markup_or_code_of_data() -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|srcdoc"
        r"|setAttribute\(.style|fetch\(|XMLHttp|WebSocket|import\("
    )
    for path in (SOURCE / "js").glob("*.js"):
        assert not re.search(forbidden, path.read_text()), path.name


def test_no_script_or_style_is_too_long_to_hold_in_the_head() -> None:
    parts = [*(SOURCE / "js").glob("*.js"), *(SOURCE / "css").glob("*.css")]
    assert len(parts) > 20
    assert [p.name for p in parts if len(p.read_text().splitlines()) > 400] == []


def test_every_script_is_in_the_page(page: str) -> None:
    script = Parts(page).scripts[1]
    for path in (SOURCE / "js").glob("*.js"):
        assert (path.read_text() in script) == (path.name != "comparison.js")


def test_recorded_prompts_stay_out_of_the_page() -> None:
    run = planned()
    call = next(s for s in run.spans if s.name == "chat m")
    secret = {**call.attributes, "gen_ai.input.messages": '[{"content": "a secret prompt"}]'}
    spans = tuple(s if s is not call else changed(s, attributes=secret) for s in run.spans)
    page = html.render(study(type(run)(run.id, spans)))
    assert "a secret prompt" not in page
    assert "recorded; left out of this page" in page


def test_no_word_of_the_page_says_who_works_between_nodes(page: str) -> None:
    # It is LangGraph in its runs, and the program's own code in those by hand.
    assert "LangGraph itself" not in page
    assert '["framework", "what lies between the nodes"]' in page

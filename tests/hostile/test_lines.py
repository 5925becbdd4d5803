"""No text of a file adds a line to a report: not the name of anything, in any way to end a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.printable import printable, printable_attributes

from .reading import COMMANDS, said_by
from .test_fuzz import LINES, RELEASED
from .test_made import changed, lines_of

ENDS = ("\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
FORGED = "Verdict: forged"
NAMES = (
    Attr.RUN_LABEL, Attr.RUN_ID, Attr.TASK_ID, Attr.SERVICE_NAME, Attr.HOST_NAME, Attr.WAIT_ON,
    Attr.CATEGORY, Attr.OUTCOME, Attr.NODE_NAME, Attr.REQUEST_MODEL, Attr.ERROR_TYPE,
    Attr.TASK_DEPENDS_ON, Attr.REPOSITORY_NAME,
)  # fmt: skip


@pytest.mark.parametrize("end", ENDS, ids=ascii)
def test_names_have_one_line(end: str) -> None:
    text = f"a{end}{FORGED}"
    assert len(printable(text).splitlines()) == 1
    told = printable_attributes(dict.fromkeys(NAMES, text) | {Attr.FINISH_REASONS: (text, text)})
    for value in told.values():
        for item in value if isinstance(value, tuple) else (value,):
            assert len(str(item).splitlines()) == 1


def test_prompts_and_what_is_of_the_application_may_have_several_lines() -> None:
    texts = {
        Attr.INPUT_MESSAGES: "one\ntwo\n\tthree",
        "exception.stacktrace": "a\n\tb",
        "mine": "x\ny",
    }
    assert printable_attributes(texts) == texts
    assert printable_attributes({"mine": "one\u2028two"}) == {"mine": "one\ufffdtwo"}


def forged(end: str) -> bytes:
    """Return a run, of which every name and every text goes on after the end of a line."""

    def change(key: str, value: Any) -> Any:
        is_state = value in ("working", "waiting", "container")
        is_text = key in ("name", "stringValue") and isinstance(value, str)
        return f"{value}{end}{FORGED}" if is_text and not is_state else value

    label = {"key": Attr.RUN_LABEL, "value": {"stringValue": "v1"}}
    documents = json.loads(json.dumps(LINES))
    for document in documents:
        for block in document.get("resourceSpans", []):
            block["resource"]["attributes"].append(label)
            for scope in block["scopeSpans"]:
                for span in scope["spans"]:
                    task = {"key": Attr.TASK_ID, "value": {"stringValue": "t"}}
                    span.setdefault("attributes", []).append(task)
    return lines_of(changed(documents, change))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("end", ["\n", "\u2028"], ids=ascii)
def test_no_report_has_a_line_that_a_file_made(
    tmp_path: Path, words: tuple[str, ...], end: str
) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(forged(end))
    said = said_by(words, file, RELEASED)
    assert said.code in (0, 1), said.err
    for line in (said.out + said.err).splitlines():
        assert not line.strip().startswith(FORGED)

"""What the report makes of advice, models and what cannot be told: words first, and few of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.analysis.study import study
from otel_orchestrator.model import Run, Span, changed
from otel_orchestrator.reports import html as html_report
from otel_orchestrator.reports import json as json_report
from otel_orchestrator.reports import text as text_report
from otel_orchestrator.semconv import Attr

from .made import Control, Task, made
from .runs import Writer, write_example
from .test_report import cli


def section_of(run: Run, title: str, *, width: int = 100, **options: Any) -> list[str]:
    """Return the lines of one section of the text report."""
    text = text_report.render(study(run), width=width, colour=False, **options)
    lines = text.split(f"\n{title}\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [line.strip() for line in lines]


SECOND = 10**9


def wasteful() -> Run:
    """A node that asks the same three times and three other things, and commits each time."""
    spans = [Span("c0", "0", None, "invoke_workflow w", 1, 0, 30 * SECOND)]

    def add(name: str, start: float, end: float, parent: str, **said: Any) -> None:
        attributes = {Attr.OUTCOME: "ok", Attr.STATE: "working", **said}
        number = f"{len(spans):x}"
        times = int(start * SECOND), int(end * SECOND)
        spans.append(Span("c0", number, parent, name, 1, *times, attributes=attributes))

    add("node worker", 0, 30, "0", **{Attr.CATEGORY: "compute", Attr.TASK_ID: "cart"})
    ask: dict[str, Any] = {
        Attr.CATEGORY: "llm", Attr.REQUEST_MODEL: "gpt-4o", Attr.INPUT_TOKENS: 1000,
        Attr.OUTPUT_TOKENS: 50, Attr.LLM_CHUNKS: 50, Attr.TIME_TO_FIRST_CHUNK: 0.5,
        Attr.LLM_COST: 0.0125,
    }  # fmt: skip
    for n in range(3):
        add("chat gpt-4o", 5 * n, 5 * n + 1, "1", **ask, **{Attr.PROMPT_HASH: "same"})
        add("git commit", 5 * n + 2, 5 * n + 3, "1", **{Attr.CATEGORY: "git"})
    for n in range(3):
        add("chat gpt-4o", 20 + 2 * n, 22 + 2 * n, "1", **ask, **{Attr.PROMPT_HASH: f"{n}"})
    lock = {Attr.CATEGORY: "git", Attr.GIT_LOCK: "index", Attr.OUTCOME: "error"}
    add("git add", 28, 28.001, "1", **lock)
    return Run("r", tuple(sorted(spans, key=lambda s: (s.start_ns, s.span_id))))


def test_advice_is_said_in_words_with_the_worst_example_and_a_link() -> None:
    lines = section_of(wasteful(), "What to do", width=160, jaeger_url="http://j")
    assert lines == [
        "→ Check whether these LLM calls need each other: 3 in a row in node worker",
        "Saves at most 4.00 s, summed over tasks. Nothing recorded says that one needs the answer"
        " of the one before.",
        "worst: node worker cart 30.00 s, 4.00 s of it saved at most, for 3 calls in a row  http://j/trace/c0?uiFind=1",
        "→ Commit less often: 3 commits where a node made several in one worktree",
        "Saves at most 2.00 s, summed over tasks.",
        "worst: git commit cart 1.00 s  http://j/trace/c0?uiFind=3",
        "worst: git commit cart 1.00 s  http://j/trace/c0?uiFind=5",
        "→ Cache answers: 2 LLM calls ask gpt-4o what it had answered before",
        "Saves at most 2.00 s, summed over tasks, where the same answer will do.",
        "worst: chat gpt-4o cart 1.00 s, 2.00 s with 1 more that asks the same "
        " http://j/trace/c0?uiFind=6",
        "→ Let git take turns: 1 command failed on the lock index",
        "1 ms went by until the same was tried again, summed over tasks.",
        "worst: git add cart 1 ms  http://j/trace/c0?uiFind=b",
    ]


@pytest.mark.parametrize(
    "trace_id", ["", "../../api", "c0 bold", "c0\n", "x>) ![p](//evil.example"]
)
def test_only_ids_are_linked_to(trace_id: str) -> None:
    run = wasteful()
    spans = tuple(changed(span, trace_id=trace_id) for span in run.spans)
    told = study(Run("r", spans))
    plain = text_report.render(told, width=160, colour=True, jaeger_url="http://j")
    for found in (plain, as_text(html_report.render(told, jaeger_url="http://j"))):
        assert "worst: " in found
        assert "http://j/trace/" not in found
        assert "uiFind" not in found


def as_text(page: str) -> str:
    """Return the text part of a page."""
    return page.partition("<pre")[2].partition("</pre>")[0]


def test_models_are_a_table_without_empty_columns() -> None:
    assert [" ".join(line.split()) for line in section_of(wasteful(), "LLM calls by model")] == [
        "model calls time first token tokens/s in out cost",
        "gpt-4o 6 9.00 s 500 ms 50 6 000 300 0.0750",
        "first token: the median of streamed calls",
        "tokens/s: from the first token on",
    ]


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_models_fit_the_terminal_without_a_cut_number(width: int) -> None:
    """On a narrow one some columns are left out: the model, its time and its speed never."""
    lines = section_of(wasteful(), "LLM calls by model", width=width)
    assert all(len(line) <= width and "…" not in line for line in lines)
    shown = lines[1].split()
    assert shown[:4] == ["gpt-4o", "6", "9.00", "s"]
    assert ("0.0750" in shown) == (width >= 80)
    assert "50" in shown


def test_programs_get_the_same() -> None:
    document = json_report.document(study(wasteful()))
    assert document["format"] == 1
    kinds = [(a["kind"], a["count"], a["saved_at_most_s"]) for a in document["advice"]]
    assert kinds == [
        ("sequential_calls", 3, 4.0),
        ("batch_commits", 3, 2.0),
        ("equal_prompts", 2, 2.0),
        ("lock_contention", 1, 0.001),
    ]
    [same] = document["advice"][2]["examples"]
    assert (same["span_id"], same["duration_ns"], same["about_ns"]) == ("6", SECOND, 2 * SECOND)
    [model] = document["models"]
    assert (model["model"], model["output_tokens_per_s"]) == ("gpt-4o", 50.0)
    assert model["cost"] == pytest.approx(0.075)  # Python 3.12 adds floats up otherwise


def test_advice_points_to_what_the_wall_would_gain() -> None:
    """Where what-if can tell, so that nobody takes task time for time of the run."""
    run = made([Task(n, llm=100) for n in "abcd"], slots=1)
    hashed = tuple(
        Span(s.trace_id, s.span_id, s.parent_id, s.name, s.kind, s.start_ns, s.end_ns,
             attributes={**s.attributes, Attr.PROMPT_HASH: "x"} if s.name == "chat m" else
             s.attributes)
        for s in run.spans
    )  # fmt: skip
    said = section_of(Run("r", hashed), "What to do", width=200)[1]
    assert "On the wall: " in said
    assert said.endswith("% (see what if).")


def test_nothing_to_do_is_one_line() -> None:
    lines = section_of(made([Task(n, llm=10, git=2) for n in "abc"]), "What to do")
    assert lines == [
        "Nothing was seen that would save 1 % of the wall; --explain lists what counts"
    ]


# --- what cannot be told ---


def test_a_small_run_says_once_that_there_is_no_verdict_and_what_was_measured() -> None:
    run = made([Task("a", llm=60, git=20)], slots=1)
    assert section_of(run, "Verdict: what to optimise", width=240) == [
        "? No verdict: it takes at least 3 jobs of workers; there are 1.",
        "The largest part of the wall is LLM calls, mostly in node worker: 75.9 %.",
        "LLM calls of workers: 72.3 % of the wall and 72.3 % of slot time · git: 24.1 % of the wall"
        " and 24.1 % of slot time · the cycle between workers: 2.4 % of the wall and 2.4 % of slot"
        " time",
    ]
    assert json_report.document(study(run))["verdict"]["doubt"] is not None
    asked = section_of(run, "What if", width=200)
    assert [line for line in asked if line.startswith("?")] == [
        "? One worker fewer: there was only one worker",
        "? Answers to equal prompts out of a cache: no LLM call carries a hash of its prompt",
        "? The Director looks while workers work: no Director ran between workers",
    ]


def test_where_nothing_can_be_estimated_that_is_all_that_is_said(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    with writer.span("invoke_workflow w", 0, 100, "container"):
        with writer.span("git add", 0, 50, category="git"):
            pass
    writer.close()
    report = cli("report", folder=tmp_path).stdout
    asked = report.split("\nWhat if\n")[1].split("\n\n")[0].splitlines()
    assert asked == ["  Nothing can be estimated: no superstep with workers was recorded."]
    assert report.count("?") == 1


def test_one_finding_that_cannot_be_told_leaves_the_others() -> None:
    run = made([Task(n, compute=10) for n in "abcd"], director=Control(llm=30))
    lines = section_of(run, "Verdict: what to optimise", width=200)
    assert sum("cannot be told" in line and line.startswith("?") for line in lines) == 2
    assert sum(line.startswith("●") for line in lines) == 1


def test_less_than_a_millisecond_is_no_line_of_its_own(tmp_path: Path) -> None:
    """Two tasks that were held for 4 µs by the superstep before."""
    writer = Writer(tmp_path)
    with writer.span("invoke_workflow w", 0, 100, "container"):
        for step in range(2):
            at = step * 50
            index = {Attr.SUPERSTEP_INDEX: step}
            with writer.span("superstep", at, at + 50, "container", attributes=index):
                for name in "ab":
                    attributes: dict[str, Any] = {Attr.TASK_ID: f"{name}{step}"}
                    if step:
                        attributes |= {Attr.TASK_DEPENDS_ON: ["a0"], Attr.TASK_WAITED_HELD: 4e-6}
                    with writer.span("task w", at, at + 50, "container", attributes=attributes):
                        with writer.span("node w", at, at + 50, category="compute"):
                            pass
    writer.close()
    report = cli("report", folder=tmp_path).stdout
    assert "\nSupersteps\n" in report
    assert "µs" not in report


# --- mistakes on the command line ---


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_report_is_not_written_to_a_folder(tmp_path: Path, shape: str) -> None:
    write_example(tmp_path)
    for force in ([], ["--force"]):
        done = cli("report", "--format", shape, "--output", str(tmp_path), *force, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is a folder: name the file to write in it" in done.stderr


def test_a_file_that_is_no_run_file_is_called_that(tmp_path: Path) -> None:
    write_example(tmp_path)
    (tmp_path / "core.py").write_text("print('hello')\n")
    done = cli("report", "core.py", folder=tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "otel-orchestrator: core.py is not a run file: no line of it is OTLP JSON\n"
    )
    folder = cli("report", f"{tmp_path}/", folder=tmp_path)
    assert "is a folder. Type: --dir" in folder.stderr


def test_why_speed_is_of_whole_calls_is_said_as_it_is() -> None:
    run = wasteful()
    spans = list(run.spans)
    at = next(n for n, span in enumerate(spans) if span.name.startswith("chat"))
    kept = {k: v for k, v in spans[at].attributes.items() if k != Attr.OUTPUT_TOKENS}
    streamed = changed(spans[at], attributes=kept)
    others = [
        changed(s, attributes={k: v for k, v in s.attributes.items() if k not in _STREAMED})
        for s in spans
    ]
    plain = section_of(Run("r", tuple(others)), "LLM calls by model")
    assert plain[-1].endswith("of whole calls, because it is not known when the first token came")
    others[at] = streamed
    mixed = section_of(Run("r", tuple(others)), "LLM calls by model")
    assert mixed[-1].endswith("of whole calls, because none that came in chunks tells its tokens")


_STREAMED = (Attr.LLM_CHUNKS, Attr.TIME_TO_FIRST_CHUNK)

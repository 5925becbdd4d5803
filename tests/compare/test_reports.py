"""What people, pull requests, builds and programs get to see of real runs.

The baselines in `demo` are real runs of the reference orchestrator, five of each: as it is, and
with LLM calls, git, or one task slowed (`make bench-compare` makes and judges such runs anew).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from otel_orchestrator.analysis.comparing.causes import causes_of
from otel_orchestrator.analysis.comparing.comparison import Comparison, compare
from otel_orchestrator.analysis.comparing.rules import DECLARED, parse_rule, rules_with
from otel_orchestrator.reports.compare import json as json_report
from otel_orchestrator.reports.compare import junit, markdown, text
from otel_orchestrator.reports.compare.links import links
from otel_orchestrator.reports.compare.tables import tables
from otel_orchestrator.reports.compare.words import (
    MINUS,
    answer,
    because,
    change,
    change_of,
    span_of,
    verdict,
)
from otel_orchestrator.sources.baselines import read_baseline

from .made import in_turns

HERE = Path(__file__).parent
JAEGER = "http://localhost:16686"


def demo(name: str, base: str = "as_it_is") -> Comparison:
    before, after = (read_baseline(HERE / "demo" / f"{group}.json") for group in (base, name))
    return compare(before, after, DECLARED, trusted=True)


def text_of(comparison: Comparison, **options: Any) -> str:
    chosen = {"width": 100, "colour": False, "jaeger_url": JAEGER, **options}
    return text.render(comparison, **chosen)


def check_golden(name: str, found: str) -> None:
    """Compare with what is committed; `UPDATE_GOLDEN=1` writes it anew, to be looked at."""
    golden = HERE / "golden" / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found, "utf-8")
    assert found == golden.read_text("utf-8")


@pytest.mark.parametrize(
    ("slowed", "metrics", "reason"),
    [
        ("llm", ["wall clock", "mean LLM call", "waiting"], "Slower LLM calls: 64 → 64 calls"),
        ("git", ["wall clock", "waiting"], "Slower git commands: 80 → 80 commands"),
        ("straggler", ["wall clock", "waiting"], "More waiting at barriers: barrier and held"),
    ],
)
def test_the_words_name_what_was_slowed(slowed: str, metrics: list[str], reason: str) -> None:
    found = demo(slowed)
    assert answer(found).startswith("Slower: ")
    assert re.findall(r"(wall clock|mean LLM call|waiting) ", answer(found)) == metrics
    assert because(causes_of(found)[0]).startswith(reason)
    if slowed == "straggler":
        assert because(causes_of(found)[0]).endswith("more for stock.")


@pytest.mark.parametrize("quickened", ["llm", "git", "straggler"])
def test_the_other_way_round_it_is_faster(quickened: str) -> None:
    found = demo("as_it_is", base=quickened)
    assert found.exit_code(strict=False) == 0
    assert answer(found).startswith("Faster: wall clock ")
    assert because(causes_of(found)[0]).startswith(("Faster", "Less waiting at barriers"))


def test_the_whole_text() -> None:
    check_golden("git.txt", text_of(demo("git")))


def test_the_whole_markdown() -> None:
    check_golden("straggler.md", markdown.render(demo("straggler"), JAEGER))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("slowed", ["llm", "git", "straggler"])
def test_no_number_is_cut_whatever_the_width(slowed: str, width: int) -> None:
    found = demo(slowed)
    said = text_of(found, width=width)
    for table in tables(found):
        _, _, rest = said.partition(f"\n{table.title}\n")
        header, *lines = rest.partition("\n\n")[0].splitlines()
        shown = "\n".join(lines)
        for number, column in enumerate(table.columns):
            if column not in header:
                assert "no room for: " in shown
            elif number and table.align[number] == "n":
                assert all(row[number] in shown for row in table.rows)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_it_fits_every_terminal(width: int) -> None:
    for line in text_of(demo("llm"), width=width).splitlines():
        assert len(line) <= width or "http" in line


def test_colour_is_only_colour() -> None:
    plain, coloured = (text_of(demo("llm"), colour=colour) for colour in (False, True))
    assert coloured != plain
    stripped = re.sub(r"\x1b(\[[0-9;]*m|\]8;[^\x1b]*\x1b\\)", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_one_run_each_says_so_and_no_more() -> None:
    told = text_of(compare(*in_turns([{"llm": [100]}], [{"llm": [900]}]), DECLARED, trusted=False))
    assert "One run each: differences and structure, no error estimate." in told
    assert "Slower LLM calls: 1 → 1 calls, each 100 ms → 900 ms (9.0 times)" in told
    assert "Run each side five times, in turns" in told
    assert "chance taken alone" not in told
    assert "●" not in told


def told_of(verdicts_of: Comparison) -> dict[str, str]:
    return {gate.rule.metric: verdict(gate) for gate in verdicts_of.gates}


def test_a_limit_beyond_all_measure_is_said_as_it_is() -> None:
    rules = rules_with([parse_rule("wall>1000000%")])
    found = compare(*in_turns([{}] * 5, [{}] * 5), rules, trusted=False)
    assert told_of(found)["wall"] == "no regression: +0.0 % at most, 10 001 times would count"


@pytest.mark.parametrize(
    ("base", "candidate", "said"),
    [
        ([100, 101, 102, 103, 104], [150] * 5, "regression: more than +20.0 %, beyond chance"),
        ([100] * 5, [100] * 5, "no regression: +0.0 % at most, +20.0 % would count"),
        ([100, 120, 140, 160, 180], [100, 120, 140, 160, 180], "or more, +20.0 % would count"),
        ([100] * 3, [100] * 3, "not judged: too few runs, +20.0 % would count"),
        ([100] * 5, [100, 100, 100, 100, None], "some runs have none, +20.0 % would count"),
    ],
)
def test_whatever_the_answer_the_limit_is_said(
    base: list[float], candidate: list[float | None], said: str
) -> None:
    groups = [[{"llm": [] if ms is None else [ms]} for ms in group] for group in (base, candidate)]
    found = compare(*in_turns(*groups), rules_with([parse_rule("llm.mean>20%")]), trusted=False)
    assert told_of(found)["llm.mean"].endswith(said)
    others = {verdict for metric, verdict in told_of(found).items() if metric != "llm.mean"}
    assert not any("+20.0 %" in verdict for verdict in others)


@pytest.mark.parametrize(
    ("base", "candidate", "told", "said"),
    [
        ([0] * 5, [500] * 5, "from nothing", "regression: more than 10 ms, beyond chance"),
        ([0] * 5, [5] * 5, "from nothing", "no regression, 10 ms would count"),
        ([500] * 5, [0] * 5, "to nothing", "no regression: to nothing, +5.0 % would count"),
        ([0] * 5, [0] * 5, "", "no regression: nothing on either side, 10 ms would count"),
        ([0, 0, 0, 300, 400], [0, 0, 300, 350, 420], "from nothing",
         "undecided: 5 against 5 runs cannot tell, 10 ms would count"),
    ],
)  # fmt: skip
def test_from_and_to_nothing_there_is_no_share(
    base: list[float], candidate: list[float], told: str, said: str
) -> None:
    groups = [[{"llm": [900], "lock": ms} for ms in group] for group in (base, candidate)]
    found = compare(*in_turns(*groups), DECLARED, trusted=False)
    gate = found.gate("waiting")
    assert (change_of(gate.values), span_of(gate.values), verdict(gate)) == (told, "", said)
    document = json.loads(json_report.render(found, strict=False, jaeger_url=JAEGER))
    assert document["metrics"][2]["change"] is None


def test_what_is_slower_and_allowed_is_said_with_its_limit() -> None:
    base, slow = ([{"llm": [900 * factor + n]} for n in range(4)] for factor in (1, 3))
    rules = rules_with([parse_rule("wall>+500%"), parse_rule("llm.mean>+300%")])
    assert re.fullmatch(
        r"Not slower than allowed: wall clock \+19\d\.\d % \(6\.0 times would count\) and mean LLM"
        r" call \+199\.\d % \(4\.0 times would count\)\.",
        answer(compare(*in_turns(base, slow), rules, trusted=False)),
    )


def test_beside_what_is_not_judged_stands_what_would_be() -> None:
    base = [{"lock": 20}] * 4
    rules = rules_with([parse_rule("git.mean>+10%")])
    hint = (
        "Without further rules (--fail-on), wall clock, mean LLM call and waiting would be judged."
    )
    assert answer(compare(*in_turns(base, base), rules, trusted=False)).endswith(hint)
    few = compare(*in_turns(base[:3], base[:3]), rules, trusted=False)
    assert "Without" not in answer(few)


def test_undecided_shows_what_is_clear_alone_as_leads() -> None:
    base = [{"llm": [ms], "git": [30 + n]} for n, ms in enumerate((600, 900, 750, 1000))]
    slow = [{"llm": [ms], "git": [230 + n]} for n, ms in enumerate((1000, 750, 900, 600))]
    found = compare(*in_turns(base, slow), DECLARED, trusted=False)
    assert found.standing == "undecided"
    told = text_of(found)
    assert "Leads: clear of chance taken alone\n  Slower git commands: 1 → 1" in told
    assert "Why" not in told
    again = compare(*in_turns(base, base), DECLARED, trusted=False)
    assert again.standing == "undecided"
    assert not causes_of(again)


def test_two_against_one() -> None:
    base, candidate = in_turns([{}] * 2, [{}] * 2)
    found = compare(base, candidate[:1], DECLARED, trusted=False)
    assert answer(found).startswith("Not judged: 2 against 1 run is too few. For 3 metrics it")
    found = compare(candidate[:1], base, DECLARED, trusted=False)
    assert answer(found).startswith("Not judged: 1 against 2 runs are too few. For 3 metrics it")


def test_paths_are_counted_alike() -> None:
    names = [f"execute_tool t{n}" for n in range(30)]
    base, candidate = in_turns([{"names": names}] * 5, [{"names": names[1:]}] * 5)
    told = " ".join(text_of(compare(base, candidate, DECLARED, trusted=False)).split())
    assert " of the 34 paths that all runs have; about 1 would be where nothing differs)" in told
    assert "… and 20 more, of 35 paths" in told


def test_undecided_says_what_would_have_been_found() -> None:
    noisy = [{"llm": [ms]} for ms in (100, 120, 140, 160, 180)]
    told = text_of(compare(*in_turns(noisy, noisy), DECLARED, trusted=False))
    assert "Undecided. Whether wall clock and mean LLM call got slower" in told
    assert re.search(r"undecided: 5 against 5 runs could have found \+\d", " ".join(told.split()))


def test_advice_is_marked_as_such() -> None:
    base, candidate = ([{"host": host} for _ in range(4)] for host in ("laptop", "ci"))
    told = text_of(compare(*in_turns(base, candidate), DECLARED, trusted=False))
    assert "Advice only: the runs are from 2 machines (ci, laptop). It fails no build." in told


def test_junit_has_a_case_for_each_metric() -> None:
    suite = ElementTree.fromstring(junit.render(demo("git"), strict=False).encode())
    assert suite.tag == "testsuite"
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "2", "errors": "0", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {"wall": ["failure"], "llm.mean": ["skipped"], "waiting": ["failure"]}
    wall = suite.find("testcase[@name='wall']/failure")
    assert wall is not None
    assert "regression: more than +5.0 %, beyond chance" in str(wall.get("message"))
    assert "Slower git commands" in str(wall.text)


@pytest.mark.parametrize(("strict", "outcome"), [(False, "skipped"), (True, "failure")])
def test_what_is_undecided_is_skipped_in_junit_unless_strict(strict: bool, outcome: str) -> None:
    few = compare(*in_turns([{}], [{}]), DECLARED, trusted=False)
    suite = ElementTree.fromstring(junit.render(few, strict=strict).encode())
    assert [child.tag for case in suite for child in case] == [outcome] * 3
    assert suite.get("failures" if strict else "skipped") == "3"


def test_junit_fails_where_the_command_does_and_skips_what_no_run_has() -> None:
    quiet = [{"llm": [], "git": [100 + n], "lock": 50} for n in range(5)]
    found = compare(*in_turns(quiet, quiet), DECLARED, trusted=False)
    assert found.exit_code(strict=True) == 0
    suite = ElementTree.fromstring(junit.render(found, strict=True).encode())
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    skipped = suite.find("testcase[@name='llm.mean']/skipped")
    assert skipped is not None
    assert str(skipped.get("message")).endswith(": no run has any")


def test_names_of_spans_break_neither_markdown_nor_xml() -> None:
    wild = "a|b <img src=x> [c](d) `e` @all \x00\x1b"
    groups = in_turns([{} for _ in range(4)], [{"names": [wild] * 900} for _ in range(4)])
    found = compare(*groups, DECLARED, trusted=False)
    told = markdown.render(found, JAEGER)
    assert r"a\|b \<img src=x\> \[c\](d) \`e\` \@all" in told
    table = [line for line in told.splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert cells <= {4, 6, 7, 9}, "no name adds a column"
    assert ElementTree.fromstring(junit.render(found, strict=False).encode()) is not None
    assert "a|b <img src=x>" in text_of(found, width=200)


def test_json_has_a_version_every_value_and_the_same_bytes_each_time() -> None:
    rendered = json_report.render(demo("git"), strict=True, jaeger_url=JAEGER)
    assert rendered == json_report.render(demo("git"), strict=True, jaeger_url=JAEGER)
    document = json.loads(rendered)
    assert (document["format"], document["standing"], document["exit_code"]) == (1, "regression", 1)
    wall = document["metrics"][0]
    assert (wall["metric"], wall["unit"], len(wall["base"]), len(wall["candidate"])) == (
        "wall", "s", 5, 5,
    )  # fmt: skip
    assert wall["change"]["low"] < wall["change"]["estimate"] < wall["change"]["high"]
    assert wall["change"]["confidence"] == 0.968254
    assert document["causes"][0]["category"] == "git"
    merge = next(p for p in document["paths"] if p["path"][-1] == "git merge")
    assert {"count", "mean", "median", "p95", "total", "wall_share", "waiting_share"} <= set(merge)


def test_links_lead_to_the_pair_and_to_the_worst_examples() -> None:
    document = json.loads(json_report.render(demo("git"), strict=False, jaeger_url=JAEGER))
    pair, *examples = [link["url"] for link in document["links"]]
    traces = {run["trace_id"] for side in ("base", "candidate") for run in document[side]}
    a, b = pair.removeprefix(f"{JAEGER}/trace/").split("...")
    assert {a, b} <= traces
    assert examples
    for url in examples:
        trace, span = re.fullmatch(rf"{JAEGER}/trace/(\w+)\?uiFind=(\w+)", url).groups()  # type: ignore[union-attr]
        assert trace in traces
        assert len(span) == 16
    assert all("git" in link["text"] for link in document["links"][1:])


def test_examples_are_of_what_the_causes_name() -> None:
    base = [{"llm": [100], "git": [20], "compute": 10} for _ in range(5)]
    slow = [{"llm": [100], "git": [25], "compute": 2000} for _ in range(5)]
    found = compare(*in_turns(base, slow), DECLARED, trusted=False)
    _, first, *_ = links(found, JAEGER)
    assert first.text.startswith("the longest superstep / node worker, ")


@pytest.mark.parametrize(
    ("logarithm", "said"),
    [(0.0, "+0.0 %"), (0.0953102, "+10.0 %"), (-0.1053605, f"{MINUS}10.0 %"), (2.0, "7.4 times"),
     (20.0, "from nothing"), (-20.0, "to nothing")],
)  # fmt: skip
def test_changes_as_people_say_them(logarithm: float, said: str) -> None:
    assert change(logarithm) == said

"""The newcomer's page, step by step: its commands run, and what it says one should see is there.

Without Docker and Grafana: the same parts with the shipped files. The demo is hurried, and so is
the alert, by the same factor.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.groups import digests_of, find_group
from otel_orchestrator.stack_check import ALERT_RULE

from .grafana import grafana
from .processes import ROOT, RULES
from .reading import Shown, ids_found, spans_in
from .seeded import BOARDS, targets
from .stack import Binaries, Stack, query, stack, until, values
from .test_alerts import alerts

pytestmark = pytest.mark.timeout(600)  # demo runs, one after the other

PAGE: Final = (ROOT / "docs" / "walkthrough.md").read_text()
SHORTER: Final = 50  # times: the delays of step 5, and the threshold of its alert


def blocks(step: int, language: str) -> list[str]:
    """Return what stands in a step of the page, in a language."""
    (text,) = re.findall(rf"^## {step}\. .*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(step: int) -> str:
    """Return the commands of a step as a script: what follows a prompt."""
    lines = "".join(blocks(step, "console")).splitlines()
    return "\n".join(line[2:] for line in lines if not line.startswith("$ docker"))


def told(check: str) -> list[tuple[str, str]]:
    """Return the mark and the part of each line of `stack check`."""
    return re.findall(r"^([✓!✗]) (\w+)", check, re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Walk:
    """The stack, and where the runs of the page are."""

    up: Stack
    runs: Path

    def type(self, script: str, grafana: str = "none") -> str:
        """Type what the page says, where its addresses are those of the stack."""
        up = self.up
        parts = (
            f"--jaeger {up.jaeger.query_url} --prometheus {up.prometheus.url} --grafana {grafana}"
        )
        script = script.replace("stack check", f"stack check {parts}")
        script = script.replace("http://localhost:4317", up.collector.grpc_endpoint)
        assert "localhost:" not in script
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        done = subprocess.run(
            ["bash", "-ec", script],
            capture_output=True,
            text=True,
            env={
                **clean,
                "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
                # As `export` in step 2 leaves it, for the steps after it.
                "OTEL_EXPORTER_OTLP_ENDPOINT": up.collector.grpc_endpoint,
                "OTEL_ORCHESTRATOR_RUN_DIR": str(self.runs),
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            },
            timeout=400,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def walk(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("walk")
    text = (RULES / "alerts.yml").read_text()
    shipped = "          > 30\n        for: 5m\n"
    assert text.count(shipped) == 1
    hurried = folder / "alerts.yml"
    hurried.write_text(text.replace(shipped, f"          > {30 / SHORTER}\n        for: 0s\n"))
    with stack(binaries, folder, rules=[str(hurried)]) as up:
        yield Walk(up, folder / "runs")


@pytest.fixture(scope="module")
def first(walk: Walk) -> str:
    """What the run of step 2 says."""
    return walk.type(commands(2))


def test_step_1_everything_works(walk: Walk) -> None:
    with grafana([ALERT_RULE]) as url:
        found = walk.type(commands(1), grafana=url)
    (shown,) = blocks(1, "text")
    assert told(found) == told(shown)
    assert len(told(shown)) == 9


def test_step_2_a_run_ends_with_a_report(walk: Walk, first: str) -> None:
    assert "10 of 10 tasks are done and merged" in PAGE
    assert "10 of 10 tasks are done and merged" in first
    assert "Verdict" in first


def test_step_3_a_search_finds_a_trace_with_visible_waiting(walk: Walk, first: str) -> None:
    (address,) = re.findall(r"^http://localhost:16686/search\?(\S+)$", PAGE, re.MULTILINE)
    (trace_id,) = until(lambda: ids_found(walk.up.jaeger, address), bool)
    shown = spans_in(walk.up.jaeger, trace_id)
    assert {s.service for s in shown} == {
        f"demo-orchestrator{suffix}" for suffix in ("", "-working", "-waiting")
    }
    by_id = {s.span.span_id: s for s in shown}
    for name, parent in (("wait barrier", "task worker"), ("wait held", "superstep")):
        waits = [s for s in shown if s.span.name == name]
        assert waits
        assert all(_above(s, by_id).span.name == parent for s in waits)
    # The one that is waited for has no such bar.
    for superstep in (s for s in shown if s.span.name == "superstep"):
        tasks = [s for s in shown if s.span.parent_id == superstep.span.span_id]
        tasks = [s for s in tasks if s.span.name == "task worker"]
        waiting = {
            s.span.parent_id: s.span.attributes[Attr.WAIT_ON]
            for s in shown
            if s.span.name == "wait barrier"
        }
        idle = [t for t in tasks if t.span.span_id in waiting]
        if idle:
            (busy,) = (t for t in tasks if t not in idle)
            task_id = busy.span.attributes[Attr.TASK_ID]
            assert {waiting[t.span.span_id] for t in idle} == {task_id}


def _above(shown: Shown, by_id: dict[str, Shown]) -> Shown:
    assert shown.span.parent_id is not None
    return by_id[shown.span.parent_id]


def test_step_4_a_compared_pair_says_what_is_slower_and_why(walk: Walk) -> None:
    script = commands(4)
    fewer = script.replace("1 2 3 4", "1")  # of one run each, without a word about chance
    assert fewer != script
    said = walk.type(fewer)
    (shown,) = blocks(4, "text")
    (why,) = re.findall(r"^  (Slower LLM calls)", shown, re.MULTILINE)
    assert why in said
    before, after = digests_of(
        [find_group([f"label={label}"], walk.runs) for label in ("before", "after")],
        lambda _: None,
    )
    assert len(before) == len(after) == 1
    arrived = 'count(last_over_time(orchestrator_run_tasks{orchestrator_run_label=~"b.+|a.+"}[1h]))'
    until(lambda: values(walk.up.prometheus, arrived), lambda seen: seen == [2])
    tasks, mean_call = (
        values(walk.up.prometheus, _chosen(t.expr))
        for t in targets()
        if t.question == "By how much does the candidate differ?" and t.ref in ("D", "H")
    )
    assert tasks == [0]
    assert mean_call[0] > 0.3


def _chosen(expr: str) -> str:
    for variable, value in (
        *(("$base", "before"), ("$candidate", "after"), ("$__range", "1h")),
        *(("$service", "demo-orchestrator"), ("$namespace", ".*"), ("$environment", ".*")),
    ):
        expr = expr.replace(variable, value)
    return expr


def test_step_5_an_alert_fires(walk: Walk) -> None:
    script = commands(5)
    hurried = script.replace("demo", f"demo --speed {1 / SHORTER}", 1)
    assert hurried != script
    walk.type(hurried)
    firing = 'ALERTS{alertname="LlmLatencyHigh",alertstate="firing"}'
    seen = until(lambda: query(walk.up.prometheus, firing), bool, within_s=75)
    assert [s["metric"]["service_name"] for s in seen] == ["demo-orchestrator"]
    rule = alerts()["LlmLatencyHigh"]
    assert rule["annotations"]["panel"] == "How slow are LLM calls?"
    assert f"docs/{_linked('What the alert means')}" == rule["annotations"]["runbook"]


def _linked(words: str) -> str:
    (target,) = re.findall(rf"\[{words}\]\(([^)]+)\)", PAGE)
    return str(target)


def test_every_dashboard_and_panel_that_the_page_names_exists() -> None:
    uids = {path.stem for path in BOARDS}
    assert set(re.findall(r"localhost:3000/d/([\w-]+)", PAGE)) <= uids
    questions = {t.question for t in targets()}
    named = {q.replace("\n", " ") for q in re.findall(r"(?<!\*)\*([A-Z][^*]*\?)\*", PAGE)}
    assert len(named) >= 4
    assert named <= questions

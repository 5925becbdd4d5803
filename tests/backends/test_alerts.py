"""Alerts: each fires when it should and not just short of it, leads somewhere, and is Grafana's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from .processes import PROMETHEUS, ROOT, RULES
from .stack import Binaries, finish, query, stack, start_app, until
from .test_metrics_in_prometheus import PROGRAM

pytestmark = pytest.mark.timeout(300)  # waits for scrapes and flushes

GRAFANA: Final = ROOT / "collector" / "grafana"
RUNBOOKS: Final = ROOT / "docs" / "alerts.md"
RESOURCE: Final = ("service_name", "service_namespace", "deployment_environment_name")


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def grafana_alerts() -> dict[str, dict[str, Any]]:
    path = GRAFANA / "provisioning" / "alerting" / "rules.yaml"
    groups = yaml.safe_load(path.read_text())["groups"]
    assert all(group["folder"] == "Orchestrator" for group in groups)
    return {rule["title"]: rule for group in groups for rule in group["rules"]}


def test_rules_are_sound_and_fire_as_they_should(promtool_binary: Path) -> None:
    commands: tuple[list[str | Path], ...] = (
        ["check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml"))],
        ["test", "rules", *sorted((RULES / "tests").glob("*.yml"))],
    )
    for command in commands:
        done = subprocess.run([promtool_binary, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", list(alerts()))
def test_every_alert_is_tested_with_a_case_that_fires_and_a_near_miss(name: str) -> None:
    tests = yaml.safe_load((RULES / "tests" / "alerts.yml").read_text())["tests"]
    expected = [
        bool(check["exp_samples"])
        for test in tests
        for check in test["promql_expr_test"]
        if f'alertname="{name}"' in check["expr"]
    ]
    assert set(expected) == {True, False}


def test_an_alert_about_a_service_says_which_and_of_which_namespace_and_environment() -> None:
    """Where two of them have a service of the same name, one does not speak for the other."""
    tests = yaml.safe_load((RULES / "tests" / "alerts.yml").read_text())["tests"]
    fired = [
        sample["labels"]
        for test in tests
        for check in test["promql_expr_test"]
        for sample in check["exp_samples"]
    ]
    of_the_backend = {
        *("CollectorRefuses", "CollectorDrops", "CollectorQueueFilling", "DeltasDropped"),
        "PartDown",
    }
    told: dict[str, set[bool]] = {}
    for labels in fired:
        (name,) = re.findall(r'alertname="(\w+)"', labels)
        says = (f'{key}="' in labels for key in RESOURCE)
        told.setdefault(name, set()).add(all(says))
    assert told == {name: {name not in of_the_backend} for name in alerts()}


@pytest.mark.parametrize("name", list(alerts()))
def test_every_alert_leads_to_a_runbook_and_a_dashboard(name: str) -> None:
    annotations = alerts()[name]["annotations"]
    assert annotations["runbook"] == f"docs/alerts.md#{name.lower()}"
    text = RUNBOOKS.read_text()
    section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    for word in ("**Means**", "**Check**", "**Fix**"):
        assert word in section[1]
    uid = annotations["dashboard"].removeprefix("/d/")
    board = json.loads((GRAFANA / "dashboards" / f"{uid}.json").read_text())
    panels = {panel["title"]: panel["id"] for panel in board["panels"]}
    twin = grafana_alerts()[name]
    assert (twin["dashboardUid"], twin["panelId"]) == (uid, panels[annotations["panel"]])


def test_no_runbook_without_an_alert() -> None:
    assert re.findall(r"^### (.+)$", RUNBOOKS.read_text(), re.MULTILINE) == list(alerts())


def test_grafana_has_the_same_alerts() -> None:
    """Equal in what they look at, in the threshold, in time, labels and texts."""
    in_grafana = grafana_alerts()
    assert list(in_grafana) == list(alerts())
    for name, rule in alerts().items():
        twin = in_grafana[name]
        query, threshold = twin["data"]
        evaluator = threshold["model"]["conditions"][0]["evaluator"]
        assert (query["datasourceUid"], threshold["datasourceUid"]) == ("prometheus", "__expr__")
        assert threshold["model"]["expression"] == query["refId"] == "A"
        assert twin["condition"] == threshold["refId"]
        assert evaluator["type"] == "gt"
        looks_at, _, above = " ".join(rule["expr"].split()).rpartition(" > ")
        assert (query["model"]["expr"], evaluator["params"]) == (looks_at, [float(above)])
        assert twin["for"] == rule["for"].replace("0m", "0s", 1 if rule["for"] == "0m" else 0)
        assert twin["labels"] == rule["labels"]
        assert set(twin["annotations"]) == set(rule["annotations"])
        for text in twin["annotations"].values():
            assert "$value " not in text, "Grafana's $value is a text about all queries"
    uids = [rule["uid"] for rule in in_grafana.values()]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 40 for uid in uids)


def test_what_is_generated_is_committed() -> None:
    command = [sys.executable, str(GRAFANA / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_prometheus_itself_computes_and_leaves_alerts_to_grafana() -> None:
    """Else each would be told twice."""
    assert yaml.safe_load(PROMETHEUS.read_text())["rule_files"] == ["rules/recording.yml"]
    groups = yaml.safe_load((RULES / "recording.yml").read_text())["groups"]
    assert all(set(rule) == {"record", "expr"} for group in groups for rule in group["rules"])


def test_grafana_tells_somebody() -> None:
    path = GRAFANA / "provisioning" / "alerting" / "notify.yaml"
    notify = yaml.safe_load(path.read_text())
    (contact,) = notify["contactPoints"]
    (policy,) = notify["policies"]
    assert policy["receiver"] == contact["name"]
    assert policy["group_by"] == ["grafana_folder", "alertname", *RESOURCE]
    assert {route["receiver"] for route in policy["routes"]} == {contact["name"]}
    assert contact["receivers"][0]["settings"]["url"] == "${ALERT_WEBHOOK_URL}"
    severities = {rule["labels"]["severity"] for rule in alerts().values()}
    routed = {matcher[2] for route in policy["routes"] for matcher in route["object_matchers"]}
    assert routed < severities == {"warning", "critical"}


def test_slow_llm_calls_fire_in_a_running_prometheus_and_fast_ones_do_not(
    binaries: Binaries, tmp_path: Path
) -> None:
    """The shipped rule, with a threshold and a patience that a test can wait for."""
    text = (RULES / "alerts.yml").read_text()
    shipped = "          > 30\n        for: 5m\n"
    assert text.count(shipped) == 1
    hurried = tmp_path / "alerts.yml"
    hurried.write_text(text.replace(shipped, "          > 0.3\n        for: 0s\n"))
    firing = 'ALERTS{alertname="LlmLatencyHigh",alertstate="firing"}'
    with stack(binaries, tmp_path, rules=[str(hurried)]) as up:
        for service, seconds in (("fast.test", "0.5"), ("slow.test", "6")):
            endpoint = up.collector.grpc_endpoint
            arguments = (service, "10", seconds)
            finish(start_app(PROGRAM, *arguments, endpoint=endpoint, folder=tmp_path / "runs"))
        seen = until(lambda: query(up.prometheus, firing), bool, within_s=75)
        assert [series["metric"]["service_name"] for series in seen] == ["slow.test"]
        recorded = 'service_model:llm_calls:rate5m{service_name="fast.test"} * 300'
        assert query(up.prometheus, f"{recorded} >= 5"), "enough of them to be judged"

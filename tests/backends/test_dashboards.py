"""Dashboards: sound as files, and every query returns data of a real demo run."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import yaml

from .processes import JAEGER_UI, ROOT, RULES
from .seeded import BOARDS, SEEDS, Seeded, targets
from .stack import query, values
from .test_alerts import GRAFANA, alerts

pytestmark = pytest.mark.timeout(600)  # demo runs, and what is scraped of them

NAME: Final = re.compile(
    r"\b((?:traces_span_metrics|orchestrator|gen_ai|otelcol|prometheus)_\w+)\b"
)
OF_NOW: Final = ("bargauge", "table")
RESOURCE: Final = {
    "service": "service_name",
    "namespace": "service_namespace",
    "environment": "deployment_environment_name",
}


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_sound(path: Path) -> None:
    board = _load(path)
    assert board["uid"] == path.stem
    assert len(board["uid"]) <= 40
    assert board["schemaVersion"] == 41
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables[:4] == ["datasource", *RESOURCE]
    assert variables[4:] == (["base", "candidate"] if "compared" in path.stem else [])
    ids = [panel["id"] for panel in board["panels"]]
    assert ids == list(range(1, len(ids) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"].endswith("?"), "a panel answers a question"
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] == "text":
            continue
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == sorted(set(refs))
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["instant"] == (panel["type"] in OF_NOW) == (not target["range"])
            # Instant queries show no exemplars, nor do other panels.
            assert not target["exemplar"] or (
                target["range"] and panel["type"] in ("timeseries", "heatmap")
            )


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_shows_what_its_variables_choose(path: Path) -> None:
    """Of a service, its namespace and its environment; the backend itself has none of them."""
    board = _load(path)
    queries = {v["name"]: v.get("definition") for v in board["templating"]["list"]}
    for name, label in RESOURCE.items():
        assert queries[name] == f"label_values(traces_span_metrics_calls_total, {label})"
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            selected = re.findall(r"\w+\{([^}]*)\}", target["expr"])
            if "collector" in path.stem:
                assert not any("$" in filters for filters in selected)
                continue
            assert selected
            for filters in selected:
                for name, label in RESOURCE.items():
                    assert f'{label}=~"${name}"' in filters, target["expr"]


def test_latency_panels_have_exemplars() -> None:
    shown = {
        panel["title"]
        for path in BOARDS
        for panel in _load(path)["panels"]
        if any(target["exemplar"] for target in panel.get("targets", ()))
    }
    assert shown == {"How slow are LLM calls?", "How are the latencies spread?"}


def test_links_between_the_parts_lead_somewhere() -> None:
    uids = {path.stem for path in BOARDS}
    linked = set(re.findall(r"localhost:3000/d/([\w-]+)", JAEGER_UI.read_text()))
    assert linked == {"orchestrator-overview"} <= uids
    provisioning = GRAFANA / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "datasources.yaml").read_text())
    by_uid = {source["uid"]: source for source in sources["datasources"]}
    assert set(by_uid) == {"prometheus", "jaeger"}
    exemplars = by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars[0]["datasourceUid"] == "jaeger"
    assert exemplars[1]["url"] == "http://localhost:16686/trace/$${__value.raw}"
    to_metrics = by_uid["jaeger"]["jsonData"]["tracesToMetrics"]
    assert to_metrics["datasourceUid"] == "prometheus"
    assert [tag["value"] for tag in to_metrics["tags"]] == list(RESOURCE.values())
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for source in by_uid.values():
        host, port = re.findall(r"http://([\w-]+):(\d+)", source["url"])[0]
        assert f"127.0.0.1:{port}:{port}" in compose["services"][host]["ports"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "dashboards.yaml").read_text())[
        "providers"
    ]
    assert provider["folder"] == "Orchestrator"


def test_no_dollar_is_read_as_a_variable_by_provisioning() -> None:
    """In YAML `${x}` is taken from the environment: only what is meant so may be written so."""
    for path in (GRAFANA / "provisioning").rglob("*.yaml"):
        found = re.findall(r"(?<!\$)\$(?:__\w+)?\{[^}]*\}", path.read_text())
        assert found == (["${ALERT_WEBHOOK_URL}"] if path.name == "notify.yaml" else [])


def test_every_panel_shows_data_of_demo_runs(seeded: Seeded) -> None:
    empty = []
    for target in targets():
        try:
            found = values(seeded.up.prometheus, target.as_written())
        except HTTPError as error:
            pytest.fail(f"{target.name}: {target.expr}: {error.read().decode()}")
        if not any(math.isfinite(value) for value in found):
            empty.append(target.name)
    assert empty == []


def test_every_variable_has_values_of_demo_runs(seeded: Seeded) -> None:
    """As Grafana looks for `label_values(metric, label)`: in the time of the dashboard."""
    asked: dict[str, set[str]] = {}
    for path in BOARDS:
        for variable in _load(path)["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["definition"])[
                    0
                ]
                found = query(
                    seeded.up.prometheus, f"count by ({label}) (last_over_time({metric}[1h]))"
                )
                asked.setdefault(variable["name"], set()).update(s["metric"][label] for s in found)
    labels = {seed.label for seed in SEEDS.values()}
    assert asked == {
        "service": {"demo-orchestrator"},
        "namespace": set(SEEDS),
        "environment": {"test"},
        "base": labels,
        "candidate": labels,
    }


def test_every_series_of_a_program_says_of_which_service_namespace_and_environment(
    seeded: Seeded,
) -> None:
    ours = "traces_span_metrics_.+|orchestrator_.+|gen_ai_.+|service.*:.+"
    series = query(seeded.up.prometheus, f'{{__name__=~"{ours}"}}[1h]')
    assert len({s["metric"]["__name__"] for s in series}) > 30
    nameless = [s["metric"] for s in series if not set(RESOURCE.values()) <= s["metric"].keys()]
    assert nameless == []


def test_a_run_labels_gauges_only(seeded: Seeded) -> None:
    """Its id, and the label that it is compared by: a histogram has as many series as buckets."""
    series = query(seeded.up.prometheus, '{__name__=~"orchestrator_.+|gen_ai_.+|traces_.+"}[1h]')
    marks = {"orchestrator_run_id", "orchestrator_run_label"}
    found = [s["metric"]["__name__"] for s in series if marks & s["metric"].keys()]
    assert set(found) == {
        *("orchestrator_queue_depth", "orchestrator_queue_oldest_age_seconds"),
        *("orchestrator_run_duration_seconds", "orchestrator_run_work_seconds"),
        *("orchestrator_run_wait_seconds", "orchestrator_run_tasks"),
        *("orchestrator_run_llm_calls", "orchestrator_run_tokens"),
    }


def test_every_metric_that_rules_and_panels_name_exists(seeded: Seeded) -> None:
    everything = query(seeded.up.prometheus, '{__name__!=""}[1h]')
    known = {series["metric"]["__name__"] for series in everything}
    labels = {label for series in everything for label in series["metric"]}
    recording = yaml.safe_load((RULES / "recording.yml").read_text())["groups"]
    texts = [rule["expr"] for group in recording for rule in group["rules"]]
    texts += [target.expr for target in targets()]
    texts += [rule["expr"] for rule in alerts().values()]
    named = {name for text in texts for name in NAME.findall(text)} - labels
    # These are there only once something has gone wrong.
    failures = {
        f"otelcol_exporter_{how}_failed_{what}_total"
        for how in ("enqueue", "send")
        for what in ("spans", "metric_points")
    }
    assert named - known <= failures


def test_every_rule_can_be_evaluated_and_no_alert_fires_over_demo_runs_that_went_well(
    seeded: Seeded,
) -> None:
    firing = query(seeded.up.prometheus, 'ALERTS{alertstate="firing"}')
    assert [s["metric"] for s in firing] == []
    with urlopen(f"{seeded.up.prometheus.url}/api/v1/rules", timeout=10) as answer:
        loaded = json.load(answer)["data"]["groups"]
    health = {rule["name"]: rule["health"] for group in loaded for rule in group["rules"]}
    assert {name for name, how in health.items() if how != "ok"} == set()
    assert alerts().keys() <= health.keys()
    groups = values(seeded.up.prometheus, "count(prometheus_rule_group_rules)")
    assert groups == [5]

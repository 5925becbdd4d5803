"""Write Grafana's dashboards, and its alerts from Prometheus's.

Type `python collector/grafana/generate.py` after a change to boards.py or to rules/alerts.yml.
A test holds what is committed against what this writes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from boards import BOARDS
from parts import CALLS as _OF_ALL
from parts import Dashboard, Panel

_HERE: Final = Path(__file__).resolve().parent
ALERTS: Final = _HERE.parent / "rules" / "alerts.yml"
DASHBOARDS: Final = _HERE / "dashboards"
RULES: Final = _HERE / "provisioning" / "alerting" / "rules.yaml"

_ROW_WIDTH: Final = 24
_HEIGHT: Final = 8


_JAEGER: Final = "http://localhost:16686"
_LEGEND: Final = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "exponent": 0.5,
            "reverse": False,
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "legend": {"show": True},
        "showValue": "never",
        "tooltip": {"mode": "single"},
        "yAxis": {},
    },
    "bargauge": {
        "displayMode": "basic",
        "legend": {**_LEGEND, "showLegend": False},
        "maxVizHeight": 40,
        "minVizHeight": 12,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False},
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    },
    "table": {"frameIndex": 0, "showHeader": True},
}
_FORMATS: Final = {"heatmap": "heatmap", "table": "table"}
_NOW: Final = ("bargauge", "table")


def _datasource() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _targets(panel: Panel) -> list[dict[str, Any]]:
    is_now = panel.kind in _NOW
    return [
        {
            "refId": chr(ord("A") + i),
            "datasource": _datasource(),
            "expr": query.expr,
            "legendFormat": query.legend,
            "range": not is_now,
            "instant": is_now,
            "exemplar": query.exemplar,
            "format": _FORMATS.get(panel.kind, "time_series"),
            "editorMode": "code",
        }
        for i, query in enumerate(panel.queries)
    ]


def _fields(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    if panel.kind in ("timeseries", "table", "bargauge"):
        defaults["unit"] = panel.unit
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": {"lineWidth": 1, "fillOpacity": 8}}
    if panel.kind == "bargauge":
        defaults["color"] = {"mode": "palette-classic"}
    if panel.stacked:
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 40,
            "stacking": {"mode": "normal", "group": "A"},
        }
    return {"defaults": defaults, "overrides": []}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.question,
        "gridPos": {"h": _HEIGHT, "w": panel.width, "x": x, "y": y},
        "fieldConfig": _fields(panel),
    }
    if panel.kind == "text":
        return {**drawn, "options": {"mode": "markdown", "content": panel.hint}}
    options = dict(_OPTIONS[panel.kind])
    if panel.kind == "heatmap":
        options["yAxis"] = {"unit": panel.unit}
    return {
        **drawn,
        "description": panel.hint,
        "datasource": _datasource(),
        "targets": _targets(panel),
        "options": options,
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _datasource(),
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
    }


def _choice_of_many(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        **_variable(name, label, query),
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _variables(board: Dashboard) -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "current": {"selected": True, "text": "Prometheus", "value": "prometheus"},
        },
        *(
            _choice_of_many(name, title, f"label_values({_OF_ALL}, {label})")
            for name, title, label in (
                ("service", "Service", "service_name"),
                ("namespace", "Namespace", "service_namespace"),
                ("environment", "Environment", "deployment_environment_name"),
            )
        ),
        *(_variable(v.name, v.title, v.query) for v in board.variables),
    ]


def _link(kind: str, title: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "title": title,
        "icon": "external link",
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": False,
        **more,
    }


def dashboard(board: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana's classic JSON."""
    panels = []
    x = y = 0
    for number, panel in enumerate(board.panels, 1):
        if x + panel.width > _ROW_WIDTH:
            x, y = 0, y + _HEIGHT
        panels.append(_panel(panel, number, x, y))
        x += panel.width
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["orchestrator"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": board.since, "to": "now"},
        "graphTooltip": 1,
        "annotations": {"list": []},
        "links": [
            _link(
                "dashboards",
                "Orchestrator",
                tags=["orchestrator"],
                includeVars=True,
                keepTime=True,
            ),
            _link("link", "Jaeger", url=_JAEGER, targetBlank=True),
        ],
        "templating": {"list": _variables(board)},
        "panels": panels,
    }


def split(expr: str) -> tuple[str, float]:
    """Return what an alert looks at, and the threshold above which it fires."""
    found = re.fullmatch(r"(.+) > ([\d.]+)", " ".join(expr.split()))
    assert found is not None, f"an alert has to be `what > threshold`: {expr}"
    return found[1], float(found[2])


def _in_grafana(text: str) -> str:
    """Return a text of Prometheus's as Grafana's templates have it."""
    return re.sub(
        r"\{\{ \$value \| (\w+) \}\}", r"{{ \1 $values.A.Value }}", " ".join(text.split())
    )


def _alert(rule: Mapping[str, Any]) -> dict[str, Any]:
    looks_at, threshold = split(rule["expr"])
    annotations = {key: _in_grafana(text) for key, text in rule["annotations"].items()}
    uid = annotations["dashboard"].rpartition("/")[2]
    board = next(board for board in BOARDS if board.uid == uid)
    questions = [panel.question for panel in board.panels]
    return {
        "uid": re.sub(r"(?<!^)([A-Z])", r"-\1", rule["alert"]).lower(),
        "title": rule["alert"],
        "condition": "C",
        "for": "0s" if rule["for"] == "0m" else rule["for"],
        # No series: nothing runs, or nothing is above the guard. Prometheus down is an error.
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": dict(rule["labels"]),
        "annotations": annotations,
        "dashboardUid": uid,
        "panelId": questions.index(annotations["panel"]) + 1,
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": {"from": 600, "to": 0},
                "datasourceUid": "prometheus",
                "model": {"refId": "A", "expr": looks_at, "instant": True, "range": False},
            },
            {
                "refId": "C",
                "relativeTimeRange": {"from": 600, "to": 0},
                "datasourceUid": "__expr__",
                "model": {
                    "refId": "C",
                    "type": "threshold",
                    "expression": "A",
                    "conditions": [{"evaluator": {"type": "gt", "params": [threshold]}}],
                },
            },
        ],
    }


def alerting(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return Grafana's alert rules for a rule file of Prometheus's."""
    groups = [
        {
            "orgId": 1,
            "name": group["name"],
            "folder": "Orchestrator",
            "interval": "1m",
            "rules": [_alert(rule) for rule in group["rules"]],
        }
        for group in rules["groups"]
    ]
    return {"apiVersion": 1, "groups": groups}


def files() -> Iterator[tuple[Path, str]]:
    """Yield every file that is made here, with its text."""
    for board in BOARDS:
        text = json.dumps(dashboard(board), indent=2) + "\n"
        yield DASHBOARDS / f"{board.uid}.json", text
    rules = yaml.safe_dump(alerting(yaml.safe_load(ALERTS.read_text())), sort_keys=False, width=100)
    yield (
        RULES,
        f"# Made from collector/rules/alerts.yml by collector/grafana/generate.py.\n{rules}",
    )


def main() -> int:
    """Write them all; with --check, only say which are not as they would be written."""
    stale = [path for path, text in files() if not path.is_file() or path.read_text() != text]
    if sys.argv[1:] == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(_HERE)} is old. Type: python collector/grafana/generate.py")
        return 1 if stale else 0
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(stale)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

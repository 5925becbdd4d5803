"""Grafana cannot be run here, so every field of its files is checked against its published types.

`collector/grafana/schema/schema.json` is distilled from `@grafana/schema` and `@grafana/prometheus`
of npm. A field that it does not know, or one of another type, fails.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError, relevance

from .processes import ROOT

GRAFANA: Final = ROOT / "collector" / "grafana"
SCHEMA: Final = json.loads((GRAFANA / "schema" / "schema.json").read_text())
BOARDS: Final = sorted((GRAFANA / "dashboards").glob("*.json"))
PROVISIONING: Final = {
    "AlertRules": "alerting/rules.yaml",
    "Notifications": "alerting/notify.yaml",
    "Providers": "dashboards/dashboards.yaml",
    "DataSources": "datasources/datasources.yaml",
}
FILES: Final = [
    *(("Dashboard", path) for path in BOARDS),
    *((root, GRAFANA / "provisioning" / name) for root, name in PROVISIONING.items()),
]
# Maps whose keys are the user's own.
FREE: Final = ("labels", "annotations")


def validator(root: str) -> Draft7Validator:
    return Draft7Validator({**SCHEMA["roots"][root], "$defs": SCHEMA["$defs"]})


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())  # JSON is YAML


def told(error: ValidationError) -> str:
    closest = min(error.context or [error], key=relevance)
    where = "/".join(map(str, closest.absolute_path))
    return f"{where}: {closest.message[:200]}"


@pytest.mark.parametrize(("root", "path"), FILES, ids=lambda v: getattr(v, "name", v))
def test_grafana_knows_every_field_and_its_type(root: str, path: Path) -> None:
    assert [told(error) for error in validator(root).iter_errors(load(path))] == []


def places(whole: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value of a document is."""
    yield at
    if isinstance(whole, dict | list):
        for key in whole if isinstance(whole, dict) else range(len(whole)):
            yield from places(whole[key], (*at, key))


def value_at(whole: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        whole = whole[key]
    return whole


def without_repetition(root: str, path: Path) -> Any:
    """Return a document with one of each kind of thing, which is enough and much faster."""
    document = load(path)
    if root == "AlertRules":
        document["groups"] = document["groups"][:1]
        document["groups"][0]["rules"] = document["groups"][0]["rules"][:1]
    if root == "Dashboard":
        kinds = {panel["type"]: panel for panel in document["panels"]}
        document["panels"] = list(kinds.values())
        for panel in document["panels"]:
            if "targets" in panel:
                panel["targets"] = panel["targets"][:1]
    return document


VARIED: Final = [
    (root, path)
    for root, path in FILES
    if root != "Dashboard" or path.stem in ("orchestrator-llm", "orchestrator-compared")
]


@pytest.mark.parametrize(("root", "path"), VARIED, ids=lambda v: getattr(v, "name", v))
def test_a_field_that_grafana_does_not_know_is_found_wherever_it_stands(
    root: str, path: Path
) -> None:
    document, valid = without_repetition(root, path), validator(root).is_valid
    assert valid(document)
    for at in places(document):
        if isinstance(value_at(document, at), dict) and not (at and at[-1] in FREE):
            changed = copy.deepcopy(document)
            value_at(changed, at)["nonsense"] = 1
            assert not valid(changed), at


@pytest.mark.parametrize(("root", "path"), VARIED, ids=lambda v: getattr(v, "name", v))
def test_a_value_of_another_type_is_found_wherever_it_stands(root: str, path: Path) -> None:
    document, valid = without_repetition(root, path), validator(root).is_valid
    for at in places(document):
        if at and not isinstance(value_at(document, at), dict | list):
            changed = copy.deepcopy(document)
            value_at(changed, at[:-1])[at[-1]] = {"of": "another type"}
            assert not valid(changed), at


def test_the_types_are_those_of_the_grafana_that_compose_starts() -> None:
    """Of the same major and minor version: fields come and go with those."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    image = compose["services"]["grafana"]["image"]
    (version,) = re.findall(r"grafana/grafana:(\d+\.\d+)", image)
    assert SCHEMA["grafana"].startswith(f"{version}.")

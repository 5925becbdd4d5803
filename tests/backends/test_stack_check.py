"""`stack check`: what works is said to work, what does not is named, with what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from otel_orchestrator.stack_check import ALERT_RULE, RECORDED_RULE, SPLITTING

from .grafana import grafana
from .processes import JAEGER_MEMORY, OTEL_COLLECTOR, RULES, free_ports, jaeger
from .stack import Binaries, Stack, stack

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def up(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(binaries, tmp_path_factory.mktemp("stack")) as running:
        yield running


def check(*arguments: str, cwd: Path | None = None, **environment: str) -> tuple[int, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "ALERT_"))}
    done = subprocess.run(
        [sys.executable, "-m", "otel_orchestrator.cli", "stack", "check", *arguments],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        cwd=cwd,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def addresses(up: Stack, **other: str) -> list[str]:
    where: Mapping[str, str] = {
        "endpoint": up.collector.grpc_endpoint,
        "jaeger": up.jaeger.query_url,
        "prometheus": up.prometheus.url,
        "grafana": "none",
        **other,
    }
    return [word for name, url in where.items() for word in (f"--{name}", url)]


def test_all_is_well_with_the_shipped_files(up: Stack) -> None:
    for _ in range(2):  # the second time the count is there already, and has to go up
        code, said = check(*addresses(up), "--format", "json")
        checks = json.loads(said)["checks"]
        assert code == 0, said
        assert {(c["part"], c["standing"]) for c in checks} == {
            ("OTLP", "ok"),
            ("Jaeger", "ok"),
            ("colours", "ok"),
            ("Prometheus", "ok"),
            ("rules", "ok"),
            ("metrics", "ok"),
            ("alerts", "warning"),  # the shipped Prometheus leaves them to Grafana
        }


@pytest.mark.parametrize(
    ("rules", "webhook", "told"),
    [
        ([ALERT_RULE], "https://example.com", [("ok", "the alert rules are loaded")]),
        ([], "https://example.com", [("failed", f"not loaded: there is no {ALERT_RULE}")]),
        (
            [ALERT_RULE],
            "",
            [("ok", "the alert rules are loaded"), ("warning", "ALERT_WEBHOOK_URL is not set")],
        ),
    ],
)
def test_alerts_are_loaded_and_reach_somebody(
    up: Stack, tmp_path: Path, rules: list[str], webhook: str, told: list[tuple[str, str]]
) -> None:
    (tmp_path / ".env").write_text(f"ALERT_WEBHOOK_URL={webhook}\n")
    with grafana(rules) as url:
        where = addresses(up, jaeger="none", prometheus="none", grafana=url)
        code, said = check(*where, "--format", "json", cwd=tmp_path)
    alerts = [
        (c["standing"], c["told"]) for c in json.loads(said)["checks"] if c["part"] == "alerts"
    ]
    assert [standing for standing, _ in alerts] == [standing for standing, _ in told]
    for (_, seen), (_, expected) in zip(alerts, told, strict=True):
        assert expected in seen
    assert code == any(standing == "failed" for standing, _ in told)


def test_prometheus_may_have_the_alerts(binaries: Binaries, tmp_path: Path) -> None:
    with stack(binaries, tmp_path, rules=[str(RULES / "alerts.yml")]) as up:
        code, said = check(*addresses(up, jaeger="none"))
    assert code == 0, said
    assert "✓ alerts     Prometheus has the alert rules" in said


def test_the_processors_that_it_names_are_the_shipped_ones() -> None:
    shipped = yaml.safe_load(OTEL_COLLECTOR.read_text())["service"]["pipelines"]
    assert list(SPLITTING) in [pipeline.get("processors") for pipeline in shipped.values()]


def test_text_names_the_part_and_the_fix(up: Stack) -> None:
    (nobody,) = free_ports(1)
    code, said = check(*addresses(up, jaeger=f"http://127.0.0.1:{nobody}", prometheus="none"))
    assert code == 1
    assert f"✗ Jaeger     http://127.0.0.1:{nobody} does not answer: Connection refused" in said
    assert "Start it (docker compose up -d jaeger)" in said


@pytest.mark.parametrize(
    ("wrong", "told", "fix"),
    [
        ({"endpoint": "http://127.0.0.1:9"}, "does not answer: Connection refused", "Start the Co"),
        ({"protocol": "http/protobuf"}, "answers, but takes no span over http/protobuf", "4318"),
        ({"prometheus": "http://127.0.0.1:9"}, "http://127.0.0.1:9 does not answer", "Start it"),
        ({"grafana": "http://127.0.0.1:9"}, "Grafana    http://127.0.0.1:9 does not", "Start it"),
    ],
)
def test_what_is_wrong_is_found(up: Stack, wrong: dict[str, str], told: str, fix: str) -> None:
    others = {"prometheus": "none", "jaeger": "none"}
    code, said = check(*addresses(up, **{**others, **wrong}), OTEL_EXPORTER_OTLP_TIMEOUT="2")
    assert code == 1
    assert told in said
    assert fix in said


def test_straight_to_jaeger_there_is_one_colour(binaries: Binaries, tmp_path: Path) -> None:
    with jaeger(binaries.jaeger, tmp_path, storage=JAEGER_MEMORY) as alone:
        endpoint = f"http://{alone.otlp_endpoint}"
        code, said = check(
            *("--endpoint", endpoint, "--jaeger", alone.query_url),
            *("--prometheus", "none", "--grafana", "none"),
        )
    assert code == 0, "it works"
    assert "! colours    work and waiting have one colour in Jaeger" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--jaeger", "localhost:16686"],
            "--jaeger localhost:16686 is no URL. Type: --jaeger http",
        ),
        (["--endpoint", "localhost:4317"], "is no URL. Type:"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_in_a_line(arguments: list[str], said: str) -> None:
    code, errors = check(*arguments)
    assert code == 2
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_the_rules_it_looks_for_are_the_shipped_ones() -> None:
    assert f"record: {RECORDED_RULE}\n" in (RULES / "recording.yml").read_text()
    assert f"alert: {ALERT_RULE}\n" in (RULES / "alerts.yml").read_text()

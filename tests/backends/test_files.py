"""The shipped files: the real binaries accept them, and they agree with each other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from otel_orchestrator.semconv import Attr

from .processes import (
    FILES,
    JAEGER,
    JAEGER_BADGER,
    JAEGER_MEMORY,
    JAEGER_UI,
    OTEL_COLLECTOR,
    PROMETHEUS,
    ROOT,
    Jaeger,
)
from .scaled import AGENT, INGESTER
from .scaled import CASSANDRA as JAEGER_CASSANDRA

# What Jaeger's UI 2.20.0 knows, in packages/jaeger-ui/src: types/config.ts, model/link-patterns.ts,
# utils/time-range-options.ts, utils/link-formatting.ts. It ignores what it does not know.
UI_KEYS: Final = {
    "topTagPrefixes": None,
    "useOpenTelemetryTerms": None,
    "search": {"defaultLookback", "maxLookback", "maxLimit", "adjustEndTime"},
    "traceTimeline": {"enableSidePanel", "defaultDetailPanelMode", "spanPillsEnabled"},
    "linkPatterns": None,
    "monitor": {"menuEnabled", "emptyState", "docsLink"},
}
UI_LOOKBACKS: Final = "5m 15m 30m 1h 2h 3h 6h 12h 24h 2d 3d 5d 7d 2w 3w 4w".split()
UI_FORMATTERS: Final = {"epoch_micros_to_date_iso", "pad_start", "add"}
UI_TRACE_KEYS: Final = {"traceID", "traceName", "duration", "startTime", "endTime"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@pytest.fixture(scope="module")
def ui() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(JAEGER_UI.read_text())
    return loaded


@pytest.mark.parametrize("split_services", ["", "state", "category", "none"])
def test_the_collector_accepts_its_file(
    otelcol_binary: Path, tmp_path: Path, split_services: str
) -> None:
    chosen = {"OTELCOL_SPLIT_SERVICES": split_services} if split_services else {}
    validates(otelcol_binary, OTEL_COLLECTOR, OTELCOL_STORAGE=str(tmp_path), **chosen)


# Every way of putting the files together that their first lines and the docs show.
GATEWAYS: Final = "otel-collector otel-collector.gateway"
SERVER: Final = "otel-collector.tls otel-collector.mtls otel-collector.token"
VARIANTS: Final = (
    "otel-collector otel-collector.tail-sampling",
    "otel-collector otel-collector.kafka",
    f"otel-collector {SERVER}",
    f"{GATEWAYS}",
    f"{GATEWAYS} otel-collector.kafka {SERVER}",
    f"{GATEWAYS} otel-collector.tail-sampling otel-collector.kafka",
    "otel-collector.agent",
    "otel-collector.agent otel-collector.agent-dns",
    "otel-collector.agent otel-collector.agent-tls otel-collector.agent-mtls"
    " otel-collector.agent-token",
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_collector_accepts_what_is_laid_over_its_file(
    otelcol_binary: Path, tmp_path: Path, variant: str
) -> None:
    files = [FILES / f"{name}.yaml" for name in variant.split()]
    validates(otelcol_binary, *files, OTELCOL_STORAGE=str(tmp_path), OTELCOL_INSTANCE="one")


def test_a_gateway_without_a_name_does_not_start(otelcol_binary: Path, tmp_path: Path) -> None:
    """Two gateways of the same name, or none, would overwrite each other's span metrics."""
    files = [FILES / f"{name}.yaml" for name in GATEWAYS.split()]
    done = subprocess.run(
        [otelcol_binary, "validate", *(f"--config={path}" for path in files)],
        env={**os.environ, "OTELCOL_STORAGE": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "service.instance.id" in done.stderr


def test_every_overlay_is_in_a_variant() -> None:
    there = {path.stem for path in FILES.glob("otel-collector*.yaml")}
    assert there == {name for variant in VARIANTS for name in variant.split()}


@pytest.mark.parametrize(
    "storage", [JAEGER_BADGER, JAEGER_MEMORY, JAEGER_CASSANDRA], ids=lambda path: path.stem
)
def test_jaeger_accepts_its_files(jaeger_binary: Path, storage: Path) -> None:
    validates(jaeger_binary, JAEGER, storage, JAEGER_UI_CONFIG=str(JAEGER_UI))


def test_the_ingester_accepts_its_files(jaeger_binary: Path) -> None:
    validates(jaeger_binary, JAEGER, JAEGER_CASSANDRA, INGESTER)


def test_a_collector_that_is_to_speak_tls_does_not_start_without_its_certificate(
    otelcol_binary: Path, tmp_path: Path
) -> None:
    files = (OTEL_COLLECTOR, FILES / "otel-collector.tls.yaml")
    done = subprocess.run(
        [otelcol_binary, *(f"--config={path}" for path in files)],
        env={**os.environ, "OTELCOL_TLS": str(tmp_path), "OTELCOL_STORAGE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "server.crt" in done.stderr


def validates(binary: Path, *configs: Path, **environment: str) -> None:
    """Let a program check its files; fail if it refuses them, or knows a name as an old one."""
    done = subprocess.run(
        [str(binary), "validate", *(f"--config={config}" for config in configs)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deprecated" not in done.stdout + done.stderr


@pytest.mark.parametrize("path", [OTEL_COLLECTOR, AGENT, JAEGER], ids=lambda path: path.name)
def test_pipelines_refer_to_what_is_defined_and_use_all_of_it(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    pipelines = config["service"]["pipelines"].values()
    connectors = set(config.get("connectors", ()))
    ends = {
        "receivers": set(config["receivers"]) | connectors,
        "processors": set(config.get("processors", ())),
        "exporters": set(config["exporters"]) | connectors,
    }
    for kind, defined in ends.items():
        assert {name for pipeline in pipelines for name in pipeline.get(kind, ())} == defined
    assert set(config["service"]["extensions"]) == set(config["extensions"])


@pytest.mark.parametrize(
    "path", sorted(FILES.glob("otel-collector*.yaml")), ids=lambda path: path.name
)
def test_the_collector_of_the_tests_has_every_component_of_the_file(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    manifest = (ROOT / "collector" / "build" / "otelcol" / "manifest.yaml").read_text()
    built = set(
        re.findall(r"/(\w+?)(?:receiver|processor|exporter|connector|extension|) v", manifest)
    )
    modules = {
        "otlp_grpc": "otlp",
        "otlp_http": "otlphttp",
        "span_metrics": "spanmetrics",
        "delta_to_cumulative": "deltatocumulative",
        "file_storage": "filestorage",
        "memory_limiter": "memorylimiter",
        "health_check": "healthcheck",
        "load_balancing": "loadbalancing",
        "tail_sampling": "tailsampling",
    }
    kinds = ("receivers", "processors", "exporters", "connectors", "extensions")
    used = {name.partition("/")[0] for kind in kinds for name in config.get(kind, ())}
    assert {modules.get(name, name) for name in used} <= built


def test_limits_come_first_at_an_agent_and_both_its_ways_lead_to_the_same_gateways() -> None:
    config = yaml.safe_load(AGENT.read_text())
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"] == ["memory_limiter"]
    keys = {}
    for name, exporter in config["exporters"].items():
        keys[name] = exporter["routing_key"]
        assert exporter["resolver"]["static"]["hostnames"].startswith("${env:OTELCOL_GATEWAYS:-")
        # Only as a whole is it tried for ever without being sent twice.
        assert exporter["protocol"]["otlp"]["sending_queue"] == {"enabled": False}
        assert exporter["protocol"]["otlp"]["retry_on_failure"]["max_elapsed_time"] == 0
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
        assert exporter["sending_queue"]["storage"] == "file_storage/queues"
    assert keys == {"load_balancing/traces": "traceID", "load_balancing/metrics": "service"}


def test_limits_come_first_and_only_the_branch_to_jaeger_moves_spans() -> None:
    config = yaml.safe_load(OTEL_COLLECTOR.read_text())
    pipelines = config["service"]["pipelines"]
    from_outside = [p for p in pipelines.values() if "otlp" in p["receivers"]]
    assert from_outside
    for pipeline in from_outside:
        assert pipeline["processors"][:2] == ["memory_limiter", "redaction"]
    moving = {"transform/split", "groupbyattrs/split", "transform/shown"}
    movers = [n for n, p in pipelines.items() if moving & set(p.get("processors", ()))]
    assert movers == ["traces/jaeger"]
    assert pipelines["traces/jaeger"]["exporters"] == ["otlp_grpc/jaeger"]


def test_the_collector_knows_attributes_by_the_names_that_spans_carry() -> None:
    text = "".join(line for line in OTEL_COLLECTOR.read_text().splitlines(True) if "#" not in line)
    text = text[: text.index("exporters:")]
    named = set(
        re.findall(r"\b(?:orchestrator|service|gen_ai|error|deployment)\.[a-z_.]*[a-z]", text)
    )
    known = {value for key, value in vars(Attr).items() if not key.startswith("_")}
    of_the_user = {"service.namespace", "deployment.environment.name"}
    assert named - known == {"orchestrator.shown", *of_the_user}
    config = yaml.safe_load(OTEL_COLLECTOR.read_text())
    dimensions = {d["name"] for d in config["connectors"]["span_metrics"]["dimensions"]}
    assert dimensions - of_the_user <= {
        *(Attr.STATE, Attr.CATEGORY, Attr.OUTCOME),
        *(Attr.OPERATION, Attr.REQUEST_MODEL, Attr.ERROR_TYPE),
    }, "low in cardinality only: no ids, no names that a prompt may choose"


def test_the_ui_config_says_only_what_the_ui_knows(ui: dict[str, Any]) -> None:
    for key, value in ui.items():
        known = UI_KEYS[key]
        assert known is None or set(value) <= known
    # The UI merges `search` and `monitor` with its defaults, but takes this one as it stands.
    assert set(ui["traceTimeline"]) == UI_KEYS["traceTimeline"]
    lookbacks = [ui["search"]["defaultLookback"], ui["search"]["maxLookback"]["value"]]
    assert [UI_LOOKBACKS.index(value) for value in lookbacks] == sorted(
        UI_LOOKBACKS.index(value) for value in lookbacks
    )
    assert ui["topTagPrefixes"][0] == "orchestrator."


def test_links_in_the_ui_can_be_made(ui: dict[str, Any]) -> None:
    ours = {value for key, value in vars(Attr).items() if not key.startswith("_")}
    for pattern in ui["linkPatterns"]:
        parameters = list(_parameters(pattern["url"] + pattern["text"]))
        if pattern["type"] == "traces":
            assert {name for name, _ in parameters} <= UI_TRACE_KEYS
            assert {f.split()[0] for _, formats in parameters for f in formats} <= UI_FORMATTERS
        else:
            assert pattern["type"] == "tags"
            assert pattern["key"] in ours
            known = {f"trace.{key}" for key in UI_TRACE_KEYS} | {pattern["key"]}
            assert {name for name, _ in parameters} <= known
            assert not any(formats for _, formats in parameters), "the UI formats in traces only"


def _parameters(template: str) -> Iterator[tuple[str, list[str]]]:
    for parameter in re.findall(r"#\{([^{}]*)\}", template):
        name, *formats = (part.strip() for part in parameter.split("|"))
        yield name, formats


@pytest.mark.parametrize("path", ["", "search", "trace/0123456789abcdef0123456789abcdef"])
def test_jaeger_serves_the_ui_config_in_every_page(
    jaeger: Jaeger, ui: dict[str, Any], path: str
) -> None:
    with urllib.request.urlopen(f"{jaeger.query_url}/{path}", timeout=5) as answer:
        page = answer.read().decode()
    (served,) = re.findall(r"JAEGER_CONFIG = (\{.*\});", page)
    assert json.loads(served) == ui


def test_prometheus_accepts_its_files(promtool_binary: Path) -> None:
    done = subprocess.run(
        [promtool_binary, "check", "config", "--lint=all", "--lint-fatal", PROMETHEUS],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_jaeger_reads_span_metrics_by_the_names_that_the_collector_gives_them() -> None:
    connector = yaml.safe_load(OTEL_COLLECTOR.read_text())["connectors"]["span_metrics"]
    backends = yaml.safe_load(JAEGER.read_text())["extensions"]["jaeger_storage"]["metric_backends"]
    store = backends["prometheus"]["prometheus"]
    assert connector["namespace"].replace(".", "_") == store["metric_namespace"]
    assert connector["histogram"]["unit"] == store["latency_unit"]
    assert set(connector["histogram"]) == {"unit", "explicit"}, "the Monitor tab knows no others"
    assert connector["histogram"]["explicit"]["buckets"][-1] == "600s"
    assert connector["exemplars"]["enabled"] is True

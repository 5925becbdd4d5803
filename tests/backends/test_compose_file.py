"""docker-compose.yml: the rules that every service keeps, alone and as the scale profile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from .compose import compose_as, configs_of, mounts, owners_in
from .processes import JAEGER, JAEGER_BADGER, OTEL_COLLECTOR, PROMETHEUS, PROMETHEUS_FLAGS, ROOT

# Whose files are the ones that are given to the program by name.
READERS: Final = {"otel/opentelemetry-collector-contrib", "jaegertracing/jaeger", "prom/prometheus"}
NO_SHELL: Final = "otel/opentelemetry-collector-contrib"


@pytest.fixture(params=["single", "scale"])
def compose(request: pytest.FixtureRequest) -> dict[str, Any]:
    return compose_as(request.param)


@pytest.fixture
def single() -> dict[str, Any]:
    return compose_as("single")


@pytest.fixture
def scale() -> dict[str, Any]:
    return compose_as("scale")


def _kind(service: dict[str, Any]) -> str:
    return str(service["image"].rpartition(":")[0])


def test_a_profile_adds_services_and_moves_none(
    single: dict[str, Any], scale: dict[str, Any]
) -> None:
    more = set(scale["services"]) - set(single["services"])
    assert more == set("prepare-scale gateway-1 gateway-2 kafka cassandra jaeger-ingester".split())
    published = [
        {n: s["ports"] for n, s in c["services"].items() if "ports" in s} for c in (single, scale)
    ]
    assert published[0] == published[1]


def test_images_are_pinned_and_of_one_version_each(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()}
    for image in images:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", image)
    assert len({image.rpartition(":")[0] for image in images}) == len(images)


def test_every_port_is_published_on_loopback_only_and_none_twice(compose: dict[str, Any]) -> None:
    published = [p for service in compose["services"].values() for p in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


USERS: Final = {
    "otel/opentelemetry-collector-contrib": "10001",
    "jaegertracing/jaeger": "10001",
    "prom/prometheus": "65534",
    "grafana/grafana": "472",
    "apache/kafka": "1000",
    "cassandra": "999",
}


def test_volumes_are_given_to_the_user_that_writes_to_them(compose: dict[str, Any]) -> None:
    services = dict(compose["services"])
    owners: dict[str, str] = {}
    for name in ("prepare", "prepare-scale"):
        if name in services:
            owners |= owners_in(services.pop(name))
    for name, service in services.items():
        for volume in mounts(service)[1].values():
            assert owners[volume] == USERS[_kind(service)], name
            after = next(iter(service["depends_on"]))
            assert service["depends_on"][after] == {"condition": "service_completed_successfully"}
        if "user" in service:
            assert service["user"].split(":")[0] == USERS[_kind(service)]


def test_every_volume_is_declared_and_used_by_one_service_alone(scale: dict[str, Any]) -> None:
    once = ("prepare", "prepare-scale")
    mounted = [
        volume
        for name, service in scale["services"].items()
        for volume in mounts(service)[1].values()
        if name not in once
    ]
    assert sorted([*mounted, "secret"]) == sorted(scale["volumes"])


def test_volumes_are_mounted_where_the_programs_write(scale: dict[str, Any]) -> None:
    services = scale["services"]
    volumes = {name: set(mounts(service)[1]) for name, service in services.items()}
    for name in ("otel-collector", "gateway-1", "gateway-2"):
        assert volumes[name] == {"/var/lib/otelcol"}
    for base in ("otel-collector.yaml", "otel-collector.agent.yaml"):
        text = (ROOT / "collector" / base).read_text()
        assert set(re.findall(r"OTELCOL_STORAGE:-([^}]+)\}", text)) == {"/var/lib/otelcol"}
    assert volumes["jaeger"] == {"/var/lib/jaeger"}
    assert "JAEGER_STORAGE_FOLDER:-/var/lib/jaeger}" in JAEGER_BADGER.read_text()
    (path,) = volumes["prometheus"]
    assert f"--storage.tsdb.path={path}" in services["prometheus"]["command"]
    (path,) = volumes["kafka"]
    assert f"\nlog.dirs={path}\n" in (ROOT / "collector" / "kafka.properties").read_text()
    (path,) = volumes["cassandra"]
    settings = yaml.safe_load((ROOT / "collector" / "cassandra.yaml").read_text())
    folders = [value for key, value in settings.items() if key.endswith("_directory")]
    assert len(folders) == 3
    assert all(f.startswith(f"{path}/") for f in (*folders, *settings["data_file_directories"]))


def test_programs_find_their_files_where_these_are_mounted(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if _kind(service) not in READERS:
            continue
        files = mounts(service)[0]
        options = [option.partition("=") for option in service["command"]]
        read = {path for option, _, path in options if option.startswith("--config")}
        assert read <= set(files), name
        # Under the very names of the files here, so that each can be found by the other.
        for target, source in files.items():
            assert Path(target).name in (Path(source).name, "scrape.yml")


def test_whatever_a_variable_may_choose_is_mounted() -> None:
    for storage in ("badger", "memory", "cassandra"):
        service = compose_as("single", JAEGER_STORAGE=storage)["services"]["jaeger"]
        assert service["command"][-1].partition("=")[2] in mounts(service)[0]
    (ui_config,) = re.findall(r"JAEGER_UI_CONFIG:-([^}]+)\}", JAEGER.read_text())
    assert ui_config in mounts(service)[0]
    sampling = "otel-collector.tail-sampling.yaml"
    for variable, name in (
        ("OTELCOL_OVERLAY", "otel-collector"),
        ("GATEWAY_OVERLAY", "gateway-1"),
        ("GATEWAY_OVERLAY", "gateway-2"),
    ):
        service = compose_as("scale", **{variable: sampling})["services"][name]
        if name != "otel-collector":
            assert f"--config=/etc/otelcol/{sampling}" in service["command"]
        assert f"/etc/otelcol/{sampling}" in mounts(service)[0]
    prometheus = compose_as("scale")["services"]["prometheus"]
    files = mounts(prometheus)[0]
    assert files["/etc/prometheus/scrape.yml"] == "./collector/scrape.scale.yml"
    said = yaml.safe_load(PROMETHEUS.read_text())
    assert said["scrape_config_files"] == ["scrape.yml"]
    rules = {str((Path("/etc/prometheus") / rule).parent) for rule in said["rule_files"]}
    assert rules <= set(files)


def test_gateways_differ_by_name_and_volume_only(scale: dict[str, Any]) -> None:
    one, two = (dict(scale["services"][name]) for name in ("gateway-1", "gateway-2"))
    assert str(one).replace("gateway-1", "gateway-2") == str(two)
    # Kafka comes last: a file before it may say who gets the traces.
    assert one["command"][-1].endswith("/otel-collector.kafka.yaml")


def test_variables_that_are_passed_on_are_read(compose: dict[str, Any]) -> None:
    raw = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in compose["services"].items():
        if _kind(service) not in READERS:
            continue
        for variable, value in raw[name].get("environment", {}).items():
            if variable == "GOMEMLIMIT":  # of the Go runtime: below what the kernel kills at
                limit = {"512m": 512, "1g": 1024}[service["mem_limit"]]
                assert int(value.removesuffix("MiB")) <= 0.8 * limit
                continue
            configs = "".join(
                (ROOT / source).read_text()
                for source in mounts(service)[0].values()
                if source.endswith((".yaml", ".yml"))
            )
            if variable == "OTELCOL_INSTANCE":
                assert value == name
                assert "${env:OTELCOL_INSTANCE}" in configs
                continue
            read = set(re.findall(rf"\$\{{env:{variable}:-([^}}]+)\}}", configs))
            # The same name outside, and the same default as the file's own.
            default = re.fullmatch(rf"\$\{{{variable}:-(\w+)\}}", value)
            assert default is not None
            assert read == {default[1]}


def test_services_are_hardened(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"]
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
        assert "privileged" not in service
        if name.startswith("prepare"):
            once = (service["restart"], service["network_mode"], service["cap_add"])
            assert once == ("no", "none", ["CHOWN"])
        else:
            assert service["restart"] == "unless-stopped"
            assert "cap_add" not in service
            assert "network_mode" not in service


def test_long_running_services_are_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name.startswith("prepare") or _kind(service) == NO_SHELL:
            continue
        said = service["healthcheck"]["test"][-1]
        assert said.startswith(("http://localhost:", "</dev/tcp/localhost/"))


def test_a_java_program_has_a_heap_below_its_limit(scale: dict[str, Any]) -> None:
    kafka, cassandra = (scale["services"][name] for name in ("kafka", "cassandra"))
    assert "-Xmx512m" in kafka["environment"]["KAFKA_HEAP_OPTS"]
    assert kafka["mem_limit"] == "1g"
    assert cassandra["environment"]["MAX_HEAP_SIZE"] == "1G"
    assert cassandra["mem_limit"] == "2g"


def test_kafka_and_cassandra_are_the_versions_that_the_trial_runs(scale: dict[str, Any]) -> None:
    for name in ("kafka", "cassandra"):
        pom = (ROOT / "collector" / "build" / name / "pom.xml").read_text()
        version = scale["services"][name]["image"].rpartition(":")[2]
        assert pom.count(f"<version>{version}</version>") == 2


def test_published_ports_are_those_that_the_configs_listen_on(compose: dict[str, Any]) -> None:
    for name in ("otel-collector", "jaeger"):
        service = compose["services"][name]
        listening = set(re.findall(r":-0\.0\.0\.0:(\d+)\}", configs_of(service)))
        assert {port.split(":")[2] for port in service["ports"]} <= listening


def test_the_parts_find_each_other(compose: dict[str, Any]) -> None:
    services = set(compose["services"])
    jaeger = JAEGER.read_text()
    named = "OTELCOL_GATEWAYS|KAFKA_BROKERS|CASSANDRA_SERVERS"
    for service in compose["services"].values():
        for hosts in re.findall(rf"(?:{named}):-\[([^\]]+)\]", configs_of(service)):
            assert {host.partition(":")[0] for host in hosts.split(", ")} <= services
    collector = OTEL_COLLECTOR.read_text()
    host, port = re.findall(r"JAEGER_OTLP_ENDPOINT:-([\w-]+):(\d+)", collector)[0]
    assert host in services
    assert f"JAEGER_GRPC_ENDPOINT:-0.0.0.0:{port}" in jaeger
    urls = re.findall(r"PROMETHEUS_OTLP_ENDPOINT:-http://([\w-]+:\d+)/api/v1/otlp", collector)
    urls += re.findall(r"PROMETHEUS_URL:-http://([\w-]+:\d+)", jaeger)
    assert urls == ["prometheus:9090"] * 2


def test_kafka_and_cassandra_listen_where_they_are_looked_for(scale: dict[str, Any]) -> None:
    kafka = (ROOT / "collector" / "kafka.properties").read_text()
    assert "\nadvertised.listeners=PLAINTEXT://kafka:9092,CONTROLLER://kafka:9093\n" in kafka
    assert scale["services"]["kafka"]["healthcheck"]["test"][-1].endswith("/9092")
    cassandra = yaml.safe_load((ROOT / "collector" / "cassandra.yaml").read_text())
    assert cassandra["broadcast_rpc_address"] == cassandra["listen_address"] == "cassandra"
    assert scale["services"]["cassandra"]["healthcheck"]["test"][-1].endswith("/9042")
    # One message may be as large to the one who sends it as to the one who takes it.
    exporter = yaml.safe_load((ROOT / "collector" / "otel-collector.kafka.yaml").read_text())
    largest = exporter["exporters"]["kafka/traces"]["producer"]["max_message_bytes"]
    assert f"\nmessage.max.bytes={largest}\n" in kafka


def test_prometheus_scrapes_every_part_that_says_how_it_does(compose: dict[str, Any]) -> None:
    services = compose["services"]
    (path,) = (
        source
        for target, source in mounts(services["prometheus"])[0].items()
        if target.endswith("/scrape.yml")
    )
    scraped = {
        target
        for job in yaml.safe_load((ROOT / path).read_text())["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    speaking = {n for n, s in services.items() if _kind(s) in READERS - {"prom/prometheus"}}
    # The agent adds nothing up.
    adding = {n for n in speaking if "delta_to_cumulative:" in configs_of(services[n])}
    expected = {f"{name}:8888" for name in speaking} | {f"{name}:8889" for name in adding}
    assert scraped == expected | {"localhost:9090"}
    assert "OTELCOL_DELTAS_ENDPOINT:-0.0.0.0:8889" in OTEL_COLLECTOR.read_text()
    for name in speaking:
        ports = re.findall(r"(?:OTELCOL|JAEGER)_METRICS_PORT:-(\d+)", configs_of(services[name]))
        assert set(ports) == {"8888"}


def test_scrape_files_have_the_same_jobs() -> None:
    jobs = [
        [
            job["job_name"]
            for job in yaml.safe_load((ROOT / "collector" / name).read_text())["scrape_configs"]
        ]
        for name in ("scrape.yml", "scrape.scale.yml")
    ]
    assert jobs[0] == jobs[1], "alerts and dashboards know them by these names"


def test_prometheus_runs_as_the_tests_run_it(single: dict[str, Any]) -> None:
    assert set(PROMETHEUS_FLAGS) <= set(single["services"]["prometheus"]["command"])
    manifest = (ROOT / "collector" / "build" / "prometheus" / "go.mod").read_text()
    version = re.findall(r"prometheus/prometheus v0\.(\d)(\d+)\.(\d+)\b", manifest)
    image = single["services"]["prometheus"]["image"]
    assert [f"prom/prometheus:v{'.'.join(parts)}" for parts in version] == [image]


def test_grafana_has_a_password_that_is_in_no_file(single: dict[str, Any]) -> None:
    service = single["services"]["grafana"]
    environment = service["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/secret/password"
    assert not any("PASSWORD" in name and not name.endswith("__FILE") for name in environment)
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert "secret:/secret:ro" in service["volumes"]
    assert "secret:/secret" in single["services"]["prepare"]["volumes"]
    assert "/dev/urandom" in single["services"]["prepare"]["command"][-1]


def test_grafana_finds_its_files_where_these_are_mounted(single: dict[str, Any]) -> None:
    service = single["services"]["grafana"]
    files = mounts(service)[0]
    provisioning = ROOT / files["/etc/grafana/provisioning"]
    providers = yaml.safe_load((provisioning / "dashboards" / "dashboards.yaml").read_text())
    assert providers["providers"][0]["options"]["path"] in files
    home = Path(service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / files[str(home.parent)] / home.name).is_file()
    asked_for = set(
        re.findall(
            r"(?<!\$)\$\{(\w+)\}",
            "".join(path.read_text() for path in provisioning.rglob("*.yaml")),
        )
    )
    assert asked_for == {"ALERT_WEBHOOK_URL"} <= set(service["environment"])


def test_the_script_that_prepares_volumes_works_and_keeps_the_password(
    single: dict[str, Any], tmp_path: Path
) -> None:
    script = single["services"]["prepare"]["command"][-1].replace("$$", "$")
    (tmp_path / "secret").mkdir()
    for volume in ("otelcol", "jaeger", "prometheus", "grafana"):
        (tmp_path / "volumes" / volume).mkdir(parents=True)
    script = script.replace("/volumes/", f"{tmp_path}/volumes/").replace(
        "/secret", f"{tmp_path}/secret"
    )
    script = script.replace("chown", "true")
    secrets = []
    for _ in range(2):
        subprocess.run(["sh", "-ec", script], check=True)
        secrets.append((tmp_path / "secret" / "password").read_text())
    assert secrets[0] == secrets[1]
    assert re.fullmatch(r"[A-Za-z0-9+/]{32}\n", secrets[0])
    assert (tmp_path / "secret" / "password").stat().st_mode & 0o777 == 0o400

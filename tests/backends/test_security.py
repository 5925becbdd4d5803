"""TLS, mutual TLS and tokens: who has what is asked for is let in, and nobody else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from otel_orchestrator.sources.runfiles import find_run, read_run

from .processes import FILES, ROOT, Collector, Jaeger
from .reading import spans_in, trace_of
from .scaled import AGENT, GATEWAY, Node, node
from .stack import start_app

pytestmark = pytest.mark.timeout(120)

PROGRAM = """
import sys
import otel_orchestrator as otel
otel.configure(sys.argv[1])
with otel.run("r"), otel.task("worker", "a"):
    pass
otel.shutdown(timeout_s=3)
"""
TLS = FILES / "otel-collector.tls.yaml"
MTLS = FILES / "otel-collector.mtls.yaml"
TOKEN = FILES / "otel-collector.token.yaml"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run what the docs say makes certificates and a token; return the folder of them."""
    folder = tmp_path_factory.mktemp("secrets")
    page = (ROOT / "docs" / "security.md").read_text()
    (script,) = (code for code in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "-CA" in code)
    done = subprocess.run(["sh", "-ec", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "tls"


@pytest.fixture(scope="module")
def asks_for(
    otelcol_binary: Path,
    jaeger: Jaeger,
    secrets: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Node]]:
    """Run a Collector for each thing that may be asked for."""
    folder = tmp_path_factory.mktemp("secure")
    environment = {"OTELCOL_TLS": str(secrets), "OTELCOL_TOKENS": str(secrets / "tokens")}
    nodes = {
        what: node(
            otelcol_binary,
            folder,
            what,
            overlays=[GATEWAY, TLS, *more],
            environment={**environment, "OTELCOL_INSTANCE": what},
            jaeger_endpoint=jaeger.otlp_endpoint,
        )
        for what, more in {"tls": (), "mtls": (MTLS,), "token": (TOKEN,)}.items()
    }
    for one in nodes.values():
        one.program.start()
    try:
        yield nodes
    finally:
        for one in nodes.values():
            one.program.__exit__()


def _has(secrets: Path, *what: str) -> dict[str, str]:
    """Return the variables of a program that has this, as the docs name them."""
    page = (ROOT / "docs" / "security.md").read_text()
    named = dict(re.findall(r"^export (OTEL_EXPORTER_OTLP_\w+)=\"?(.*?)\"?(?: +#.*)?$", page, re.M))
    prefix = "OTEL_EXPORTER_OTLP_"
    of = {
        "ca": [f"{prefix}CERTIFICATE"],
        "certificate": [f"{prefix}CLIENT_CERTIFICATE", f"{prefix}CLIENT_KEY"],
        "token": [f"{prefix}HEADERS"],
    }
    token = (secrets / "token").read_text().strip()
    return {
        name: named[name]
        .replace("tls/", f"{secrets}/", 1)
        .replace(f"$(cat {secrets}/token)", token)
        for one in what
        for name in of[one]
    }


def _send(
    collector: Collector, folder: Path, protocol: str, scheme: str, variables: Mapping[str, str]
) -> str:
    """Run a program that sends there; return the id of its trace."""
    endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
    program = start_app(
        PROGRAM,
        "secure.test",
        endpoint=endpoint.replace("http://", f"{scheme}://"),
        folder=folder,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_METRICS_EXPORTER="none",
        # `requests` puts these before what the exporter is told (docs/security.md says so).
        REQUESTS_CA_BUNDLE="",
        CURL_CA_BUNDLE="",
        **variables,
    )
    _, complaints = program.communicate(timeout=60)
    assert program.returncode == 0, complaints
    return read_run(find_run(None, folder)).spans[0].trace_id


def _accepted(metrics_url: str) -> float:
    with urlopen(metrics_url, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    name = "otelcol_receiver_accepted_spans_total{"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize(
    ("what", "has"),
    [("tls", ["ca"]), ("mtls", ["ca", "certificate"]), ("token", ["ca", "token"])],
)
def test_who_has_what_is_asked_for_is_let_in(
    asks_for: Mapping[str, Node],
    jaeger: Jaeger,
    secrets: Path,
    tmp_path: Path,
    protocol: str,
    what: str,
    has: list[str],
) -> None:
    variables = _has(secrets, *has)
    trace_id = _send(asks_for[what].collector, tmp_path, protocol, "https", variables)
    assert len(trace_of(jaeger, trace_id, spans=2)) == 2


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize(
    ("what", "scheme", "has", "wrong"),
    [
        ("tls", "http", [], {}),
        ("tls", "https", [], {}),  # and so not the CA
        ("mtls", "https", ["ca"], {}),
        ("token", "https", ["ca"], {}),
        ("token", "https", ["ca"], {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20no"}),
    ],
)
def test_nobody_else_is_let_in(
    asks_for: Mapping[str, Node],
    jaeger: Jaeger,
    secrets: Path,
    tmp_path: Path,
    protocol: str,
    what: str,
    scheme: str,
    has: list[str],
    wrong: Mapping[str, str],
) -> None:
    before = _accepted(asks_for[what].metrics_url)
    variables = {**_has(secrets, *has), **wrong}
    trace_id = _send(asks_for[what].collector, tmp_path, protocol, scheme, variables)
    assert _accepted(asks_for[what].metrics_url) == before
    assert spans_in(jaeger, trace_id) == []


@pytest.mark.parametrize("is_known", [True, False])
def test_an_agent_shows_its_gateway_a_certificate_and_a_token(
    otelcol_binary: Path, jaeger: Jaeger, secrets: Path, tmp_path: Path, is_known: bool
) -> None:
    names = ("agent-tls", "agent-mtls", "agent-token")
    overlays = [FILES / f"otel-collector.{name}.yaml" for name in names]
    own = tmp_path / "token"
    own.write_text((secrets / "token").read_text() if is_known else "another")
    variables = {"OTELCOL_TLS": str(secrets), "OTELCOL_TOKENS": str(secrets / "tokens")}
    server = node(
        otelcol_binary,
        tmp_path,
        "gateway",
        overlays=[GATEWAY, TLS, MTLS, TOKEN],
        environment={**variables, "OTELCOL_INSTANCE": "gateway"},
        jaeger_endpoint=jaeger.otlp_endpoint,
    )
    address = server.collector.grpc_endpoint.removeprefix("http://")
    in_front = node(
        otelcol_binary,
        tmp_path,
        "agent",
        base=AGENT,
        overlays=overlays,
        environment={**variables, "OTELCOL_TOKEN": str(own), "OTELCOL_GATEWAYS": f"[{address}]"},
    )
    with server.program, in_front.program:
        trace_id = _send(in_front.collector, tmp_path / "run", "grpc", "http", {})
        if is_known:
            assert len(trace_of(jaeger, trace_id, spans=2)) == 2
        else:
            assert _accepted(in_front.metrics_url) == 2
            assert _accepted(server.metrics_url) == 0

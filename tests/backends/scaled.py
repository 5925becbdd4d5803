"""Agents and gateways, with the shipped files; behind them a Jaeger, or the whole scale profile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from . import processes
from .checking import STAMP
from .jvms import cassandra_program, kafka_program
from .processes import FILES, NOBODY, Collector, Jaeger, Program
from .stack import Binaries
from .wire import Wire, wire_to

AGENT: Final = FILES / "otel-collector.agent.yaml"
AGENT_DNS: Final = FILES / "otel-collector.agent-dns.yaml"
GATEWAY: Final = FILES / "otel-collector.gateway.yaml"
KAFKA: Final = FILES / "otel-collector.kafka.yaml"
CASSANDRA: Final = FILES / "jaeger-cassandra.yaml"
INGESTER: Final = FILES / "jaeger-ingester.yaml"


@dataclass(frozen=True, slots=True)
class Node:
    """An agent or a gateway."""

    name: str
    program: Program
    collector: Collector
    metrics_url: str


@dataclass(frozen=True, slots=True)
class Tier:
    """Agents in front of gateways, up."""

    agents: list[Node]
    gateways: list[Node]


@dataclass(frozen=True, slots=True)
class Chain:
    """The whole scale profile, up.

    `wires` lead to the part of that name, from whoever sends to it; by them it can be killed with a
    batch on its way.
    """

    tier: Tier
    kafka: Program
    cassandra: Program
    ingester: Program
    ingester_metrics_url: str
    jaeger: Jaeger
    wires: Mapping[str, Wire]


def node(
    otelcol: Path,
    folder: Path,
    name: str,
    *,
    base: Path = processes.OTEL_COLLECTOR,
    overlays: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    jaeger_endpoint: str = NOBODY,
    prometheus_url: str = "",
    ports: tuple[int, int] | None = None,
) -> Node:
    """Return a Collector with a folder of its own, not started yet.

    `ports` are those that Prometheus scrapes: its sums of deltas, and how it does itself.
    """
    own = folder / name
    own.mkdir()
    deltas, itself = ports or processes.free_ports(2)
    program, collector = processes.collector_program(
        otelcol,
        jaeger_endpoint,
        own,
        base=base,
        overlays=overlays,
        prometheus_url=prometheus_url,
        ports=(deltas, itself),
    )
    program.environment = {**program.environment, **(environment or {})}
    return Node(name, program, collector, f"http://127.0.0.1:{itself}/metrics")


def gateway(
    otelcol: Path,
    folder: Path,
    name: str,
    *,
    overlays: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    jaeger_endpoint: str = NOBODY,
    prometheus_url: str = "",
    ports: tuple[int, int] | None = None,
) -> Node:
    """Return a gateway that writes its name on all it sees, not started yet."""
    stamp = folder / f"stamp-{name}.yaml"
    stamp.write_text(yaml.safe_dump(_stamp(name)))
    return node(
        otelcol,
        folder,
        name,
        overlays=[GATEWAY, *overlays, stamp],
        environment={"OTELCOL_INSTANCE": name, **(environment or {})},
        jaeger_endpoint=jaeger_endpoint,
        prometheus_url=prometheus_url,
        ports=ports,
    )


def _stamp(name: str) -> dict[str, object]:
    pipelines = yaml.safe_load(processes.OTEL_COLLECTOR.read_text())["service"]["pipelines"]
    processors = [*pipelines["traces/in"]["processors"], "resource/stamp"]
    attribute = {"key": STAMP, "value": name, "action": "insert"}
    return {
        "processors": {"resource/stamp": {"attributes": [attribute]}},
        "service": {"pipelines": {"traces/in": {"processors": processors}}},
    }


def agent(otelcol: Path, folder: Path, name: str, gateways: Sequence[str]) -> Node:
    """Return an agent of gateways at these addresses, not started yet."""
    environment = {"OTELCOL_GATEWAYS": json.dumps(gateways)}
    return node(otelcol, folder, name, base=AGENT, environment=environment)


def address_of(one: Node) -> str:
    """Return where a Collector takes OTLP over gRPC, as host:port."""
    return one.collector.grpc_endpoint.removeprefix("http://")


@contextmanager
def tier(otelcol: Path, folder: Path, gateways: Sequence[Node]) -> Iterator[Tier]:
    """Run gateways, and an agent in front of them, until the block is left."""
    in_front = agent(otelcol, folder, "agent-1", [address_of(one) for one in gateways])
    with ExitStack() as until_the_end:
        for one in (*gateways, in_front):
            until_the_end.enter_context(one.program)
        yield Tier([in_front], list(gateways))


@contextmanager
def chain(binaries: Binaries, folder: Path) -> Iterator[Chain]:
    """Run all of it: two agents, two gateways, Kafka, the ingester, Cassandra, the UI's Jaeger."""
    with ExitStack() as until_the_end:

        def wire(url: str) -> Wire:
            return until_the_end.enter_context(wire_to(url))

        (broker,) = processes.free_ports(1)
        to_kafka = wire(f"127.0.0.1:{broker}")
        kafka, _ = kafka_program(folder, broker, told=to_kafka.port)
        cassandra, contact = cassandra_program(folder)
        to_cassandra = wire(contact)
        environment = {"KAFKA_BROKERS": f"[127.0.0.1:{to_kafka.port}]"}
        gateways = [
            gateway(binaries.otelcol, folder, name, overlays=[KAFKA], environment=environment)
            for name in ("gateway-1", "gateway-2")
        ]
        to_gateway = wire(address_of(gateways[0]))
        addresses = [f"127.0.0.1:{to_gateway.port}", address_of(gateways[1])]
        agents = [agent(binaries.otelcol, folder, f"agent-{i}", addresses) for i in (1, 2)]
        ingester, metrics_url = ingester_program(
            binaries.jaeger, folder / "ingester", environment, to_cassandra.port
        )
        query, up = jaeger_program(
            binaries.jaeger, folder / "query", {"CASSANDRA_SERVERS": f"[{contact}]"}
        )
        nodes = (*gateways, *agents)
        for program in (kafka, cassandra, ingester, query, *(one.program for one in nodes)):
            until_the_end.enter_context(program)
        wires = {
            "agent": wire(agents[0].collector.http_endpoint),
            "gateway": to_gateway,
            "kafka": to_kafka,
            "cassandra": to_cassandra,
        }
        yield Chain(Tier(agents, gateways), kafka, cassandra, ingester, metrics_url, up, wires)


def ingester_program(
    jaeger: Path, folder: Path, environment: Mapping[str, str], cassandra_port: int
) -> tuple[Program, str]:
    """Return Jaeger's ingester, not started yet, and where it says how it does."""
    (port,) = processes.free_ports(1)
    overlay = folder.with_suffix(".yaml")
    connection = {"servers": [f"127.0.0.1:{cassandra_port}"], "port": cassandra_port}
    backends = {"traces": {"cassandra": {"connection": connection}}}
    overlay.write_text(yaml.safe_dump({"extensions": {"jaeger_storage": {"backends": backends}}}))
    program, _ = jaeger_program(jaeger, folder, environment, [INGESTER, overlay], port)
    return program, f"http://127.0.0.1:{port}/metrics"


def jaeger_program(
    jaeger: Path,
    folder: Path,
    environment: Mapping[str, str],
    overlays: Sequence[Path] = (),
    metrics_port: int = 0,
) -> tuple[Program, Jaeger]:
    """Return a Jaeger with Cassandra, not started yet."""
    folder.mkdir()
    program, up = processes.jaeger_program(
        jaeger, folder, storage=CASSANDRA, overlays=overlays, metrics_port=metrics_port
    )
    program.environment = {**program.environment, **environment}
    return program, up

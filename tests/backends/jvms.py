"""The real Kafka and Cassandra, with the shipped files, on free ports."""

from __future__ import annotations

import base64
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

from .processes import FILES, Program, free_ports

KAFKA: Final = FILES / "kafka.properties"
KAFKA_LOG: Final = FILES / "kafka-log4j2.yaml"
CASSANDRA: Final = FILES / "cassandra.yaml"
CASSANDRA_LOG: Final = FILES / "cassandra-logback.xml"
CASSANDRA_JAVA: Final = FILES / "build" / "cassandra" / "java.options"


def jars(name: str) -> Path:
    """Return the folder with the jars of `kafka` or `cassandra`; fetch them if need be."""
    script = FILES / "build" / "jars.py"
    done = subprocess.run([sys.executable, script, name], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"no {name}"
    return Path(done.stdout.strip())


def kafka_program(folder: Path, broker: int = 0, told: int = 0) -> tuple[Program, str]:
    """Return a Kafka broker whose store is formatted, not started yet, and its address.

    Args:
        folder: for its data.
        broker: the port to listen on; a free one unless it is said.
        told: the port that it tells its clients, if that is another.
    """
    free, controller = free_ports(2)
    broker = broker or free
    data = folder / "kafka"
    text = KAFKA.read_text()
    for there, here in {
        "controller.quorum.bootstrap.servers=kafka:9093": (
            f"controller.quorum.bootstrap.servers=127.0.0.1:{controller}"
        ),
        "listeners=PLAINTEXT://:9092,CONTROLLER://:9093": (
            f"listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}"
        ),
        "advertised.listeners=PLAINTEXT://kafka:9092,CONTROLLER://kafka:9093": (
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{told or broker},"
            f"CONTROLLER://127.0.0.1:{controller}"
        ),
        "log.dirs=/var/lib/kafka/data": f"log.dirs={data}",
    }.items():
        assert f"\n{there}\n" in text
        text = text.replace(f"\n{there}\n", f"\n{here}\n")
    config = folder / "kafka.properties"
    config.write_text(text)
    java = [
        *("java", "-Xms512m", "-Xmx512m", f"-Dlog4j2.configurationFile={KAFKA_LOG}"),
        *("-cp", f"{jars('kafka')}/*"),
    ]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    formatting = ["format", "-t", cluster, "-c", str(config), "--standalone", "--ignore-formatted"]
    done = subprocess.run(
        [*java, "kafka.tools.StorageTool", *formatting], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    program = Program(
        [*java, "kafka.Kafka", config],
        {},
        f"tcp://127.0.0.1:{broker}",
        folder / "kafka.log",
        up_within_s=60,
    )
    return program, f"127.0.0.1:{broker}"


def cassandra_program(folder: Path) -> tuple[Program, str]:
    """Return a Cassandra node, not started yet, and its address.

    Its port inside the cluster is a free one, too, and JMX listens nowhere.
    """
    native, storage = free_ports(2)
    text = CASSANDRA.read_text()
    for there, here in {
        "- seeds: cassandra": f'- seeds: "127.0.0.1:{storage}"',
        "listen_address: cassandra": f"listen_address: 127.0.0.1\nstorage_port: {storage}",
        "\nrpc_address: 0.0.0.0": (f"\nrpc_address: 127.0.0.1\nnative_transport_port: {native}"),
        "broadcast_rpc_address: cassandra": "broadcast_rpc_address: 127.0.0.1",
    }.items():
        assert there in text
        text = text.replace(there, here)
    text = text.replace("/var/lib/cassandra/", f"{folder}/cassandra/")
    config = folder / "cassandra.yaml"
    config.write_text(text)
    command: list[str | Path] = [
        *("java", f"@{CASSANDRA_JAVA}", "-Xms1g", "-Xmx1g"),
        f"-XX:ErrorFile={folder}/cassandra-crash.log",
        *(f"-Dcassandra.config=file://{config}", f"-Dcassandra.storagedir={folder}/cassandra"),
        *("-Dcassandra-foreground=yes", f"-Dlogback.configurationFile={CASSANDRA_LOG}"),
        *("-cp", f"{jars('cassandra')}/*"),
        "org.apache.cassandra.service.CassandraDaemon",
    ]
    health = f"tcp://127.0.0.1:{native}"
    program = Program(command, {}, health, folder / "cassandra.log", up_within_s=150)
    return program, f"127.0.0.1:{native}"

"""Two network namespaces as two hosts, one of them with a wrong clock, and one Collector."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_orchestrator.model import Run
from otel_orchestrator.sources.found import Export, read, read_one
from otel_orchestrator.sources.runfiles import RunFile

from ..backends.processes import find_backend, free_ports, running
from ..clocks import until_it_agrees
from . import needs
from .program import Sent, check_waits, environment, record_of

NET = "10.213.77"

COLLECTOR = """\
receivers: {{otlp: {{protocols: {{http: {{endpoint: "{address}:{port}"}}}}}}}}
exporters: {{file: {{path: "{path}", flush_interval: 100ms}}}}
extensions: {{health_check: {{endpoint: "{address}:{health}"}}}}
service:
  extensions: [health_check]
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"""


@dataclass(frozen=True)
class Host:
    """A network namespace: `prefix` runs a command there, under a host name of its own."""

    name: str
    address: str
    prefix: tuple[str, ...]


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts in a network with this one, which is `.254` in it."""
    needs.root()
    ip, unshare = needs.program("ip", "iproute2"), needs.program("unshare", "util-linux")

    def do(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True)

    with ExitStack() as undo:
        do("link", "add", "oo-br", "type", "bridge")
        undo.callback(do, "link", "del", "oo-br")
        do("address", "add", f"{NET}.254/24", "dev", "oo-br")
        do("link", "set", "oo-br", "up")
        made = []
        for n, name in enumerate(("oo-here", "oo-there"), 1):
            do("netns", "add", name)
            undo.callback(do, "netns", "del", name)
            do("link", "add", f"oo-v{n}", "type", "veth", "peer", "eth0", "netns", name)
            undo.callback(do, "link", "del", f"oo-v{n}")
            do("link", "set", f"oo-v{n}", "master", "oo-br", "up")
            do("-n", name, "address", "add", f"{NET}.{n}/24", "dev", "eth0")
            do("-n", name, "link", "set", "eth0", "up")
            do("-n", name, "link", "set", "lo", "up")
            named = (unshare, "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh")
            made.append(Host(name, f"{NET}.{n}", (ip, "netns", "exec", name, *named)))
        yield made[0], made[1]


def run_on(hosts: tuple[Host, Host], collector: str, ahead_s: float, folder: Path) -> list[Sent]:
    here, there = hosts
    (port,) = free_ports(1)
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}  # fmt: skip
    words = (here.address, str(port))
    with subprocess.Popen(
        [*there.prefix, sys.executable, "-m", "tests.processes.host_worker", *words],
        env=environment(folder / "there", CLOCK_AHEAD_S=str(ahead_s), **otlp),
        stderr=subprocess.PIPE,
    ) as worker:
        record = record_of(
            "-m",
            "tests.processes.host_director",
            *words,
            prefix=here.prefix,
            env=environment(folder / "here", **otlp),
        )
        _, complaints = worker.communicate(timeout=30)
        assert (worker.returncode, complaints) == (0, b"")
    return record


def check(run: Run, ahead_s: float) -> None:
    assert {span.trace_id for span in run.spans} == {run.spans[0].trace_id}
    assert sum(span.parent_id is None for span in run.spans) == 1
    (said,) = run.warnings
    if not ahead_s:
        assert said.startswith("the clocks of oo-there and oo-here differ by at most 0.0")
        return
    found = re.fullmatch(
        r"the clock of oo-there is (.+) s (ahead of|behind) oo-here's, give or take (.+) s:"
        " corrected",
        said,
    )
    assert found is not None, said
    assert found[2] == ("ahead of" if ahead_s > 0 else "behind")
    assert abs(float(found[1]) - abs(ahead_s)) <= float(found[3]) + 0.001, "the bound holds"


@pytest.mark.parametrize("ahead_s", [0, 5.0, -5.0])
def test_two_hosts_work_for_one_run(
    hosts: tuple[Host, Host], ahead_s: float, tmp_path: Path
) -> None:
    binary = find_backend("otelcol")
    if binary is None:
        needs.missing("otelcol is missing. Type: make backends")
    assert binary is not None
    port, health = free_ports(2)
    address = f"{NET}.254"

    def scenario() -> None:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        collected = folder / "collected.jsonl"
        config = folder / "otelcol.yaml"
        config.write_text(
            COLLECTOR.format(address=address, port=port, health=health, path=collected)
        )
        command = [str(binary), "--config", str(config)]
        with running(command, {}, f"http://{address}:{health}", folder / "otelcol.log"):
            record = run_on(hosts, f"http://{address}:{port}", ahead_s, folder)
        by_collector = read_one(Export(collected, None))
        check(by_collector, ahead_s)
        check_waits(by_collector, record)

        # Without a Collector: the run files of both hosts, one after the other.
        files = [*(folder / "here").glob("*.jsonl"), *(folder / "there").glob("*.jsonl")]
        assert len({file.name for file in files}) == 1
        joined = folder / "joined.jsonl"
        joined.write_bytes(b"".join(file.read_bytes() for file in files))
        (by_files,) = read(RunFile(by_collector.id, joined, 0))
        check(by_files, ahead_s)
        assert by_files.spans == by_collector.spans

    until_it_agrees(scenario, forget=lambda: None)

"""Start the real Collector, Jaeger and Prometheus on free ports, with the shipped files."""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = ROOT / "collector"
OTEL_COLLECTOR: Final = FILES / "otel-collector.yaml"
JAEGER: Final = FILES / "jaeger.yaml"
JAEGER_BADGER: Final = FILES / "jaeger-badger.yaml"
JAEGER_MEMORY: Final = FILES / "jaeger-memory.yaml"
PROMETHEUS: Final = FILES / "prometheus.yml"
SCRAPE: Final = FILES / "scrape.yml"
RULES: Final = FILES / "rules"
PROMETHEUS_FLAGS: Final = (
    "--web.enable-otlp-receiver",
    "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
)
NOBODY: Final = "127.0.0.1:9"  # discard: nobody listens there
JAEGER_UI: Final = FILES / "jaeger-ui.json"
_UP_WITHIN_S: Final = 30


@dataclass(frozen=True, slots=True)
class Jaeger:
    """A Jaeger that is up."""

    query_url: str
    otlp_endpoint: str


@dataclass(frozen=True, slots=True)
class Collector:
    """A Collector that is up, and ships to a Jaeger."""

    grpc_endpoint: str
    http_endpoint: str


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that is up."""

    url: str


def find_backend(name: str) -> Path | None:
    """Return the binary that `make backends` found or built; None if there is none yet."""
    script = ROOT / "collector" / "build" / "backends.py"
    done = subprocess.run(
        [sys.executable, str(script), "--print", name], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on right now, each only once in this process.

    They lie below those that Linux gives to outgoing connections (32768 and up), one of which
    would otherwise now and then hold the port of a program that is about to start, or starts again.
    """
    return list(itertools.islice(filter(_is_free, _PORTS), count))


_PORTS: Final = iter(random.SystemRandom().sample(range(12_000, 32_000), 20_000))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def running(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    health_url: str,
    log: Path,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a backend until the block is left; it is healthy inside."""
    process = start(command, environment, health_url, log)
    try:
        yield process
    finally:
        stop(process)


def start(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    health_url: str,
    log: Path,
    within_s: float = _UP_WITHIN_S,
) -> subprocess.Popen[bytes]:
    """Start a backend, and return when it is healthy: answers, or listens at tcp://host:port."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_healthy(process, health_url, log, within_s)
    except BaseException:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a backend to end, and see that it does.

    Jaeger takes 10 s to end once a trace was read over /api/v3; nobody needs its last words.
    """
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_healthy(
    process: subprocess.Popen[bytes], url: str, log: Path, within_s: float
) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if _is_healthy(url):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-20:])
    raise AssertionError(f"{process.args!r} did not come up:\n{tail}")


def _is_healthy(url: str) -> bool:
    if url.startswith("tcp://"):
        host, _, port = url.removeprefix("tcp://").partition(":")
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    with urllib.request.urlopen(url, timeout=1) as answer:
        return bool(answer.status == 200)


@dataclass(slots=True)
class Program:
    """A backend with its command and its folder, which can be killed and started again."""

    command: Sequence[str | Path]
    environment: Mapping[str, str]
    health_url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    up_within_s: float = _UP_WITHIN_S

    def start(self) -> None:
        """Start it; return when it is healthy."""
        self.process = start(
            self.command, self.environment, self.health_url, self.log, self.up_within_s
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        stop(self.process)


def jaeger_program(
    binary: Path,
    folder: Path,
    *,
    storage: Path = JAEGER_BADGER,
    prometheus_url: str = "",
    metrics_port: int = 0,
    overlays: Sequence[Path] = (),
) -> tuple[Program, Jaeger]:
    """Return Jaeger with the shipped files, not started yet."""
    query, query_grpc, grpc, health, metrics = free_ports(5)
    metrics = metrics_port or metrics
    environment = {
        "JAEGER_QUERY_ENDPOINT": f"127.0.0.1:{query}",
        "JAEGER_QUERY_GRPC_ENDPOINT": f"127.0.0.1:{query_grpc}",
        "JAEGER_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
        "JAEGER_HEALTH_ENDPOINT": f"127.0.0.1:{health}",
        "JAEGER_METRICS_HOST": "127.0.0.1",
        "JAEGER_METRICS_PORT": str(metrics),
        "JAEGER_UI_CONFIG": str(JAEGER_UI),
        "JAEGER_STORAGE_FOLDER": str(folder / "badger"),
        "PROMETHEUS_URL": prometheus_url or f"http://{NOBODY}",
    }
    configs = (JAEGER, storage, *overlays)
    command: list[str | Path] = [binary, *(f"--config={config}" for config in configs)]
    health_url = f"http://127.0.0.1:{health}/status"
    program = Program(command, environment, health_url, folder / "jaeger.log")
    return program, Jaeger(f"http://127.0.0.1:{query}", f"127.0.0.1:{grpc}")


@contextmanager
def jaeger(binary: Path, folder: Path, *, storage: Path = JAEGER_MEMORY) -> Iterator[Jaeger]:
    """Run Jaeger with the shipped files."""
    program, up = jaeger_program(binary, folder, storage=storage)
    with program:
        yield up


def collector_program(
    binary: Path,
    jaeger_endpoint: str,
    folder: Path,
    *,
    split_services: str = "",
    overlays: Sequence[Path] = (),
    prometheus_url: str = "",
    ports: tuple[int, int] = (0, 0),
    base: Path = OTEL_COLLECTOR,
) -> tuple[Program, Collector]:
    """Return the Collector with the shipped file, and further ones, not started yet.

    `ports` are those that Prometheus scrapes: its sums of deltas, and how it does itself.
    """
    grpc, http, health, deltas, metrics = free_ports(5)
    deltas, metrics = ports[0] or deltas, ports[1] or metrics
    environment = {
        "OTELCOL_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
        "OTELCOL_HTTP_ENDPOINT": f"127.0.0.1:{http}",
        "OTELCOL_HEALTH_ENDPOINT": f"127.0.0.1:{health}",
        "OTELCOL_METRICS_HOST": "127.0.0.1",
        "OTELCOL_METRICS_PORT": str(metrics),
        "OTELCOL_DELTAS_ENDPOINT": f"127.0.0.1:{deltas}",
        "OTELCOL_STORAGE": str(folder / "queues"),
        "OTELCOL_SPAN_METRICS_INTERVAL": "2s",
        "JAEGER_OTLP_ENDPOINT": jaeger_endpoint,
        "PROMETHEUS_OTLP_ENDPOINT": f"{prometheus_url or f'http://{NOBODY}'}/api/v1/otlp",
    }
    if split_services:
        environment["OTELCOL_SPLIT_SERVICES"] = split_services
    health_url = f"http://127.0.0.1:{health}"
    command: list[str | Path] = [
        binary,
        *(f"--config={config}" for config in (base, *overlays)),
    ]
    program = Program(command, environment, health_url, folder / "otelcol.log")
    return program, Collector(f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}")


@contextmanager
def collector(
    binary: Path,
    jaeger_endpoint: str,
    folder: Path,
    *,
    split_services: str = "",
    overlays: Sequence[Path] = (),
) -> Iterator[Collector]:
    """Run the Collector with the shipped file, and further ones, in front of a Jaeger."""
    program, up = collector_program(
        binary, jaeger_endpoint, folder, split_services=split_services, overlays=overlays
    )
    with program:
        yield up


def prometheus_program(
    binary: Path,
    folder: Path,
    targets: Mapping[str, str],
    *,
    rules: Sequence[str] = (),
    scrape: Path = SCRAPE,
) -> tuple[Program, Prometheus]:
    """Return Prometheus with the shipped files, not started yet.

    They have no variables, so they are read with other addresses in them, and nothing else.

    Args:
        binary: the program.
        folder: for its data.
        targets: the addresses to scrape, by those of the shipped file.
        rules: further rule files of the shipped folder.
        scrape: which of the shipped files says what to scrape.
    """
    (port,) = free_ports(1)
    jobs = scrape.read_text()
    for there, here in {"localhost:9090": f"127.0.0.1:{port}", **targets}.items():
        assert there in jobs
        jobs = jobs.replace(there, here)
    (folder / "scrape.yml").write_text(jobs)
    text = PROMETHEUS.read_text()
    recording = "  - rules/recording.yml\n"
    assert recording in text
    files = "".join(f"  - {RULES / name}\n" for name in ("recording.yml", *rules))
    config = folder / "prometheus.yml"
    config.write_text(text.replace(recording, files))
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *PROMETHEUS_FLAGS,
    ]
    return Program(command, {}, f"{url}/-/ready", folder / "prometheus.log"), Prometheus(url)

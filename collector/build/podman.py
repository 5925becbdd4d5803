"""Run docker-compose.yml as it is, without Docker: `python collector/build/podman.py -- up -d`.

Needs podman, runc, netavark, aardvark-dns, iptables, busybox-static and podman-compose. Images are
made from the very programs that `make backends` found or built, at the paths of the real images,
and tagged like them; those of Kafka and Cassandra (`--scale`) out of their jars, this machine's
Java 17, and scripts in place of those that the real images have. Grafana has no program here and is
left out. What follows `--` goes to podman-compose.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from backends import find
from jars import jars

_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = Path(__file__).resolve().parents[2]
_COMPOSE: Final = _ROOT / "docker-compose.yml"
_SCALE: Final = _ROOT / "collector" / "scale.env"
_LEFT_OUT: Final = ("grafana",)
_TOOLS: Final = "sh cat chown head base64 mv wget"


@dataclass(frozen=True, slots=True)
class Image:
    """What the real image has, as far as the compose file uses it."""

    program: str | None
    path: str
    user: str
    has_shell: bool


_IMAGES: Final[Mapping[str, Image]] = {
    "busybox": Image(None, "", "0:0", True),
    "otel/opentelemetry-collector-contrib": Image(
        "otelcol", "/otelcol-contrib", "10001:10001", False
    ),
    "jaegertracing/jaeger": Image("jaeger", "/cmd/jaeger/jaeger-linux", "10001:10001", True),
    "prom/prometheus": Image("prometheus", "/bin/prometheus", "65534:65534", True),
}


@dataclass(frozen=True, slots=True)
class JavaImage:
    """What stands in for the image of a Java program: its scripts start it from its jars."""

    name: str
    scripts: Mapping[str, str]


# What native libraries out of jars are linked with.
_LOADED_LATER: Final = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6")
_JAVA: Final = "exec /opt/java/bin/java"
_JARS: Final = "-cp '/opt/jars/*'"
_JAVA_IMAGES: Final[Mapping[str, JavaImage]] = {
    "apache/kafka": JavaImage(
        "kafka",
        {
            "opt/kafka/bin/kafka-storage.sh": f"{_JAVA} {_JARS} kafka.tools.StorageTool",
            "opt/kafka/bin/kafka-server-start.sh": (
                f"{_JAVA} $KAFKA_HEAP_OPTS $KAFKA_LOG4J_OPTS {_JARS} kafka.Kafka"
            ),
        },
    ),
    "cassandra": JavaImage(
        "cassandra",
        {
            "bin/cassandra": (
                f"{_JAVA} @/opt/java.options -Xms$MAX_HEAP_SIZE -Xmx$MAX_HEAP_SIZE"
                " -Dcassandra.config=file:///etc/cassandra/cassandra.yaml"
                " -Dcassandra.storagedir=/var/lib/cassandra -Dcassandra-foreground=yes"
                " -Dlogback.configurationFile=/etc/cassandra/logback.xml"
                f" {_JARS} org.apache.cassandra.service.CassandraDaemon"
            )
        },
    ),
}


def main() -> int:
    """Make the images and hand over to podman-compose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for images, containers, volumes"
    )
    parser.add_argument("--scale", action="store_true", help="with the scale profile")
    parser.add_argument("--compose", default="podman-compose", help="the podman-compose to run")
    parser.add_argument("words", nargs="+", help="of podman-compose, such as: up -d, ps, down")
    options = parser.parse_args()
    missing = [
        name for name in ("podman", "runc", "busybox", options.compose) if not shutil.which(name)
    ]
    if missing:
        print(f"podman.py: {', '.join(missing)} is missing", file=sys.stderr)
        return 2
    environment = {**os.environ, **_configure(options.folder)}
    everything = yaml.safe_load(_COMPOSE.read_text())["services"]
    services = {
        name: service
        for name, service in everything.items()
        if name not in _LEFT_OUT and (options.scale or "profiles" not in service)
    }
    for name, service in services.items():
        if not _build(service["image"], environment):
            print(f"podman.py: no image for {name}. Type: make backends", file=sys.stderr)
            return 2
    words: list[str] = list(options.words)
    if words[0] == "up":
        words += list(services)
    profile = ["--env-file", str(_SCALE), "--profile", "scale"] if options.scale else []
    command = [options.compose, "-f", str(_COMPOSE), "-p", "orchestrator", *profile, *words]
    return subprocess.run(command, env=environment, check=False).returncode


def _configure(folder: Path) -> dict[str, str]:
    """Write podman's settings for a machine of few rights; return the variables that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "CONTAINERS_CONF": (
            "[engine]\n"
            'runtime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "netavark"\n'
            '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]\n'
        ),
        "CONTAINERS_STORAGE_CONF": (
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        ),
        "CONTAINERS_REGISTRIES_CONF": 'unqualified-search-registries = ["docker.io"]\n',
    }
    for name, text in files.items():
        (folder / f"{name}.conf").write_text(text)
    return {name: str(folder / f"{name}.conf") for name in files}


def _build(image: str, environment: Mapping[str, str]) -> bool:
    tag = f"docker.io/{image if '/' in image else f'library/{image}'}"
    exists = subprocess.run(["podman", "image", "exists", tag], env=environment, check=False)
    if exists.returncode == 0:
        return True
    name = image.rpartition(":")[0]
    if name in _JAVA_IMAGES:
        return _build_java(_JAVA_IMAGES[name], tag, environment)
    made = _IMAGES[name]
    program = find(made.program) if made.program else None
    if made.program and program is None:
        return False
    with tempfile.TemporaryDirectory() as context:
        lines = ["FROM scratch"]
        if program is not None:
            shutil.copy(program, Path(context) / "program")
            lines += [f"COPY program {made.path}", f'ENTRYPOINT ["{made.path}"]']
        if made.has_shell:
            busybox = shutil.which("busybox")
            assert busybox is not None
            _put_busybox(Path(context) / "bin", Path(busybox))
            lines.append("COPY bin /bin")
        lines.append(f"USER {made.user}")
        (Path(context) / "Containerfile").write_text("\n".join(lines) + "\n")
        _quietly(["podman", "build", "-q", "-t", tag, context], environment)
    return True


def _build_java(made: JavaImage, tag: str, environment: Mapping[str, str]) -> bool:
    java, folder = shutil.which("java"), jars(made.name)
    if java is None or folder is None:
        return False
    home = Path(java).resolve().parents[1]
    with tempfile.TemporaryDirectory() as context:
        root = Path(context) / "root"
        unneeded = shutil.ignore_patterns("src.zip", "jmods", "man", "docs", "legal")
        shutil.copytree(home, root / "opt/java", ignore=unneeded, ignore_dangling_symlinks=True)
        shutil.copytree(folder, root / "opt/jars")
        for program in ("/bin/bash", java, *map(str, home.rglob("*.so"))):
            _put_libraries(program, root)
        libc = next(root.rglob("libc.so.6")).relative_to(root)
        for name in _LOADED_LATER:
            _put("/" / libc.parent / name, root / libc.parent / name)
        _put(Path("/bin/bash"), root / "bin/bash")
        options = _HERE / made.name / "java.options"
        if options.exists():
            _put(options, root / "opt/java.options")
        for path, command in made.scripts.items():
            script = root / path
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f'#!/bin/bash\n{command} "$@"\n')
            script.chmod(0o755)
        (Path(context) / "Containerfile").write_text("FROM scratch\nCOPY root /\n")
        _quietly(["podman", "build", "-q", "-t", tag, context], environment)
    return True


def _put_libraries(program: str, root: Path) -> None:
    """Copy what a program is linked with, at its own paths."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for word in told.split():
        if word.startswith("/") and ".so" in word and not (root / word[1:]).exists():
            _put(Path(word), root / word[1:])


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _put_busybox(folder: Path, busybox: Path) -> None:
    folder.mkdir()
    shutil.copy(busybox, folder / "busybox")
    for tool in _TOOLS.split():
        (folder / tool).symlink_to("busybox")


def _quietly(command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"podman.py: {' '.join(command)}: {done.stderr}")


if __name__ == "__main__":
    sys.exit(main())

"""Run docker-compose.yml as it is, without Docker: `python collector/build/podman.py -- up -d`.

Needs podman, runc, netavark, aardvark-dns, busybox-static and podman-compose. Images are made from
the very programs that `make backends` found or built, at the paths of the real images, and tagged
like them. Grafana, and what only the scale profile has, have no program here and are left out. What
follows `--` goes to podman-compose.
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

_ROOT: Final = Path(__file__).resolve().parents[2]
_COMPOSE: Final = _ROOT / "docker-compose.yml"
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


def main() -> int:
    """Make the images and hand over to podman-compose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for images, containers, volumes"
    )
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
        if name not in _LEFT_OUT and "profiles" not in service
    }
    for name, service in services.items():
        if not _build(service["image"], environment):
            print(f"podman.py: no image for {name}. Type: make backends", file=sys.stderr)
            return 2
    words: list[str] = list(options.words)
    if words[0] == "up":
        words += list(services)
    command = [options.compose, "-f", str(_COMPOSE), "-p", "orchestrator", *words]
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
    made = _IMAGES[image.rpartition(":")[0]]
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

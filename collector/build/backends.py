"""Find or build the real Collector, Jaeger and Prometheus that the tests run: `make backends`.

Looks on PATH, then in a per-user cache, and else builds from the Go modules beside this file, once
for each version of them. `--print PROGRAM` prints the path of one, and builds nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_GO_AT_LEAST: Final = (1, 26)
_EVERY_S: Final = 10


@dataclass(frozen=True, slots=True)
class Backend:
    """What is built from one module: a program that the tests run, or two.

    Attributes:
        name: of its module's folder.
        version: of its programs, as their own `--version` says it.
        packages: what to build inside the module, by the name of the program.
        on_path: other names than that under which a program may be installed already.
        minutes: of CPU time that a build takes, about.
        flags: of `go build`, beside the usual ones.
        link: flags of the linker, likewise.
    """

    name: str
    version: str
    packages: Mapping[str, str]
    minutes: int
    on_path: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    link: str = ""

    @property
    def module(self) -> Path:
        """Where its Go module is."""
        return _HERE / self.name


_PROMETHEUS: Final = "github.com/prometheus/prometheus/cmd"

BACKENDS: Final = (
    Backend("otelcol", "0.159.0", {"otelcol": "."}, 9, {"otelcol": "otelcol-contrib"}),
    Backend("jaeger", "1.76.0", {"jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger"}, 10),
    Backend(
        "prometheus",
        "3.14.0",
        {"prometheus": f"{_PROMETHEUS}/prometheus", "promtool": f"{_PROMETHEUS}/promtool"},
        6,
        # Without the service discoveries of every cloud there is: half the size, half the time.
        flags=("-tags=remove_all_sd,netgo",),
        link="-X github.com/prometheus/common/version.Version=3.14.0",
    ),
)
_PROGRAMS: Final = {program: backend for backend in BACKENDS for program in backend.packages}


def main() -> int:
    """Make sure that every backend is there; 2 with one line if that is not possible."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", metavar="PROGRAM", choices=list(_PROGRAMS))
    options = parser.parse_args()
    if options.print:
        found = find(options.print)
        print(found or "")
        return 0 if found else 1
    with _alone():
        for backend in BACKENDS:
            if not all(map(find, backend.packages)):
                problem = _check_go()
                if problem is not None:
                    print(f"make backends: {problem}", file=sys.stderr)
                    return 2
                if not build(backend):
                    return 2
            for program in backend.packages:
                print(f"{program:10} {find(program)}")
    return 0


@contextmanager
def _alone() -> Iterator[None]:
    """Wait while another of this user's checkouts builds: it builds the same."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "building.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("make backends: another one is at it; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find(program: str) -> Path | None:
    """Return where a program is: on PATH in the version that the files are for, or in the cache."""
    backend = _PROGRAMS[program]
    installed = shutil.which(backend.on_path.get(program, program))
    if installed is not None and backend.version in _says(installed):
        return Path(installed)
    cached = _cache_of(backend) / program
    return cached if cached.is_file() else None


def build(backend: Backend) -> bool:
    """Build a backend into the cache; False, with its last lines printed, if that fails."""
    target = _cache_of(backend)
    target.parent.mkdir(parents=True, exist_ok=True)
    print(
        f"Building {backend.name} from its Go modules, once: about {backend.minutes} minutes of CPU"
        " time from cold.",
        flush=True,
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as temporary:
        out, log = Path(temporary) / "out", Path(temporary) / "log"
        for program, package in backend.packages.items():
            if _go_build(backend, package, out / program, log):
                sys.stderr.write("".join(log.read_text(errors="replace").splitlines(True)[-20:]))
                print(f"make backends: {program} could not be built", file=sys.stderr)
                return False
        out.rename(target)  # whole or not at all
    print(f"Built {backend.name} in {time.monotonic() - began:.0f} s.", flush=True)
    return True


def _go_build(backend: Backend, package: str, binary: Path, log: Path) -> int:
    link = f"-ldflags=-s -w {backend.link}".rstrip()
    command = ["go", "build", "-v", "-trimpath", link, *backend.flags, "-o", str(binary), package]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=backend.module,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _show_progress(process, log, time.monotonic())
    return process.returncode


def _show_progress(process: subprocess.Popen[bytes], log: Path, began: float) -> None:
    while True:
        try:
            process.wait(_EVERY_S)
            return
        except subprocess.TimeoutExpired:
            lines = log.read_text(errors="replace").splitlines()
            compiled = sum(1 for line in lines if not line.startswith("go: "))
            what = f"{compiled} packages compiled" if compiled else "downloading modules"
            print(f"  {time.monotonic() - began:4.0f} s  {what}", flush=True)


def cache_folder() -> Path:
    """Return the folder of this user that keeps what is built or fetched, over all checkouts."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "otel-orchestrator" / "backends"


def _cache_of(backend: Backend) -> Path:
    inputs = hashlib.sha256()
    for path in sorted(backend.module.iterdir()):
        inputs.update(path.name.encode() + b"\0" + path.read_bytes())
    name = f"{backend.name}-{backend.version}-{inputs.hexdigest()[:12]}"
    return cache_folder() / name


def _check_go() -> str | None:
    wanted = ".".join(map(str, _GO_AT_LEAST))
    if shutil.which("go") is None:
        return f"Go {wanted} or newer is needed to build, and there is no go on PATH. Install Go"
    found = re.search(r"go(\d+)\.(\d+)", _says("go", "version"))
    if found is None or (int(found[1]), int(found[2])) < _GO_AT_LEAST:
        return f"Go {wanted} or newer is needed to build; this is {found[0] if found else 'older'}"
    return None


def _says(program: str, argument: str = "--version") -> str:
    try:
        done = subprocess.run(
            [program, argument], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())

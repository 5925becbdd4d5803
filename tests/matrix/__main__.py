"""The supported versions of each library, one at a time beside the newest of all others.

`make test-matrix`, or `make test-matrix MATRIX="openai httpx"` for some of the libraries. The
oldest of all together is `make test-oldest`, the newest `make test-newest`; PYTHON=python3.13
chooses another Python. Each cell has an environment of its own, kept in the cache until the
checkout is another or pyproject.toml asks for something else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..outcomes import read, summary

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "otel-orchestrator"
    / "matrix"
)

GRAPHS: Final = ("tests/langgraph", "tests/langchain", "tests/demo")
CALLS: Final = ("tests/llm/test_sdks.py", "tests/llm/test_leaving.py")
HTTP: Final = (
    *CALLS,
    "tests/llm/test_connections.py",
    "tests/llm/test_phases.py",
    "tests/llm/test_proxies.py",
    "tests/llm/test_whose_http.py",
)
GIT: Final = ("tests/git_processes",)
SDK: Final = (
    "tests/sdk",
    "tests/lifecycle",
    "tests/delivery",
    "tests/secrets",
)
READING: Final = ("tests/reading", "tests/compare", "tests/test_watch.py", "tests/hostile")

LANGCHAIN_OF_OLD_SDKS: Final = ("langchain-openai<1.1", "langchain-anthropic<1.1", "langchain<1.1")


@dataclass(frozen=True, slots=True)
class Cell:
    """One library in one version.

    Attributes:
        library: whose version is chosen.
        wanted: requirements that choose it, and what has to be as old as that.
        tests: those that depend on it.
    """

    library: str
    wanted: tuple[str, ...]
    tests: tuple[str, ...]


def cells() -> tuple[Cell, ...]:
    """Return all of the matrix: the last release of each supported series, and the oldest."""
    oldest = dict(
        line.split("==")
        for line in (ROOT / "tests" / "oldest.txt").read_text().splitlines()
        if "==" in line
    )
    of_otel = tuple(f"{k}=={v}" for k, v in oldest.items() if k.startswith("opentelemetry-"))
    of_reading = tuple(f"{k}=={oldest[k]}" for k in ("click", "rich", "msgspec"))
    return (
        Cell(
            "langgraph",
            # 1.0.10 lets pip take any 1.0 of prebuilt, but from 1.0.9 on that needs LangGraph 1.1.
            ("langgraph>=1.0,<1.1", "langgraph-prebuilt<1.0.9", "langchain<1.3"),
            GRAPHS,
        ),
        Cell("langgraph", ("langgraph>=1.1,<1.2", "langchain<1.3"), GRAPHS),
        Cell("langgraph", ("langgraph>=1.2",), GRAPHS),
        Cell("openai", ("openai>=1,<2", *LANGCHAIN_OF_OLD_SDKS), CALLS),
        Cell("openai", ("openai>=2,<3",), CALLS),
        Cell("openai", ("openai>=3",), CALLS),
        Cell("anthropic", ("anthropic<1", *LANGCHAIN_OF_OLD_SDKS), CALLS),
        Cell("anthropic", ("anthropic>=1,<2",), CALLS),
        Cell("anthropic", ("anthropic>=2",), CALLS),
        # LangGraph's SDK takes no older one. pip takes h11 0.14 for this httpcore and warns: httpx2
        # asks for 0.16, but works with it.
        Cell("httpx", ("httpx==0.25.2", "httpcore==1.0.0"), HTTP),
        Cell("httpx", ("httpx>=0.28",), HTTP),
        Cell("opentelemetry-sdk", of_otel, SDK),
        Cell("opentelemetry-sdk", ("opentelemetry-sdk>=1.45",), SDK),
        Cell("click, rich, msgspec", of_reading, READING),
        Cell("gitpython", ("gitpython==3.1.30",), GIT),
        Cell("gitpython", ("gitpython>=3.1",), GIT),
        Cell("uvloop", ("uvloop==0.21.0",), GIT),
    )


def main() -> int:
    """Run the matrix, or the libraries named; print it as a table; 1 if a cell failed."""
    wanted = set(sys.argv[1:])
    chosen = [c for c in cells() if not wanted or wanted & set(c.library.split(", "))]
    if not chosen:
        names = ", ".join(dict.fromkeys(c.library for c in cells()))
        print(f"no such library in the matrix. It has: {names}", file=sys.stderr)
        return 2
    rows = []
    for number, cell in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {' '.join(cell.wanted)} ...", flush=True)
        rows.append(run(cell))
        print(f"    {rows[-1]}", flush=True)
    print(f"\n| library | version | Python {sys.version.split()[0]} |\n|---|---|---|")
    for row in rows:
        print(f"| {row.library} | {row.version} | {row.outcome} |")
    return 0 if all(row.is_good for row in rows) else 1


@dataclass(frozen=True, slots=True)
class Row:
    """How a cell went."""

    library: str
    version: str
    outcome: str
    is_good: bool

    def __str__(self) -> str:
        return f"{self.library} {self.version}: {self.outcome}"


def run(cell: Cell) -> Row:
    """Install a cell's environment, unless it is there, and run its tests."""
    began = time.monotonic()
    name = "-".join([*cell.wanted, f"py{sys.version_info.major}{sys.version_info.minor}"])
    folder = CACHE / "".join(c if c.isalnum() or c in "-.," else "_" for c in name)[:120]
    python = folder / "bin" / "python"
    complete, origin = folder / ".complete", _origin()
    if not complete.exists() or complete.read_text() != origin:
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
        subprocess.run([*pip, "--editable", ".[demo]", "--group", "dev"], cwd=ROOT, check=True)
        # By itself: the newest that development asks for would forbid what is to be tried.
        done = subprocess.run([*pip, *cell.wanted], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            return Row(cell.library, " ".join(cell.wanted), f"not installed: {said}", False)
        complete.write_text(origin)
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    log = folder / "pytest.log"
    # As .ci/run does it: what fails is run once more and named; what fails twice fails.
    words = ["-q", "-rR", "--reruns", "1", f"--junit-xml={report}", *cell.tests]
    with log.open("wb") as output:
        ended = subprocess.run(
            [str(python), "-m", "pytest", *words], cwd=ROOT, stdout=output, stderr=output
        )
    versions = versions_of(python, cell.library)
    if not report.exists() or ended.returncode not in (0, 1):
        return Row(cell.library, versions, f"pytest did not get through: {log}", False)
    outcomes = read(report)
    for test, outcome in outcomes.items():
        if outcome == "failed":
            print(f"    FAILED {test}", flush=True)
    for line in log.read_text("utf-8", "replace").splitlines():
        if line.startswith("RERUN "):
            print(f"    {line}", flush=True)
    said = f"{summary(outcomes)} ({time.monotonic() - began:.0f} s)"
    endings = set(outcomes.values())
    return Row(cell.library, versions, said, "passed" in endings and "failed" not in endings)


def _origin() -> str:
    """Return what an environment is made from, beside the requirements of its cell."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # The folder, because the package is installed as what lies there now.
    return json.dumps([str(ROOT), told["project"], told["dependency-groups"]])


def versions_of(python: Path, library: str) -> str:
    """Return what is installed of the libraries of a cell."""
    code = (
        "import json, sys; from importlib.metadata import version;"
        " print(json.dumps([version(n) for n in sys.argv[1:]]))"
    )
    done = subprocess.run(
        [str(python), "-c", code, *library.split(", ")], check=True, capture_output=True, text=True
    )
    return ", ".join(json.loads(done.stdout))


if __name__ == "__main__":
    sys.exit(main())

"""LangGraph's own test suite, bare and with `instrument()` active: `make langgraph-suite`.

The suite ships in LangGraph's source distribution. Every test has to end the same way both times;
one that does not is run again alone, because some of them are flaky without us, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-orchestrator" / "suite"
)
REQUIREMENTS: Final = (
    "pytest", "pytest-mock", "pytest-xdist", "pytest-repeat", "pytest-dotenv", "syrupy", "httpx",
    "langchain-core", "langsmith", "langgraph-prebuilt", "langgraph-checkpoint",
    "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "langgraph-sdk",
    "psycopg[binary]", "uvloop", "pycryptodome", "redis", "anyio", "psutil",
)  # fmt: skip
# In the versions of LangGraph's own lock file: its tests compare whole messages and reports, which
# change with these.
PINNED: Final = ("langchain-core", "langsmith", "pytest", "syrupy")
PLUGIN: Final = '''
"""Switch otel-orchestrator on for a pytest session, with a real SDK; raise its own defects."""
import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator
from otel_orchestrator import _guard

made = 0
exported = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exported))
trace.set_tracer_provider(provider)
otel_orchestrator.instrument()
_guard.strict = True

def pytest_runtest_teardown(item):
    global made
    made += len(exported.get_finished_spans())
    exported.clear()

def pytest_sessionfinish(session):
    Path(__file__).with_name(f"spans-{os.getpid()}.txt").write_text(str(made))

def pytest_report_header(config):
    return "otel-orchestrator: instrumented"
'''

Outcomes = dict[str, str]


def main() -> int:
    """Run the suite twice; 1 if any test ends differently."""
    langgraph = version("langgraph")
    with tempfile.TemporaryDirectory(prefix="langgraph-suite-") as temporary:
        folder = unpack(langgraph, Path(temporary))
        python = make_environment(langgraph, locked_versions(folder / "uv.lock"))
        (folder / "otel_orchestrator_suite_plugin.py").write_text(PLUGIN)
        bare = run(python, folder, "bare", [])
        traced = run(python, folder, "instrumented", [])
        spans = sum(int(path.read_text()) for path in folder.glob("spans-*.txt"))
        differing = sorted(t for t in bare.keys() | traced if bare.get(t) != traced.get(t))
        really = [t for t in differing if differs_again(python, folder, t)] if differing else []
    print(f"LangGraph {langgraph}")
    for name, outcomes in (("bare", bare), ("instrumented", traced)):
        print(f"  {name:13} {summary(outcomes)}")
    print(f"  {spans} spans were made")
    for test in differing:
        verdict = "DIFFERS" if test in really else "flaky: the same when run alone"
        print(f"  {verdict}: {test}: {bare.get(test)} bare, {traced.get(test)} instrumented")
    if "passed" not in bare.values() or not spans:
        print("  nothing ran, or nothing was traced: see above")
        return 1
    return 1 if really else 0


def locked_versions(lock: Path) -> dict[str, str]:
    """Return the versions in LangGraph's lock file, by name."""
    packages = tomllib.loads(lock.read_text())["package"]
    return {p["name"]: p["version"] for p in packages if "version" in p}


def make_environment(langgraph: str, locked: dict[str, str]) -> Path:
    """Make a virtual environment with the suite's requirements, once for each version."""
    folder = CACHE / f"langgraph-{langgraph}-py{sys.version_info.major}{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        print(f"Installing what LangGraph {langgraph}'s tests need ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = [f"{r}=={locked[r]}" if r in PINNED else r for r in REQUIREMENTS]
        subprocess.run([*pip, f"langgraph=={langgraph}", *wanted], check=True)
        (folder / ".complete").touch()
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", str(ROOT)], check=True)
    return python


def unpack(langgraph: str, folder: Path) -> Path:
    """Bring LangGraph's source distribution and unpack its tests, without its package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    wanted = ["--no-deps", "--no-binary", "langgraph", f"langgraph=={langgraph}"]
    subprocess.run([*command, *wanted, "--dest", str(folder)], check=True)
    (archive,) = folder.glob("langgraph-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    root = folder / archive.name.removesuffix(".tar.gz")
    (root / "langgraph").rename(root / "not-the-installed-langgraph")
    return root


def run(python: Path, folder: Path, name: str, tests: list[str]) -> Outcomes:
    """Run the suite or some of its tests; return how each test ended."""
    report = folder / f"{name}.xml"
    report.unlink(missing_ok=True)
    plugin = ["-p", "otel_orchestrator_suite_plugin"] if name.startswith("instrumented") else []
    workers = [] if tests else ["-n", str(os.cpu_count() or 1), "--dist", "worksteal"]

    command = [str(python), "-m", "pytest", "-q", *plugin, *workers]
    command += ["-p", "no:cacheprovider", f"--junit-xml={report}", *(tests or ["tests"])]
    began = time.monotonic()
    if not tests:
        print(f"Running the suite {name} ...", flush=True)
    environment = {**os.environ, "NO_DOCKER": "true", "PYTHONPATH": str(folder)}
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=output, check=False
        )
    if not report.exists():
        print(log.read_text(errors="replace")[-3000:])
        return {}
    outcomes = read(report)
    if not tests:
        print(f"  {summary(outcomes)} in {time.monotonic() - began:.0f} s", flush=True)
    return outcomes


def read(report: Path) -> Outcomes:
    """Read a JUnit report: test id to `passed`, `failed`, `skipped`."""
    outcomes: Outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        outcome = "skipped" if "skipped" in kinds else outcome
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes


def differs_again(python: Path, folder: Path, test: str) -> bool:
    """Run one test alone, twice each way; say whether it still ends differently."""
    module, _, name = test.partition("::")
    node = f"{module.replace('.', '/')}.py::{name}"
    endings = {
        kind: {tuple(run(python, folder, f"{kind}-{i}", [node]).values()) for i in range(2)}
        for kind in ("bare", "instrumented")
    }
    return endings["bare"].isdisjoint(endings["instrumented"])


def summary(outcomes: Outcomes) -> str:
    """Return `2941 passed, 43 skipped, 0 failed`."""
    counts = [f"{list(outcomes.values()).count(k)} {k}" for k in ("passed", "skipped", "failed")]
    return ", ".join(counts)


if __name__ == "__main__":
    sys.exit(main())

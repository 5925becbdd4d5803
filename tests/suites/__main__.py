"""Other projects' own tests, bare and with `instrument()` active: `make suites`.

Each suite ships in its project's source distribution. Every test has to end the same way both
times; one that does not is run again alone, because some of them are flaky without us, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from ..outcomes import Outcomes, read, summary

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-orchestrator" / "suite"
)


@dataclass(frozen=True, slots=True)
class Suite:
    """A project's tests.

    Attributes:
        name: of the distribution, which is tested in the version installed here.
        folder: its package in the source distribution, which is not to hide the installed one.
        requirements: what its tests need.
        tests: below the source distribution's root.
        like_its_lock: in the versions of its lock file, because its tests compare whole messages
            and reports, which change with these.
    """

    name: str
    folder: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...]
    like_its_lock: tuple[str, ...] = ()


SUITES: Final = (
    Suite(
        "langgraph",
        "langgraph",
        (
            "pytest", "pytest-mock", "pytest-xdist", "pytest-repeat", "pytest-dotenv", "syrupy",
            "httpx", "langchain-core", "langsmith", "langgraph-prebuilt", "langgraph-checkpoint",
            "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "langgraph-sdk",
            "psycopg[binary]", "uvloop", "pycryptodome", "redis", "anyio", "psutil",
        ),
        ("tests",),
        like_its_lock=("langchain-core", "langsmith", "pytest", "syrupy"),
    ),
    # Its standard tests replay recorded answers, through httpx.
    Suite(
        "langchain-openai",
        "langchain_openai",
        (
            "pytest", "freezegun", "pytest-mock", "syrupy", "pytest-asyncio", "pytest-cov",
            "pytest-retry", "pytest-socket", "pytest-xdist", "vcrpy", "numpy", "langchain",
            "langchain-tests", "azure-identity", "aiohttp", "pillow",
        ),
        ("tests/unit_tests",),
    ),
)  # fmt: skip
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


def main() -> int:
    """Run each suite twice, or those named; 1 if any test ends differently."""
    wanted = sys.argv[1:] or [suite.name for suite in SUITES]
    unknown = set(wanted) - {suite.name for suite in SUITES}
    if unknown:
        print(f"no such suite: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    return max([same_both_ways(suite) for suite in SUITES if suite.name in wanted])


def same_both_ways(suite: Suite) -> int:
    """Run a suite twice; 1 if any test ends differently, or if it showed nothing."""
    its_version = version(suite.name)
    with tempfile.TemporaryDirectory(prefix="suite-") as temporary:
        folder = unpack(suite, its_version, Path(temporary))
        python = make_environment(suite, its_version, locked_versions(folder / "uv.lock"))
        (folder / "otel_orchestrator_suite_plugin.py").write_text(PLUGIN)
        bare = run(python, folder, "bare", suite.tests)
        traced = run(python, folder, "instrumented", suite.tests)
        spans = sum(int(path.read_text()) for path in folder.glob("spans-*.txt"))
        differing = sorted(t for t in bare.keys() | traced if bare.get(t) != traced.get(t))
        really = [t for t in differing if differs_again(python, folder, t)]
    print(f"{suite.name} {its_version}")
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
    """Return the versions in a project's lock file, by name."""
    if not lock.exists():
        return {}
    packages = tomllib.loads(lock.read_text())["package"]
    return {p["name"]: p["version"] for p in packages if "version" in p}


def make_environment(suite: Suite, its_version: str, locked: dict[str, str]) -> Path:
    """Make a virtual environment with a suite's requirements, once for each version."""
    where = f"{suite.name}-{its_version}-py{sys.version_info.major}{sys.version_info.minor}"
    folder = CACHE / where
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (folder / ".complete").exists():
        print(f"Installing what {suite.name} {its_version}'s tests need ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        wanted = [
            f"{r}=={locked[r]}" if r in suite.like_its_lock else r for r in suite.requirements
        ]
        subprocess.run([*pip, f"{suite.name}=={its_version}", *wanted], check=True)
        (folder / ".complete").touch()
    subprocess.run([*pip, "--editable", str(ROOT)], check=True)
    return python


def unpack(suite: Suite, its_version: str, folder: Path) -> Path:
    """Bring a project's source distribution and unpack its tests, without its package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    wanted = ["--no-deps", "--no-binary", suite.name, f"{suite.name}=={its_version}"]
    subprocess.run([*command, *wanted, "--dest", str(folder)], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    root = folder / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(root / suite.folder)
    return root


def run(python: Path, folder: Path, name: str, tests: tuple[str, ...]) -> Outcomes:
    """Run the whole suite on all processors, showing how it went; return how each test ended."""
    print(f"Running the suite {name} ...", flush=True)
    began = time.monotonic()
    workers = ["-n", str(os.cpu_count() or 1), "--dist", "worksteal"]
    outcomes = ended(python, folder, name, *workers, *tests)
    print(f"  {summary(outcomes)} in {time.monotonic() - began:.0f} s", flush=True)
    return outcomes


def ended(python: Path, folder: Path, name: str, *arguments: str) -> Outcomes:
    """Run tests, and say what pytest said if it made no report; return how each test ended."""
    report = folder / f"{name}.xml"
    report.unlink(missing_ok=True)
    plugin = ["-p", "otel_orchestrator_suite_plugin"] if name.startswith("instrumented") else []
    command = [str(python), "-m", "pytest", "-q", *plugin, "-p", "no:cacheprovider"]
    command += [f"--junit-xml={report}", *arguments]
    environment = {**os.environ, "NO_DOCKER": "true", "PYTHONPATH": str(folder)}
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=output, check=False
        )
    if not report.exists():
        print(log.read_text(errors="replace")[-3000:])
        return {}
    return read(report)


def differs_again(python: Path, folder: Path, test: str) -> bool:
    """Run one test alone, twice each way; say whether it still ends differently."""
    node = node_of(folder, test)
    endings = {
        kind: {tuple(ended(python, folder, f"{kind}-{i}", node).values()) for i in range(2)}
        for kind in ("bare", "instrumented")
    }
    return endings["bare"].isdisjoint(endings["instrumented"])


def node_of(folder: Path, test: str) -> str:
    """Return what pytest calls a test that its report calls `tests.test_it.TestIt::test_that`."""
    home, _, name = test.partition("::")
    module = Path(*home.split("."))
    classes: list[str] = []
    while not (folder / module).with_suffix(".py").exists() and module.name:
        module, classes = module.parent, [module.name, *classes]
    return "::".join([f"{module}.py", *classes, name])


if __name__ == "__main__":
    sys.exit(main())

"""Programs that have `otel`, each in a process of its own: providers are global."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from otel_orchestrator.sources.runfiles import find_run, read_run

RUN = """
    with otel.run("r"):
        with otel.node("n"):
            pass
"""


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has `otel`; its run files go to `folder`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    program = "import otel_orchestrator as otel\n" + textwrap.dedent(code)
    # From Python 3.12 on, a fork is warned of wherever threads run, and tracing has some.
    no_warnings = ["-W", "ignore:This process:DeprecationWarning"]
    return subprocess.run(
        [sys.executable, *no_warnings, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(folder), **environment},
    )


def resource_of(folder: Path) -> Any:
    return read_run(find_run(None, folder)).resource


APP = """
import subprocess, sys
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    n: int

def work(state):
    subprocess.run(["git", "--version"], capture_output=True)
    subprocess.run([sys.executable, "-c", "import sys; print('otel_orchestrator' in sys.modules)"])
    return {"n": 1}

graph = StateGraph(State)
graph.add_node("work", work)
graph.add_edge(START, "work")
print(graph.compile(name="app").invoke({"n": 0}), sys.argv[1:], flush=True)
"""


def run_app(tmp_path: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "app.py").write_text(APP)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    bin_folder = str(Path(sys.executable).parent)
    return subprocess.run(
        command,
        # A shell has those that it starts in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            **clean,
            "PATH": f"{bin_folder}{os.pathsep}{clean['PATH']}",
            "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path / "runs"),
            **environment,
        },
    )

"""Every file and folder that is written is private to its user, whatever the umask says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otel_orchestrator.private import make_folder, open_file

# Run files, a ledger and a sign of life, an interrupted run, the events of a git that goes on, and
# metrics that nobody took.
PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from typing import TypedDict

os.umask(int(sys.argv[1], 8))

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
import otel_orchestrator as otel

def listing():
    for folder in sys.argv[2:]:
        for path in [Path(folder), *Path(folder).rglob("*")]:
            print(f"{path.stat().st_mode:o} {path}")

class State(TypedDict):
    x: int

def ask(state: State) -> State:
    interrupt("?")
    return state

otel.configure("private")
otel.instrument(git_trace2=True)
builder = StateGraph(State)
builder.add_node("ask", ask)
builder.add_edge(START, "ask")
builder.add_edge("ask", END)
graph = builder.compile(checkpointer=InMemorySaver())
graph.invoke({"x": 1}, {"configurable": {"thread_id": "1"}})
with otel.run("open"):
    git = subprocess.Popen(["git", "hash-object", "--stdin"], stdin=subprocess.PIPE)
    time.sleep(1.2)
    listing()
    git.communicate(b"x")
otel.shutdown()
listing()
"""


@pytest.mark.parametrize("umask", ["000", "022", "077", "777"])
def test_whatever_is_written_is_private(tmp_path: Path, umask: str) -> None:
    runs, temporary = tmp_path / "new" / "deep" / "runs", tmp_path / "temporary"
    temporary.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), umask, str(tmp_path / "new"), temporary],
        env={
            **clean,
            "OTEL_ORCHESTRATOR_RUN_DIR": str(runs),
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "TMPDIR": str(temporary),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen = {path: int(mode, 8) for mode, _, path in (s.partition(" ") for s in _lines(done))}
    ours = {path: mode for path, mode in seen.items() if path != str(temporary)}
    # What git writes has git's mode, in a folder that nobody else can enter.
    for path, mode in ours.items():
        wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
        if stat.S_ISDIR(mode) or "trace2" not in path or path.endswith(".lock"):
            assert stat.S_IMODE(mode) == wanted, f"{path} {mode:o}"
    kinds = {Path(path).suffix or Path(path).name for path in ours}
    assert {".jsonl", ".sent", ".alive", ".gitignore", ".json", "interrupted"} <= kinds
    assert any("trace2" in path for path in ours)


def _lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if "/" in line]


def test_a_file_that_others_could_read_is_private_again(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("x")
    path.chmod(0o644)
    os.close(open_file(path, os.O_RDWR))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_of_the_users_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        make_folder(tmp_path / "file")

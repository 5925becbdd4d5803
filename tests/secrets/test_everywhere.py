"""Secrets of every kind are put everywhere in a real program; no byte that leaves it has one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .. import llm_server
from ..delivery.receiver import Receiver, receiving
from . import planted

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "otel_orchestrator.cli"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver(signals="traces metrics")) as up:
        yield up


def outputs(
    receiver: Receiver, tmp_path: Path, patch: pytest.MonkeyPatch, redact: str
) -> Mapping[str, bytes]:
    """Run the program, and every command on what it left; return all that was written and sent."""
    patch.setattr(llm_server, "SECRET_ANSWER", planted.text("answer"))
    runs, work = tmp_path / "runs", tmp_path / "work"
    work.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment = {
        **clean,
        **receiver.environment,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "20",
        "OTEL_ORCHESTRATOR_RUN_DIR": str(runs),
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": ".*",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE": ".*",
        "OTEL_RESOURCE_ATTRIBUTES": "note=" + planted.words("resource")[0] + ",db.password=a%20b",
        "GIT_TERMINAL_PROMPT": "0",
        "PYTHONPATH": str(ROOT),
    }
    with llm_server.serving() as llm:
        llm.error_message = planted.text("error of the model")
        llm.replies[:] = [llm_server.Reply(), llm_server.Reply(), llm_server.Reply(status=400)]
        arguments = ["-m", "tests.secrets.program", llm.url, str(work), redact]
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=work, capture_output=True
        )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    every = {"stdout": done.stdout, "stderr": done.stderr, "OTLP": b"".join(receiver.bodies)}
    for path in runs.rglob("*"):
        if path.is_file():
            every[path.name] = path.name.encode() + path.read_bytes()
    (run,) = [path for path in runs.glob("*.jsonl") if not path.name.startswith("process")]
    for name, words in {
        "report": ["report", "--all", "--explain"],
        "JSON": ["report", "--format", "json"],
        "page": ["report", "--html", "--output", str(tmp_path / "x.html")],
        "Perfetto": ["report", "--format", "perfetto", "--output", str(tmp_path / "x.pftrace")],
        "compare": ["compare", str(run), "--with", str(run)],
        "runs": ["runs", "--dir", str(runs)],
        "watch": ["watch", "--once"],
    }.items():
        target = [] if name in ("runs", "compare") else [str(run)]
        told = subprocess.run([*COMMAND, *words, *target], capture_output=True)
        assert told.returncode == (2 if name == "compare" else 0), told.stderr.decode()
        every[name] = told.stdout + told.stderr
        if "--output" in words:
            every[name] += Path(words[-1]).read_bytes()
    return every


def test_no_secret_is_in_any_byte(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = outputs(receiver, tmp_path, monkeypatch, "redact")
    assert {
        name: planted.found_in(data) for name, data in every.items() if planted.found_in(data)
    } == {}
    # What stands beside the secrets is still there, so these places were recorded.
    for name in ("stdout", "OTLP", "report", "page", "Perfetto", "JSON"):
        assert planted.MARKER.encode() in every[name], name
    assert b"[redacted]" in every["OTLP"]


def test_without_redaction_they_are_found(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = outputs(receiver, tmp_path, monkeypatch, "leak")
    found = {name: planted.found_in(data) for name, data in every.items()}
    places = {one.rpartition(" in ")[2] for names in found.values() for one in names}
    assert len(places) >= 15, sorted(places)
    assert {one.rpartition(" in ")[0] for one in found["OTLP"]} == set(planted.KINDS)
    for name in ("stdout", "stderr", "OTLP", "report", "page", "Perfetto", "JSON"):
        assert found[name], name

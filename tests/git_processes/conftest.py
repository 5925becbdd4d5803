"""A real repository to work on, and the instrumentor switched on for one test."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.git import GitInstrumentor

from .ways import AS, plain


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository `project` with one commit on `main`."""
    root = tmp_path / "project"
    root.mkdir()
    plain("init", "-q", "-b", "main", cwd=root)
    (root / "file").write_text("one\n")
    plain("add", ".", cwd=root)
    plain(*AS, "commit", "-qm", "first", cwd=root)
    return root


@pytest.fixture
def traced(repository: Path, exported: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """Switch the instrumentor on; whatever happens, off again."""
    GitInstrumentor().instrument()
    yield exported
    if GitInstrumentor().is_instrumented_by_opentelemetry:
        GitInstrumentor().uninstrument()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty at first."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def inside(
    repository: Path, exported: InMemorySpanExporter, temporary: Path
) -> Iterator[InMemorySpanExporter]:
    """Switch on Trace2, for hooks and processes only; afterwards nothing is left."""
    GitInstrumentor().instrument(git_trace2=True, git_trace2_threshold_s=3600)
    yield exported
    if GitInstrumentor().is_instrumented_by_opentelemetry:
        GitInstrumentor().uninstrument()
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of 10 000 files in 100 folders, without a worktree."""
    root = tmp_path_factory.mktemp("large") / "large.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(root)], check=True)
    lines = ["commit refs/heads/main", "committer n <e@localhost> 0 +0000", "data 1", "x"]
    for i in range(10_000):
        lines += [f"M 100644 inline d{i % 100}/f{i}", "data 1", str(i % 10)]
    stream = "\n".join(lines) + "\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input=stream.encode(), check=True)
    return root

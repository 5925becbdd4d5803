"""The workflow in the docs: its steps are run, and fail a pull request that makes things slower."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs" / "compare.md"
APP = """
import time

import otel_orchestrator as otel

with otel.run("shop"), otel.node("worker"):
    for _ in range(3):
        with otel.llm_call("m", provider="p"):
            time.sleep({seconds})
"""


def steps() -> dict[str, str]:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    found: list[dict[str, Any]] = yaml.safe_load(text)["jobs"]["compare"]["steps"]
    return {step["name"]: step["run"] for step in found if "run" in step}


@pytest.mark.timeout(600)  # ten programs start, one after the other
def test_a_slower_pull_request_fails_and_one_that_undoes_it_does_not(tmp_path: Path) -> None:
    for side, pause in (("base", 0.1), ("candidate", 0.3)):
        (tmp_path / side).mkdir()
        (tmp_path / side / "app.py").write_text(APP.format(seconds=pause))
        # What the step Install would have made.
        (tmp_path / side / ".venv").symlink_to(sys.prefix)
    summary = tmp_path / "summary"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment |= {"GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}
    commands = steps()
    assert list(commands) == ["Install", "Run both, in turns", "Compare", "Show it in the summary"]

    def run(step: str) -> int:
        return subprocess.run(
            ["bash", "-e", "-c", commands[step]], cwd=tmp_path, env=environment, check=False
        ).returncode

    assert run("Run both, in turns") == 0
    assert run("Compare") == 1
    assert run("Show it in the summary") == 0
    told = summary.read_text("utf-8")
    assert "before: 5 runs (base) · after: 5 runs (candidate)" in told
    assert "Slower LLM calls: 3 → 3 calls" in told
    failures = ElementTree.parse(tmp_path / "compare.xml").getroot().get("failures")
    assert failures in {"1", "2"}

    for name in ("compare.md", "compare.xml"):
        (tmp_path / name).unlink()
    runs = tmp_path / "runs"
    (runs / "base").rename(runs / "other")
    (runs / "candidate").rename(runs / "base")
    (runs / "other").rename(runs / "candidate")
    assert run("Compare") == 0

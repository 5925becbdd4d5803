"""What the tests of git's inside do over and over: hooks, commits, checking that it adds up."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from otel_orchestrator.lifecycle import spans as our_spans
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of
from .ways import AS


def hook(repository: Path, name: str, script: str) -> None:
    file = repository / ".git" / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def ended() -> None:
    """Make the spans that are still to be made."""
    our_spans.make_late_spans()


def commit(root: Path, *options: str, **named: Any) -> int:
    words = ["git", *AS, "commit", "--allow-empty", "-qm", "x", *options]
    return subprocess.run(words, cwd=root, capture_output=True, **named).returncode


def check_sums(spans: Sequence[ReadableSpan]) -> None:
    """Children lie within their parents; siblings that follow on each other do not touch."""
    by_id = {s.context.span_id: s for s in spans if s.context}
    below: dict[int, list[ReadableSpan]] = {}
    for span in spans:
        if Attr.GIT_PART not in attributes_of(span):
            continue
        assert span.parent is not None
        parent = by_id[span.parent.span_id]
        below.setdefault(span.parent.span_id, []).append(span)
        assert attributes_of(span)[Attr.STATE] == "working"
        assert attributes_of(span)[Attr.CATEGORY] == "git"
        assert attributes_of(span).get(Attr.RUN_ID) == attributes_of(parent).get(Attr.RUN_ID)
        assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time  # type: ignore[operator]
    for siblings in below.values():
        siblings.sort(key=lambda s: s.start_time or 0)
        for one, next_one in pairwise(siblings):
            assert (next_one.start_time or 0) - (one.end_time or 0) not in range(1000)

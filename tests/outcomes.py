"""How tests ended that ran in an environment of their own, read from their JUnit report."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

Outcomes = dict[str, str]


def read(report: Path) -> Outcomes:
    """Read a JUnit report: test id to `passed`, `failed`, `skipped`."""
    outcomes: Outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        outcome = "skipped" if "skipped" in kinds else outcome
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes


def summary(outcomes: Outcomes) -> str:
    """Return `2941 passed, 43 skipped, 0 failed`."""
    counts = [f"{list(outcomes.values()).count(k)} {k}" for k in ("passed", "skipped", "failed")]
    return ", ".join(counts)

"""What these tests need of the machine; where it is missing they skip, and in CI they fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def missing(what: str) -> None:
    """Skip the test, in one line; fail it where nothing may be missing."""
    if os.environ.get("OTEL_ORCHESTRATOR_REQUIRE_BACKENDS"):
        pytest.fail(what)
    pytest.skip(what)


def program(name: str, package: str) -> str:
    """Return where a program is."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))
    if found is None:
        missing(f"{name} is missing. Type: apt-get install {package}")
    return str(found)


def root() -> None:
    """The test makes network namespaces."""
    if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists():
        missing("two network namespaces take root, on Linux")

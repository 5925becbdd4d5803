"""Groups of run files: candidates that are slower, and that are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from .commands import write_groups


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slower")
    write_groups(folder, 1.5)
    return folder


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    write_groups(folder, 1.0)
    return folder

"""The command line, when something goes wrong that nobody foresaw."""

from __future__ import annotations

import sys

import pytest

from otel_orchestrator import cli
from otel_orchestrator.cli import runs


def test_a_mistake_of_ours_is_shown_and_says_nothing_of_a_regression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(runs, "list_runs", broken)
    monkeypatch.setattr(sys, "argv", ["otel-orchestrator", "runs"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "KeyError: 'ours'" in capsys.readouterr().err

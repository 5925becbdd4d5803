"""What `instrument()` is given: what is of the wrong kind is said, and nothing is replaced."""

from __future__ import annotations

from typing import Any

import pytest

import otel_orchestrator as otel
from otel_orchestrator.errors import OrchestratorError
from otel_orchestrator.instrumentors import _ENTRIES
from otel_orchestrator.instrumentors._options import _WANTED


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": "langgraph"}, "instrument(only='langgraph'): give a list"),
        ({"loop_head": 3}, "(loop_head=3): give a node's name"),
        ({"agents": "coder"}, "(agents='coder'): give a list of names"),
        ({"agent_steps": "yes"}, "(agent_steps='yes'): give True or False"),
        ({"wait_threshold_s": "1"}, "(wait_threshold_s='1'): give seconds"),
        ({"wait_threshold_s": -1}, "(wait_threshold_s=-1): give seconds"),
        ({"tasks_key": 3}, "(tasks_key=3): give a key of the graph's state"),
        ({"task_fields": {"id": "key"}}, "(task_fields={'id': 'key'}): give TaskFields"),
        ({"git_trace2": "on"}, "(git_trace2='on'): give True or False"),
        ({"capture_content": "no"}, "(capture_content='no'): give True or False"),
        ({"content_max_bytes": -3}, "(content_max_bytes=-3): give a number of bytes"),
        ({"prices": 3}, "(prices=3): give a dictionary"),
    ],
)
def test_an_option_of_the_wrong_kind_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OrchestratorError) as raised:
        otel.instrument(**options)
    assert said in str(raised.value)


def test_every_option_of_ours_is_looked_at() -> None:
    ours = frozenset().union(*(entry.options for entry in _ENTRIES.values()))
    assert ours - set(_WANTED) == {"redact"}, "which is looked at where it is used"
    assert set(_WANTED) < ours

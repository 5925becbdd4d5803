"""What `instrument()` is given, checked before anything is replaced.

What is of the wrong kind would match nothing, or mean something else: of `agents="coder"` each
letter would be a name, and `capture_content="no"` would record prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ..errors import OrchestratorError
from ..queue.fields import TaskFields


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def is_of_names(value: Any) -> bool:
    """Whether these are names, and not one of them."""
    return not isinstance(value, str | bytes) and isinstance(value, Collection)


_BOOL: Final = (_is_bool, "True or False")
_SECONDS: Final = (_is_amount, "seconds, such as 0.001")
_WANTED: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "loop_head": (
        lambda v: v is None or isinstance(v, str | Mapping),
        "a node's name, or a dictionary from graph to node",
    ),
    "agents": (is_of_names, 'a list of names, such as ["coder"]'),
    "agent_steps": _BOOL,
    "runs_in_checkpoints": _BOOL,
    "wait_threshold_s": _SECONDS,
    "tasks_key": (lambda v: v is None or isinstance(v, str), "a key of the graph's state"),
    "task_fields": (
        lambda v: v is None or isinstance(v, TaskFields),
        'TaskFields, such as otel_orchestrator.TaskFields(id="key")',
    ),
    "git_trace2": (lambda v: v is None or _is_bool(v), _BOOL[1]),
    "git_trace2_threshold_s": _SECONDS,
    "capture_content": (lambda v: v is None or _is_bool(v), _BOOL[1]),
    "content_max_bytes": (lambda v: v is None or _is_amount(v), "a number of bytes"),
    "prices": (
        lambda v: v is None or isinstance(v, Mapping),
        'a dictionary, such as {"gpt-4o": {"input": 2.50, "output": 10.0}}',
    ),
}


def check_kinds(options: Mapping[str, Any]) -> None:
    """Refuse what makes no sense.

    Raises:
        OrchestratorError: which option, and what to type.
    """
    for name, value in options.items():
        is_wanted, what = _WANTED.get(name, (lambda _: True, ""))
        if not is_wanted(value):
            raise OrchestratorError(f"instrument({name}={value!r}): give {what}")

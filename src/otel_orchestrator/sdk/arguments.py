"""What `configure()` is given, checked before anything is set up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import OrchestratorError


def check(given: Mapping[str, Any]) -> None:
    """Refuse what makes no sense.

    Raises:
        OrchestratorError: which argument, and what to type.
    """
    attributes = given["attributes"]
    for name in ("service_name", "label"):
        value = given[name]
        if value is not None and not isinstance(value, str):
            what = name.replace("_", " ")
            raise OrchestratorError(f"configure({name}={value!r}): the {what} has to be a string")
    if attributes is not None and not isinstance(attributes, Mapping):
        raise OrchestratorError(
            f"configure(attributes={attributes!r}): give a dictionary, such as"
            ' attributes={"deployment.environment.name": "staging"}'
        )
    # Nothing means "no limit" here: with 0, every run would be removed when the next one starts.
    for name in ("keep_runs", "max_run_file_bytes"):
        value = given[name]
        is_whole = isinstance(value, int | float) and value == value // 1  # 1e9, too
        if isinstance(value, bool) or not is_whole or value < 1:
            raise OrchestratorError(
                f"configure({name}={value!r}): give a whole number from 1 on, such as"
                f" {name}=1_000_000"
            )

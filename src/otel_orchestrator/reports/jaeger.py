"""The addresses of what a Jaeger shows."""

from __future__ import annotations

import re
from typing import Final

_ID: Final = re.compile("[0-9a-fA-F]+")
"""Files say what they like: whatever else they call an id leads nowhere, or elsewhere."""


def span_address(jaeger_url: str, trace_id: str, span_id: str) -> str | None:
    """Return where a span is shown in its trace; None where these are no ids."""
    if not _are_ids(trace_id, span_id):
        return None
    return f"{jaeger_url}/trace/{trace_id}?uiFind={span_id}"


def pair_address(jaeger_url: str, base_id: str, candidate_id: str) -> str | None:
    """Return where two traces are shown compared; None where these are no ids."""
    if not _are_ids(base_id, candidate_id):
        return None
    return f"{jaeger_url}/trace/{base_id}...{candidate_id}"


def _are_ids(*texts: str) -> bool:
    return all(map(_ID.fullmatch, texts))

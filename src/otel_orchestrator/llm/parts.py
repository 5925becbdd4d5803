"""Parts of what is sent and answered, which are an SDK's objects or decoded JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get(item: Any, name: str) -> Any:
    """Return a part of an item; None if it has no such part."""
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)

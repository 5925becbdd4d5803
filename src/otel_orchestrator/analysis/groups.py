"""Putting like to like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

_T = TypeVar("_T")
_Key = TypeVar("_Key", bound=Hashable)


def grouped(items: Iterable[_T], key: Callable[[_T], _Key]) -> Mapping[_Key, list[_T]]:
    """Return items by what they have in common, groups and items in the order of the items."""
    groups: defaultdict[_Key, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups

"""Programs that pass a place where ours stands in for somebody's function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Program = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Group:
    """What is broken together.

    Attributes:
        programs: by name.
        only: what to instrument; nothing for what needs none.
        options: how.
        begin, end: around each run of a program with us, in place of `instrument()`.
        besides: modules that another group is about.
        own_spans: these programs make spans of their own, which a broken SDK breaks without us.
    """

    programs: dict[str, Program]
    only: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    begin: Callable[[], None] = lambda: None
    end: Callable[[], None] = lambda: None
    besides: frozenset[str] = frozenset()
    own_spans: frozenset[str] = frozenset()

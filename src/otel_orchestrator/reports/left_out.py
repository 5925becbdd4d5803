"""What reports with every attribute of a span leave out: it may be as large as all the rest."""

from __future__ import annotations

from typing import Final

from ..semconv import Attr

MESSAGES: Final = frozenset({Attr.INPUT_MESSAGES, Attr.OUTPUT_MESSAGES, Attr.SYSTEM_INSTRUCTIONS})
LONGEST: Final = 2_000
"""Longer texts are cut to so many characters."""

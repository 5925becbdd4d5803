"""What stdout shows: colours, and how many columns."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

_PIPED_WIDTH: Final = 100


def is_coloured() -> bool:
    """Whether what is printed may have colours: in a terminal, unless `NO_COLOR` is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def report_width() -> int:
    """Return the columns that a report has: the terminal's, or enough for a file."""
    return shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns

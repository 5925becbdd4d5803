"""What a line of a run file says besides OTLP: under `runFile`, which OTLP readers ignore."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Goes up when a reader has to know that something is another way than before."""
UNSENT: Final = "metrics"
"""What `unsent` says of a line with metrics that the endpoint did not take."""

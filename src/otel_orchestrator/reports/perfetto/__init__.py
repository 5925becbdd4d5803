"""The run as a trace of Perfetto: a track for each worker slot and task, flows, counters.

https://perfetto.dev/docs/reference/synthetic-track-event
"""

from __future__ import annotations

from ...analysis.study import Study
from .trace import encode
from .tracks import flows_of, tracks_of


def render(study: Study) -> bytes:
    """Return the trace as protocol buffers, which https://ui.perfetto.dev opens.

    Raises:
        MissingLibraryError: the library that writes it is missing.
    """
    return encode(study.run, tracks_of(study), flows_of(study))

"""What a job did, added up: all that is to be known of what is below it."""

from __future__ import annotations

from msgspec import Struct

from .calls import JobCalls
from .tally import Breakdown


class Did(Struct, frozen=True, gc=False, array_like=True):
    """What a job did.

    Attributes:
        served: from its start to its end, while it had a slot.
        scheduled: from the moment it was scheduled to its barrier.
        calls: what it called.
    """

    served: Breakdown
    scheduled: Breakdown
    calls: JobCalls

"""What says which run a span belongs to stays with it, however many attributes it has.

Of more attributes than its limit, which is 128, the SDK drops the oldest: those that a span begins
with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan

from ..semconv import Attr

_MARKS: Final = (Attr.RUN_ID, Attr.STATE, Attr.CATEGORY)


def with_marks(span: ReadableSpan, at_start: Mapping[str, Any]) -> ReadableSpan:
    """Return a span with those of its marks that were dropped; nearly always the very same one.

    Args:
        span: the span now.
        at_start: the attributes that it began with.
    """
    if not span.dropped_attributes:
        return span
    attributes = span.attributes or {}
    lost = {key: at_start[key] for key in _MARKS if key in at_start and key not in attributes}
    if not lost:
        return span
    kept = BoundedAttributes(attributes={**attributes, **lost})
    kept.dropped = span.dropped_attributes - len(lost)
    marked = copy.copy(span)  # a new one would lose how many events and links were dropped
    marked._attributes = kept
    return marked

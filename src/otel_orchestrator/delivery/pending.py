"""A span that stands for one which is still open: stores cannot change a span once they have it.

It has no length, an id of its own, and the parent of the one it stands for, so that it takes
nothing from anybody's time and is on nobody's critical path.
"""

from __future__ import annotations

import random

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from ..semconv import PENDING, Attr


def pending(span: ReadableSpan) -> ReadableSpan:
    """Return what is sent of an open span while it runs."""
    context = span.get_span_context() or INVALID_SPAN_CONTEXT
    return ReadableSpan(
        name=f"{PENDING} {span.name}",
        context=SpanContext(
            context.trace_id,
            random.getrandbits(64) or 1,
            is_remote=False,
            trace_flags=context.trace_flags,
            trace_state=context.trace_state,
        ),
        parent=span.parent,
        resource=span.resource,
        attributes={**(span.attributes or {}), Attr.PENDING: f"{context.span_id:016x}"},
        kind=span.kind,
        start_time=span.start_time,
        end_time=span.start_time,
        instrumentation_scope=span.instrumentation_scope,
    )

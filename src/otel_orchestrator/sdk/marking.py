"""The span processor that marks spans of other instrumentations as work, and as part of a run."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Span, SpanProcessor

from .. import runs, semconv
from .._guard import guarded
from ..llm import chat
from ..semconv import Attr


class MarkingProcessor(SpanProcessor):
    """Marks spans of other instrumentations as work, and as part of their run."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add what every span of a run carries, where it is missing."""
        with guarded("marking a span"):
            attributes = span.attributes or {}
            if Attr.STATE not in attributes:
                span.set_attribute(Attr.STATE, semconv.WORKING)
                span.set_attribute(Attr.CATEGORY, _category(attributes, parent_context))
            if Attr.RUN_ID not in attributes:
                # Not what the process inherited: without a parent it is in a trace of its own.
                # An empty context, as a span without a parent is given, is false, and is one.
                context = get_current() if parent_context is None else parent_context
                run_id = runs.run_id_of(context)
                if run_id is not None:
                    span.set_attribute(Attr.RUN_ID, run_id)


def _category(attributes: Mapping[str, object], parent: Context | None) -> str:
    if Attr.OPERATION in attributes:
        return semconv.TOOL if attributes[Attr.OPERATION] == "execute_tool" else semconv.LLM
    if semconv.is_http(attributes):
        return chat.category_of_http(parent)
    return semconv.COMPUTE

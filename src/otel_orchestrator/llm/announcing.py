"""Tells other instrumentations in their own words that a call has its span already."""

from __future__ import annotations

import sys
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context

# How OpenLLMetry's instrumentations hear that a call has its span.
_OPENLLMETRY_KEY: Final = "suppress_language_model_instrumentation"


def announced(context: Context) -> Context:
    """Return `context`, in which other instrumentations make no second span for the call."""
    context = otel_context.set_value(_OPENLLMETRY_KEY, True, context)
    # OpenTelemetry's own have an object for it; the module is there if one of them is.
    theirs = sys.modules.get("opentelemetry.util.genai.invocation")
    key = getattr(theirs, "CLIENT_INFERENCE_CONTEXT_KEY", None)
    make_data = getattr(theirs, "InferenceData", None)
    if key is not None and make_data is not None:
        context = otel_context.set_value(key, make_data(), context)
    return context

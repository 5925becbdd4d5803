"""Span trees as text, for tests that compare a whole tree at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from otel_orchestrator.semconv import Attr


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes as a plain dict."""
    return dict(span.attributes or {})


def tree(spans: Iterable[ReadableSpan], *, show: Sequence[str] = (), waits: bool = False) -> str:
    """Draw spans as an indented tree, children by start time.

    An outcome other than `ok` stands behind the name, as do the attributes named in `show`.
    Waits are left out unless asked for: which of them are long enough to be spans is chance.
    """
    kept = [s for s in spans if waits or (s.attributes or {}).get(Attr.STATE) != "waiting"]
    ids = {s.context.span_id for s in kept if s.context}
    children: dict[int | None, list[ReadableSpan]] = {}
    for span in kept:
        parent = span.parent.span_id if span.parent else None
        key = parent if parent in ids else None
        children.setdefault(key, []).append(span)
    lines: list[str] = []
    stack = [(s, 0) for s in reversed(_ordered(children.get(None, [])))]
    while stack:
        span, depth = stack.pop()
        lines.append("  " * depth + _label(span, show))
        assert span.context is not None
        below = children.get(span.context.span_id, [])
        stack.extend((s, depth + 1) for s in reversed(_ordered(below)))
    return "\n".join(lines)


def _ordered(spans: list[ReadableSpan]) -> list[ReadableSpan]:
    # Parallel siblings start in any order, so those of one kind are drawn by name.
    return sorted(spans, key=lambda s: (_start_or_zero(s, spans), s.name, s.start_time or 0))


def _start_or_zero(span: ReadableSpan, siblings: list[ReadableSpan]) -> int:
    overlapping = [
        s.start_time or 0
        for s in siblings
        if (s.start_time or 0) < (span.end_time or 0) and (span.start_time or 0) < (s.end_time or 0)
    ]
    return min([span.start_time or 0, *overlapping])


def _label(span: ReadableSpan, show: Sequence[str]) -> str:
    attributes = attributes_of(span)
    outcome = attributes.get(Attr.OUTCOME, "ok")
    label = span.name if outcome == "ok" else f"{span.name} [{outcome}]"
    shown = [f"{key.rsplit('.', 1)[-1]}={attributes[key]}" for key in show if key in attributes]
    return " ".join([label, *shown])

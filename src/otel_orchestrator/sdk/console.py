"""Live lines on the terminal: what each task, node, call and loop took, and the queue."""

from __future__ import annotations

import sys
from collections.abc import Callable

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from .. import redaction, semconv
from .._guard import guarded
from ..queue.gauges import QueueChange
from ..semconv import Attr


class ConsoleProcessor(SpanProcessor):
    """Prints a line for each ended task, node, LLM call, git command and loop."""

    def on_end(self, span: ReadableSpan) -> None:
        """Print the line for a span, if it is of a kind that has one."""
        with guarded("printing a live line"):
            kind = span.name.partition(" ")[0]
            describe = _LINES.get(kind)
            if Attr.GIT_PART in (span.attributes or {}):
                return  # it is made after the git command that it is a part of
            if describe is not None and span.end_time is not None and span.start_time is not None:
                _print(describe(span, (span.end_time - span.start_time) / 1e9))


def print_queue(change: QueueChange) -> None:
    """Print the line for a change of the queue."""
    _print(f"📈 Queue: {change.ready} ready, {change.active} active, {change.waiting} waiting")


def _task(span: ReadableSpan, seconds: float) -> str:
    attributes = span.attributes or {}
    name = str(attributes.get(Attr.TASK_ID) or attributes.get(Attr.TASK_NAME) or "")
    return f"  ⏱️  Task {name[:24]} {_ended(span)} in {seconds:.1f}s"


def _node(span: ReadableSpan, seconds: float) -> str:
    attributes = span.attributes or {}
    # A task's own line comes later, at its superstep's barrier.
    task = f" for task {str(attributes[Attr.TASK_ID])[:24]}" if Attr.TASK_ID in attributes else ""
    return f"📊 Node '{attributes.get(Attr.NODE_NAME)}' took {seconds:.2f}s{task}"


def _llm(_: ReadableSpan, seconds: float) -> str:
    return f"  🤖 LLM responded in {seconds * 1000:.0f}ms"


def _git(span: ReadableSpan, seconds: float) -> str:
    return f"  🌿 {span.name} took {seconds:.2f}s"


def _loop(span: ReadableSpan, seconds: float) -> str:
    index = (span.attributes or {}).get(Attr.LOOP_INDEX, 0)
    return f"🔁 Graph loop iteration {index}: {seconds:.1f}s"


def _ended(span: ReadableSpan) -> str:
    outcome = (span.attributes or {}).get(Attr.OUTCOME, semconv.OK)
    return "completed" if outcome == semconv.OK else f"ended ({outcome})"


_LINES: dict[str, Callable[[ReadableSpan, float], str]] = {
    semconv.TASK: _task,
    semconv.NODE: _node,
    semconv.CHAT: _llm,
    semconv.GIT: _git,
    semconv.LOOP: _loop,
}


def _print(line: str) -> None:
    line, stream = redaction.text(line), sys.stdout
    try:
        print(line, file=stream, flush=True)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        print(line.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except (OSError, ValueError):
        return  # a closed terminal is none of the program's business

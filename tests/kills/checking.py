"""Count: what was promised against what is stored and what was received.

Spans are counted by the serial number that the program gave them, so that one that came under two
ids counts as two.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # no stubs
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from otel_orchestrator.model import Span
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.gathering import runs_in
from otel_orchestrator.sources.lines import told_in
from otel_orchestrator.sources.runfiles import list_runs, read_run

from .program import SERIAL

PROMISED_NS = 1_000_000_000
"""What ended, or started, so long before a kill is in the run file."""
AGE_ERROR_NS = 1_000_000_000
LOOKED_AT_NS = 3_000_000_000


@dataclass(frozen=True)
class Truth:
    """What a program did: instants by serial number.

    Attributes:
        beats: instants at which a thread of it ran that does nothing but that, again and again.
    """

    started: dict[str, int]
    ended: dict[str, int]
    beats: list[int] = field(default_factory=list)

    def starved_ns(self, until_ns: int) -> int:
        """How long, at most, the machine gave it no time just before an instant."""
        beats = [at for at in self.beats if until_ns - LOOKED_AT_NS < at < until_ns]
        gaps = [b - a for a, b in pairwise([*beats, until_ns])]
        return max(gaps, default=0)


def truth_in(path: Path) -> Truth:
    truth = Truth({}, {})
    for line in path.read_text().splitlines():
        what, serial, at = line.split()
        if what == "beat":
            truth.beats.append(int(at))
            continue
        (truth.started if what == "start" else truth.ended)[serial] = int(at)
    return truth


def stored_in(folder: Path) -> list[Span]:
    """Every span of every run file, as our decoder has it."""
    if not has_lines(folder):
        return []  # killed before anything was written whole
    files = [file for file in list_runs(folder) if b"\n" in file.path.read_bytes()]
    return [span for file in files for span in read_run(file).spans]


def has_lines(folder: Path) -> bool:
    """Whether any line was written whole before the kill."""
    return any(b"\n" in path.read_bytes() for path in folder.glob("*.jsonl"))


def decoded(sent: Iterable[Sent]) -> list[Span]:
    """What an endpoint took, as our decoder has it: each span once, however often it came."""
    documents = [told for span in sent if (told := told_in(_line(span))) is not None]
    return [span for run in runs_in(documents).values() for span in run.spans]


def _line(span: Sent) -> bytes:
    told = MessageToDict(span, use_integers_for_enums=True)
    told = _with_hexadecimal_ids(told)
    return json.dumps(
        {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [told]}]}]}
    ).encode()


def _with_hexadecimal_ids(told: Any) -> Any:
    if isinstance(told, list):
        return [_with_hexadecimal_ids(one) for one in told]
    if not isinstance(told, dict):
        return told
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64decode(value).hex() if key in ids else _with_hexadecimal_ids(value)
        for key, value in told.items()
    }


def complaints(
    truth: Truth, killed_ns: Sequence[int], stored: Sequence[Span], received: Sequence[Span]
) -> list[str]:
    """Return each promise that was broken.

    Args:
        truth: what the programs did.
        killed_ns: when they were killed; by the first of these after a span's start it counts.
        stored: what the run files hold once all is closed and sent.
        received: what the endpoint has.
    """
    return [
        *_doubled("stored", stored),
        *_doubled("received", received),
        *_missing(truth, killed_ns, stored),
        *_unlike(truth, killed_ns, stored),
        *_different(stored, received),
    ]


def _doubled(where: str, spans: Iterable[Span]) -> Iterator[str]:
    for serial, count in Counter(s.attributes.get(SERIAL) for s in spans).items():
        if count > 1:
            yield f"{serial} was {where} {count} times"


def _missing(truth: Truth, killed_ns: Sequence[int], stored: Sequence[Span]) -> Iterator[str]:
    there = {str(s.attributes.get(SERIAL)): s for s in stored}
    for serial, started_ns in truth.started.items():
        last_ns = _killed(started_ns, killed_ns)
        limit_ns = last_ns - PROMISED_NS - truth.starved_ns(last_ns)
        span = there.get(serial)
        if started_ns < limit_ns and span is None:
            yield f"{serial} started more than a second before the kill and is not stored"
        ended_ns = truth.ended.get(serial)
        if ended_ns is not None and ended_ns < limit_ns and span is not None and span.never_ended:
            yield f"{serial} ended more than a second before the kill, and is stored as open"


def _unlike(truth: Truth, killed_ns: Sequence[int], stored: Sequence[Span]) -> Iterator[str]:
    for span in stored:
        serial = str(span.attributes.get(SERIAL))
        if serial not in truth.started:
            yield f"{serial} is stored, but never started"
        elif span.end_ns is None:
            yield f"{serial} is left open"
        elif span.never_ended:
            last_ns = _killed(truth.started[serial], killed_ns)
            if span.outcome != "interrupted":
                yield f"{serial} was open, and is {span.outcome}"
            error_ns = AGE_ERROR_NS + truth.starved_ns(last_ns)
            if not last_ns - error_ns < span.end_ns < last_ns + error_ns:
                yield f"{serial} is as old as {(last_ns - span.end_ns) / 1e9:.1f} s before the kill"
        elif serial not in truth.ended:
            yield f"{serial} never ended, and is stored as {span.outcome}"


def _killed(started_ns: int, killed_ns: Sequence[int]) -> int:
    """When the program was killed that had started a span then."""
    return min((at for at in killed_ns if at >= started_ns), default=2**63)


def _different(stored: Sequence[Span], received: Sequence[Span]) -> Iterator[str]:
    here = {s.span_id: s for s in stored}
    there = {s.span_id: s for s in received}
    for span_id in here.keys() | there.keys():
        a, b = here.get(span_id), there.get(span_id)
        if a is None or b is None:
            yield f"{span_id} was {'not received' if b is None else 'received, and is not stored'}"
        elif (a.name, a.start_ns, a.end_ns, a.attributes) != (
            b.name,
            b.start_ns,
            b.end_ns,
            b.attributes,
        ):
            yield f"{span_id} was received otherwise than it is stored"
    for span in received:
        if span.end_ns is None or Attr.RUN_ID not in span.attributes:
            yield f"{span.span_id} was received without an end, or of no run"

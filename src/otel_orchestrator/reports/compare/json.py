"""The comparison for programs: one JSON document, the same bytes for the same runs."""

from __future__ import annotations

import json
from math import expm1
from typing import Any, Final

from ...analysis.comparing.causes import Cause, are_leads, causes_of
from ...analysis.comparing.comparison import Comparison, Part, Row
from ...analysis.comparing.digest import Digest
from ...analysis.comparing.gate import Gate, Values
from ...analysis.comparing.statistics import Shift
from ...analysis.comparing.structure import PathChange
from .links import links
from .words import answer, because, sureness

FORMAT: Final = 1
"""Goes up when a field changes its meaning or goes away; new fields do not count."""


def render(comparison: Comparison, *, strict: bool, jaeger_url: str) -> str:
    """Return the comparison; durations in seconds, changes as shares: 0.1 is +10 %."""
    document = {
        "format": FORMAT,
        "standing": comparison.standing,
        "exit_code": comparison.exit_code(strict=strict),
        "answer": answer(comparison),
        "false_alarms": round(comparison.false_alarms, 6),
        "sureness": list(sureness(comparison)),
        "advisory": list(comparison.doubts.advisory),
        "base": [_run(digest) for digest in comparison.base],
        "candidate": [_run(digest) for digest in comparison.candidate],
        "causes_are_leads": are_leads(comparison),
        "metrics": [_gate(gate) for gate in comparison.gates],
        "causes": [_cause(cause) for cause in causes_of(comparison)],
        "on_wall": [_part(part) for part in comparison.on_wall],
        "waiting": [_part(part) for part in comparison.waits],
        "categories": [_row(row) for row in comparison.categories],
        "paths": [_row(row) for row in comparison.paths],
        "structure": {
            kind: [_change(change) for change in getattr(comparison.structure, kind)]
            for kind in ("new", "gone", "more", "fewer")
        },
        "links": [{"text": link.text, "url": link.url} for link in links(comparison, jaeger_url)],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _run(digest: Digest) -> dict[str, Any]:
    return {
        "id": digest.run_id,
        "label": digest.label,
        "service": digest.service,
        "host": digest.host,
        "outcome": digest.outcome,
        "trace_id": digest.trace_id,
        "start_unix_micro": digest.start_us,
        "spans": digest.spans,
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return {
        "metric": gate.rule.metric,
        "standing": gate.standing,
        "threshold": _ratio(gate.threshold) if gate.values.base_median else None,
        "smallest_found": _ratio(gate.smallest_found)
        if gate.smallest_found is not None and gate.values.base_median
        else None,
        **_values(gate.values),
    }


def _values(values: Values) -> dict[str, Any]:
    return {
        "unit": "s" if values.is_time else "1",
        "base": [_value(value, values) for value in values.base],
        "candidate": [_value(value, values) for value in values.candidate],
        "base_median": _value(values.base_median, values),
        "candidate_median": _value(values.candidate_median, values),
        "change": _shift(values.shift) if values.shift and values.has_share else None,
    }


def _value(value: float | None, values: Values) -> float | None:
    if value is None:
        return None
    return _seconds(value) if values.is_time else value


def _shift(shift: Shift) -> dict[str, Any]:
    known = bool(shift.confidence)
    return {
        "estimate": _ratio(shift.estimate),
        "low": _ratio(shift.low) if known else None,
        "high": _ratio(shift.high) if known else None,
        "confidence": round(shift.confidence, 6),
    }


def _ratio(logarithm: float) -> float:
    return round(expm1(logarithm), 6)


def _part(part: Part) -> dict[str, Any]:
    state, category = part.key
    return {
        "state": state,
        "category": category,
        "base_s": _seconds(part.base),
        "candidate_s": _seconds(part.candidate),
        "difference_s": _seconds(part.difference),
        "is_clear": part.is_clear,
    }


def _row(row: Row) -> dict[str, Any]:
    state, category = row.key
    told: dict[str, Any] = {
        "state": state,
        "category": category,
        "base_runs": row.base_runs,
        "candidate_runs": row.candidate_runs,
        "wall_share": [round(share, 6) for share in row.wall_share],
        "waiting_share": [round(share, 6) for share in row.waiting_share],
        "is_lead": row.is_lead,
    }
    for name in ("count", "mean", "median", "p95", "total"):
        told[name] = _values(getattr(row, name))
    if row.path is not None:
        told["path"] = list(row.path)
    if row.worst is not None:
        worst = row.worst
        told["worst"] = {
            "trace_id": worst.trace_id,
            "span_id": worst.span_id,
            "task_id": worst.task_id,
            "duration_s": _seconds(worst.us),
        }
    return told


def _change(change: PathChange) -> dict[str, Any]:
    return {
        "path": list(change.path),
        "below": change.below,
        "base": change.base,
        "candidate": change.candidate,
        "base_runs": change.base_runs,
        "candidate_runs": change.candidate_runs,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "kind": cause.kind,
        "is_growth": cause.is_growth,
        "category": cause.category,
        "text": because(cause),
        "wall_s": _seconds(cause.wall_us),
        "waits": [_part(part) for part in cause.waits],
        "on": list(cause.on),
        "is_clear": cause.is_clear,
    }


def _seconds(microseconds: float) -> float:
    return round(microseconds / 1e6, 6)

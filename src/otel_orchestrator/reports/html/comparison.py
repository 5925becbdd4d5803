"""The comparison of two groups of runs as one page, with the styles of a run's page."""

from __future__ import annotations

from math import expm1
from typing import Any

from ...analysis.comparing.causes import causes_of
from ...analysis.comparing.comparison import Comparison
from ...analysis.comparing.digest import Digest
from ...analysis.comparing.gate import Gate, Values
from ..compare import text as text_report
from ..compare import words
from ..compare.links import links
from ..compare.tables import Table, tables
from .page import page

_FORMAT = 1
_PATHS_AT_MOST = 1_000
_TEXT_WIDTH = 110


def render(comparison: Comparison, *, jaeger_url: str) -> str:
    """Return the page of a comparison.

    Args:
        comparison: what to say.
        jaeger_url: where links to traces lead.
    """
    text = text_report.render(comparison, width=_TEXT_WIDTH, colour=False, jaeger_url=jaeger_url)
    return page(
        title=words.answer(comparison),
        data=document(comparison, jaeger_url),
        styles=("base", "comparison", "print"),
        scripts=("format", "dom", "theme", "comparison"),
        text=text,
    )


def document(comparison: Comparison, jaeger_url: str) -> dict[str, Any]:
    """Return everything that the page knows; changes as shares: 0.1 is +10 %."""
    # What is judged is drawn.
    judged, *others = tables(comparison, paths=_PATHS_AT_MOST)
    return {
        "format": _FORMAT,
        "title": words.title(comparison),
        "answer": words.answer(comparison),
        "standing": comparison.standing,
        "why": words.why(comparison),
        "causes": [words.because(cause) for cause in causes_of(comparison)],
        "sureness": list(words.sureness(comparison)),
        "judged": [_gate(gate) for gate in comparison.gates],
        "judged_notes": judged.notes,
        "tables": [_table(table) for table in others],
        "groups": [
            {"name": name, "runs": [_run(digest) for digest in group]}
            for name, group in (("before", comparison.base), ("after", comparison.candidate))
        ],
        "links": [{"text": link.text, "url": link.url} for link in links(comparison, jaeger_url)],
    }


def _gate(gate: Gate) -> dict[str, Any]:
    values = gate.values
    return {
        "title": gate.measure.title,
        "standing": gate.standing,
        "verdict": words.verdict(gate),
        "before": words.told(values.base_median, values),
        "after": words.told(values.candidate_median, values),
        "values": [
            [{"value": v, "told": words.told(v, values)} for v in group if v is not None]
            for group in (values.base, values.candidate)
        ],
        "threshold": expm1(gate.threshold),
        "change": _change(values),
    }


def _change(values: Values) -> dict[str, Any] | None:
    shift = values.shift
    told = words.change_of(values)
    if shift is None or not told:
        return None
    known = values.has_share and bool(shift.confidence)
    return {
        "told": told,
        "span": words.span_of(values),
        "estimate": expm1(shift.estimate) if values.has_share else None,
        "low": expm1(shift.low) if known else None,
        "high": expm1(shift.high) if known else None,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": table.columns,
        "numbers": [letter == "n" for letter in table.align],
        "rows": table.rows,
        "notes": table.notes,
    }


def _run(digest: Digest) -> dict[str, Any]:
    return {
        "id": digest.run_id,
        "label": digest.label,
        "outcome": digest.outcome,
        "start_ms": digest.start_us / 1e3,
        "wall_s": digest.wall_us / 1e6,
        "spans": digest.spans,
    }

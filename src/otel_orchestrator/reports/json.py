"""The report for programs: one JSON document, the same bytes for the same run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from ..analysis.accounting.barriers import Barrier
from ..analysis.accounting.views import JobsView
from ..analysis.advice.models import ModelUse
from ..analysis.advice.pieces import Advice
from ..analysis.study import Study
from ..analysis.summary import CategoryRow, Summary
from ..analysis.tally import Breakdown
from ..analysis.verdict.judging import Verdict
from ..analysis.whatif.estimates import WhatIf
from ..model import Run, Span
from ..semconv import Attr

FORMAT: Final = 1
"""Goes up when a field changes its meaning or goes away; new fields do not count."""


def render(study: Study) -> str:
    """Return the report; durations in seconds, instants in nanoseconds since 1970."""
    return json.dumps(document(study), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def document(study: Study) -> dict[str, Any]:
    """Return the report as plain data."""
    run, summary, accounting = study.run, study.summary, study.accounting
    return {
        "format": FORMAT,
        "run": headline(summary),
        "verdict": _verdict(study.verdict),
        "what_if": what_if(study.estimates),
        "advice": [_advice(one) for one in study.advice],
        "models": [model(used) for used in study.models],
        "accounting": {
            "wall": breakdown(accounting.wall),
            "slots": {
                "count": accounting.slots.count,
                **breakdown(accounting.slots.total),
                "slots": [
                    {"number": slot.number, **breakdown(slot.breakdown)}
                    for slot in accounting.slots.slots
                ],
            },
            "task": _jobs(accounting.task),
            "lifecycle": _jobs(accounting.lifecycle),
        },
        "supersteps": [_superstep(barrier) for barrier in study.accounting.barriers],
        "categories": [category(row) for row in summary.categories],
        "slowest_tasks": [
            {
                "name": slow.span.name,
                "task_id": slow.span.text(Attr.TASK_ID),
                "duration_s": _seconds(slow.took_ns),
                "outcome": slow.span.outcome,
            }
            for slow in summary.slowest_tasks
        ],
        "queue": {
            "oldest_age_s": summary.oldest_age_s,
            "points": [asdict(point) for point in summary.queue],
        },
        "tree": [_span(run, span, depth) for span, depth in study.forest.walk()],
        "warnings": list(run.warnings),
        "remarks": list(study.remarks),
    }


def headline(summary: Summary) -> dict[str, Any]:
    """Return what ran, how it ended, and how much of it there was."""
    return {
        "id": summary.run_id,
        "name": summary.name,
        "label": summary.label,
        "service": summary.service,
        "outcome": summary.outcome,
        "start_unix_nano": summary.start_ns,
        "wall_s": _seconds(summary.wall_ns),
        "spans": summary.spans,
        "errors": summary.errors,
        "loops": summary.loops,
        "supersteps": summary.supersteps,
        "tasks": summary.tasks,
        "llm_calls": summary.llm_calls,
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
    }


def breakdown(whole: Breakdown) -> dict[str, Any]:
    """Return a whole and its parts."""
    return {
        "whole_s": _seconds(whole.whole_ns),
        "parts": [
            {
                "state": part.state,
                "category": part.category,
                "seconds": _seconds(part.ns),
                "share": round(part.ns / whole.whole_ns, 6) if whole.whole_ns else 0.0,
            }
            for part in whole.parts
        ],
    }


def _jobs(view: JobsView) -> dict[str, Any]:
    return {
        **breakdown(view.total),
        "jobs": [
            {
                "name": time.job.name,
                "task_id": time.job.task_id,
                "span_id": time.job.span_id,
                **breakdown(time.breakdown),
            }
            for time in view.jobs
        ],
    }


def _superstep(barrier: Barrier) -> dict[str, Any]:
    straggler = barrier.straggler
    return {
        "index": barrier.superstep.span.attributes.get(Attr.SUPERSTEP_INDEX),
        "jobs": len(barrier.superstep.jobs),
        "straggler": None if straggler is None else straggler.task_id or straggler.name,
        "results_waited_s": _seconds(barrier.result_wait_ns),
        "held": [
            {"task": held.job.task_id or held.job.name, "seconds": _seconds(held.ns)}
            for held in barrier.held
        ],
        "held_s": _seconds(barrier.held_ns),
    }


def _verdict(told: Verdict) -> dict[str, Any]:
    return {
        "doubt": told.doubt,
        "hypotheses": [asdict(finding) for finding in told.findings],
        "bets": [{**asdict(bet), "holds": bet.holds} for bet in told.bets],
        "superstep_share_of_slots": told.superstep_share,
        "superstep_share_of_used_slots": told.superstep_share_of_used,
        "continuous_dispatch_is_worth_it": told.is_continuous_worth_it,
        "largest_part": None if told.largest is None else asdict(told.largest),
    }


def what_if(estimates: WhatIf) -> list[dict[str, Any]]:
    """Return what each change would lead to."""
    return [
        {
            "name": estimate.name,
            "title": estimate.title,
            "saves": estimate.saves,
            "low_s": None if estimate.band is None else _seconds(estimate.band.low_ns),
            "expected_s": None if estimate.band is None else _seconds(estimate.band.expected_ns),
            "high_s": None if estimate.band is None else _seconds(estimate.band.high_ns),
            "assumptions": list(estimate.assumptions),
            "reason": estimate.reason,
        }
        for estimate in estimates.estimates
    ]


def _advice(one: Advice) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "subject": one.subject,
        "count": one.count,
        "spent_s": _seconds(one.spent_ns),
        "saved_at_most_s": _seconds(one.saved_at_most_ns),
        "examples": [asdict(example) for example in one.examples],
    }


def model(used: ModelUse) -> dict[str, Any]:
    """Return what was asked of one model, and how it answered."""
    first, speed = used.first_token_ns, used.tokens_per_s
    return {
        "model": used.model,
        "provider": used.provider,
        "calls": used.calls,
        "failed": used.failed,
        "from_cache": used.from_cache,
        "took_s": _seconds(used.took_ns),
        "share_of_llm_time": round(used.share, 6),
        "first_token_median_s": None if first is None else _seconds(first),
        "output_tokens_per_s": None if speed is None else round(speed, 3),
        "speed_is_of_whole_calls": used.is_of_whole_calls,
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "cost": used.cost,
    }


def category(row: CategoryRow) -> dict[str, Any]:
    """Return what one category of spans took."""
    durations = row.durations
    return {
        "category": row.category,
        "is_wait": row.is_wait,
        "count": durations.count,
        "total_s": _seconds(durations.total_ns),
        "mean_s": _seconds(durations.mean_ns),
        "p50_s": _seconds(durations.p50_ns),
        "p95_s": _seconds(durations.p95_ns),
        "p99_s": _seconds(durations.p99_ns),
        "share_of_run": round(row.share, 6),
    }


def _span(run: Run, span: Span, depth: int) -> dict[str, Any]:
    return {
        "depth": depth,
        "name": span.name,
        "span_id": span.span_id,
        "trace_id": span.trace_id,
        "start_s": _seconds(span.start_ns - run.start_ns),
        "duration_s": _seconds(run.duration_of(span)),
        "state": span.state,
        "category": span.category,
        "outcome": span.outcome,
    }


def _seconds(nanoseconds: float) -> float:
    return round(nanoseconds / 1e9, 6)

"""What a page knows of a run: one document, the same for the same run.

What the JSON report says, it says in the same words and units (seconds). What is drawn over time is
in columns, in whole microseconds after the run's first span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from ... import semconv
from ...analysis.advice import call_phases
from ...analysis.advice.call_phases import phases_of_call
from ...analysis.calls import is_call
from ...analysis.critical_path import critical_path
from ...analysis.examples import Example
from ...analysis.groups import grouped
from ...analysis.in_flight import in_flight
from ...analysis.queue import QueuePoint
from ...analysis.study import Study
from ...analysis.summary import statistics
from ...analysis.tree import Forest
from ...analysis.whatif.grid import Grid, what_if_grid
from ...semconv import Attr
from .. import json as json_report
from .. import words
from .columns import Places, columns, table
from .lanes import Lanes

FORMAT: Final = 1


def document(study: Study, jaeger_url: str) -> dict[str, Any]:
    """Return everything that the page of a run knows."""
    run, outline = study.run, study.accounting.outline
    forest = study.forest
    places = Places(run, forest)
    lanes = Lanes(study, places)
    path = critical_path(outline.root, outline.forest.below, outline.wall[1], touching=True)
    return {
        "format": FORMAT,
        "run": json_report.headline(study.summary),
        "jaeger": jaeger_url,
        "origin_ms": run.start_ns / 1e6,
        "wall": [places.us(at) for at in outline.wall],
        "end": places.us(run.end_ns),
        "verdict": _verdict(study, places),
        "what_if": json_report.what_if(study.estimates),
        "grid": _grid(what_if_grid(outline)),
        "advice": [_advice(study, places, n) for n in range(len(study.advice))],
        "views": _views(study),
        "models": [json_report.model(used) for used in study.models],
        "categories": [json_report.category(row) for row in study.summary.categories],
        "git": list(_git(study, places)),
        "waits": dict(words.WAITS),
        "warnings": [*run.warnings, *study.remarks],
        "jobs": lanes.jobs(),
        "slots": lanes.slots(),
        "supersteps": lanes.supersteps(),
        "loops": [places.us(at) for at in outline.loops],
        "path": table(
            ("span", "start", "end"),
            ((places.of(s.span), places.us(s.start_ns), places.us(s.end_ns)) for s in path),
        ),
        "phases": list(call_phases.KINDS),
        "calls": _calls(study, forest, places),
        "queue": _queue(study.summary.queue, places),
        "in_flight": _in_flight(study, places),
        "spans": columns(run, forest, places),
    }


def _verdict(study: Study, places: Places) -> dict[str, Any]:
    told = study.verdict
    return {
        "doubt": told.doubt,
        "shares": words.all_shares(told),
        "largest": words.largest(told),
        "rule": words.rule(told),
        "findings": [
            {
                "key": finding.key,
                "title": finding.title,
                "standing": finding.standing,
                "judged": words.judged(finding),
                "measure": finding.measure,
                "threshold": finding.threshold,
                "numbers": words.numbers(finding),
                "examples": [_example(e, places) for e in finding.examples],
                "advice": finding.advice,
            }
            for finding in sorted(told.findings, key=words.supported_first)
        ],
        "bets": [
            {"on": on, "came_out": words.came_of(bet), **({} if bet is None else asdict(bet))}
            for on, bet in words.bets(told)
        ],
        "bets_are": words.BETS,
    }


def _example(example: Example, places: Places) -> dict[str, Any]:
    return {
        "span": places.of_id(example.span_id),
        "name": example.span_name,
        "task": example.task_id,
        "took": words.took(example),
    }


def _advice(study: Study, places: Places, number: int) -> dict[str, Any]:
    one = study.advice[number]
    return {
        "what": words.what_to_do(one),
        "saves": words.what_it_saves(one, study),
        "examples": [_example(e, places) for e in one.examples],
    }


def _views(study: Study) -> list[dict[str, Any]]:
    accounting = study.accounting
    wholes = {
        "wall": accounting.wall,
        "slots": accounting.slots.total,
        "tasks": accounting.task.total,
        "lifecycle": accounting.lifecycle.total,
    }
    told = words.views(accounting)
    return [
        {"name": name, "told": told[name], **json_report.breakdown(whole)}
        for name, whole in wholes.items()
        if whole.whole_ns
    ]


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "speeds": grid.speeds,
        "workers": grid.workers,
        "slots": grid.slots,
        "seconds": [
            [[round(ns / 1e9, 6) for ns in (b.low_ns, b.expected_ns, b.high_ns)] for b in bands]
            for bands in grid.bands
        ],
        "reason": grid.reason,
        "fixed": grid.fixed,
    }


def _git(study: Study, places: Places) -> Iterator[dict[str, Any]]:
    """Yield what each git command took, the one that took most first."""
    run = study.run
    commands = [
        s for s in run.spans if s.category == semconv.GIT and not semconv.is_git_part(s.attributes)
    ]
    by_name = grouped(commands, lambda s: s.name)
    rows = [
        (name, spans, statistics([run.duration_of(s) for s in spans]))
        for name, spans in by_name.items()
    ]
    for name, spans, took in sorted(rows, key=lambda r: (-r[2].total_ns, r[0])):
        longest = max(spans, key=lambda s: (run.duration_of(s), -s.start_ns, s.span_id))
        yield {
            "name": name,
            "count": took.count,
            "failed": sum(1 for s in spans if s.outcome != "ok"),
            "locks": sorted({lock for s in spans if (lock := s.text(Attr.GIT_LOCK)) is not None}),
            "total_s": took.total_ns / 1e9,
            "p50_s": took.p50_ns / 1e9,
            "p95_s": took.p95_ns / 1e9,
            "max_s": took.max_ns / 1e9,
            "span": places.of(longest),
        }  # fmt: skip


def _calls(study: Study, forest: Forest, places: Places) -> dict[str, Any]:
    """Return each LLM call with its phases: kind and length in turn, from its start on."""
    rows = []
    for n, call in enumerate(places.spans):
        if is_call(call):
            phases = phases_of_call(study.run, forest, call)
            flat = [
                number
                for p in phases
                for number in (
                    call_phases.KINDS.index(p.kind),
                    places.us(p.end_ns) - places.us(p.start_ns),
                )
            ]
            rows.append((n, flat))
    return table(("span", "phases"), rows)


def _queue(queue: Sequence[QueuePoint], places: Places) -> dict[str, Any]:
    rows = ((places.us(p.at_ns), p.active, p.ready, p.waiting) for p in queue)
    return table(("at", "active", "ready", "waiting"), rows)


def _in_flight(study: Study, places: Places) -> dict[str, Any]:
    run = study.run
    steps = in_flight((s.start_ns, run.end_of(s)) for s in run.spans if is_call(s))
    return table(("at", "calls"), ((places.us(at), calls) for at, calls in steps))

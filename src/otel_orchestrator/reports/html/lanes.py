"""What is drawn in lanes over time: jobs, and the slots and supersteps that point to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import semconv
from ...analysis.accounting.slots import Slot
from ...analysis.accounting.views import JobTime
from ...analysis.jobs import Job
from ...analysis.study import Study
from ...analysis.tally import Breakdown
from ...analysis.whatif.paper import needs_of
from ...semconv import Attr
from .. import json as json_report
from .columns import Places, table


class Lanes:
    """The lanes of one run; jobs are numbered, and whatever points to one has its number."""

    def __init__(self, study: Study, places: Places) -> None:
        self._study = study
        self._places = places
        jobs = study.accounting.outline.jobs_by_id()
        self._jobs: Sequence[Job] = list(jobs.values())
        self._numbers = {span_id: n for n, span_id in enumerate(jobs)}

    def _number(self, job: Job | None) -> int:
        return -1 if job is None else self._numbers[job.span_id]

    def jobs(self) -> dict[str, Any]:
        """Return what ran, with the instants of each life and what it worked and waited."""
        accounting = self._study.accounting
        us = self._places.us
        whole: dict[str, JobTime] = {t.job.span_id: t for t in accounting.task.jobs}
        whole |= {t.job.span_id: t for t in accounting.lifecycle.jobs}
        needs = needs_of(self._jobs)

        def row(n: int, job: Job) -> tuple[Any, ...]:
            time = whole.get(job.span_id)
            breakdown = time.breakdown if time else Breakdown(0, ())
            return (
                self._places.of(job.span),
                self._within(job),
                job.name,
                job.task_id,
                int(job.is_worker),
                int(time is not None),
                us(job.planned_ns),
                us(job.deps_done_ns),
                us(job.released_ns),
                us(job.scheduled_ns),
                us(job.started_ns),
                us(job.ended_ns),
                us(job.barrier_ns),
                us(time.end_ns if time else job.barrier_ns),
                [us(at) for kept in job.kept_by_reader for at in kept],
                [us(at) for queued in job.queued for at in queued],
                [us(at) for attempt in job.worked for at in attempt],
                breakdown.of_state(semconv.WORKING) // 1_000,
                breakdown.of_state(semconv.WAITING) // 1_000,
                needs[n],
                job.depends_on,
            )

        fields = (
            "span within name task worker slot planned deps_done released scheduled started ended"
            " barrier observed kept_by_reader queued attempts works waits needs depends_on"
        )
        return table(fields.split(), (row(n, job) for n, job in enumerate(self._jobs)))

    def _within(self, job: Job) -> list[int]:
        """Return the spans that are the job's, without those below them."""
        return [self._places.of(ran.span) for ran in self._study.accounting.outline.inside(job)]

    def slots(self) -> dict[str, Any]:
        """Return each slot with what it did when; an idle spell has no job, but a reason."""
        view = self._study.accounting.slots
        return {
            "count": view.count,
            "unused": json_report.breakdown(view.unused),
            "slots": [self._slot(slot) for slot in view.slots],
        }

    def _slot(self, slot: Slot) -> dict[str, Any]:
        us = self._places.us
        rows = (
            (us(s.start_ns), us(s.end_ns), self._number(s.job), s.state, s.category)
            for s in slot.spells
        )
        return {
            "number": slot.number,
            "works": round(slot.worked, 6),
            **json_report.breakdown(slot.breakdown),
            "spells": table(("start", "end", "job", "state", "category"), rows),
        }

    def supersteps(self) -> dict[str, Any]:
        """Return each superstep with who held it, and whom that held."""
        us = self._places.us
        rows = (
            (
                self._places.of(b.superstep.span),
                b.superstep.span.attributes.get(Attr.SUPERSTEP_INDEX),
                us(b.superstep.start_ns),
                us(b.superstep.end_ns),
                len(b.superstep.jobs),
                self._number(b.straggler),
                b.result_wait_ns // 1_000,
                [[self._number(h.job), h.ns // 1_000] for h in b.held],
            )
            for b in self._study.accounting.barriers
        )
        fields = "span index start end jobs straggler results_waited held"
        return table(fields.split(), rows)

"""Time, accounted for: the four views, the wall as a waterfall, supersteps, tasks and slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from ...analysis.accounting.barriers import Barrier
from ...analysis.accounting.slots import Slot
from ...analysis.accounting.views import Accounting, JobTime
from ...analysis.jobs import Job
from ...analysis.study import Study
from ...analysis.summary import CategoryRow, Summary
from ...analysis.tally import Breakdown
from ...semconv import Attr
from ..units import count, duration, share
from ..words import views as told_of
from .style import (
    BAD,
    DIM,
    GAP,
    MARKS,
    NOISE_NS,
    STYLES,
    Stretch,
    fitting,
    no_room_for,
    note,
    plain_table,
    strip,
)

_SHOWN_TASKS: Final = 40
_SHOWN_SUPERSTEPS: Final = 40
_SHOWN_SLOWEST: Final = 5
_SHOWN_SHARE: Final = 0.0005
"""What would read `0.0 %` in every column has no line."""
_NAME: Final = 20
_CATEGORIES_LEAST_FIRST: Final = ("p99", "p95", "mean", "p50")
_SUPERSTEPS_LEAST_FIRST: Final = ("took", "tasks")
_STATES: Final = {"working": 0, "waiting": 1, "idle": 2}


def categories(rows: Sequence[CategoryRow], width: int) -> RenderableType:
    """Count and measure the spans of each category."""
    told = [_measured(row) for row in rows]
    wide = {name: max(len(row[name]) for row in told) for name in told[0]} if told else {}
    wide |= {"category": min(_NAME, wide.get("category", 0))}  # which may go on in a next line
    shown = fitting(wide, width - 2 - GAP, _CATEGORIES_LEAST_FIRST)
    table = plain_table("", *shown, numbers=len(shown) - 1)
    for row, cells in zip(rows, told, strict=True):
        state = "waiting" if row.is_wait else "working"
        name, *numbers = (cells[column] for column in shown)
        table.add_row(Text(MARKS[state] * 2, STYLES[state]), Text(name, STYLES[state]), *numbers)
    what = "share: the part of the run in which at least one went on; they overlap"
    return Group(table, note(what), *no_room_for(wide, shown))


def _measured(row: CategoryRow) -> dict[str, str]:
    d = row.durations
    return {
        "category": f"wait {row.category}" if row.is_wait else row.category,
        "count": count(d.count),
        "total": duration(d.total_ns),
        "mean": duration(d.mean_ns),
        "p50": duration(d.p50_ns),
        "p95": duration(d.p95_ns),
        "p99": duration(d.p99_ns),
        "share of run": share(row.share) if row.share else "",
    }


def views(accounting: Accounting) -> RenderableType:
    """Show the four views side by side; each adds up to 100 %."""
    columns: list[tuple[str, Breakdown]] = [
        ("wall", accounting.wall),
        ("slots", accounting.slots.total),
        ("tasks", accounting.task.total),
        ("lifecycle", accounting.lifecycle.total),
    ]
    columns = [(name, breakdown) for name, breakdown in columns if breakdown.whole_ns]
    table = plain_table("", "share of", *(name for name, _ in columns), numbers=len(columns))
    keys = {(p.state, p.category) for _, b in columns for p in b.parts}
    wall_ns = {(p.state, p.category): p.ns for p in accounting.wall.parts}
    for state, category in sorted(keys, key=lambda k: (_STATES[k[0]], -wall_ns.get(k, 0), k[1])):
        style = STYLES.get(state, DIM)
        name = {"waiting": f"wait {category}", "idle": "no work for a slot"}.get(state, category)
        cells = [breakdown.share(category, state=state) for _, breakdown in columns]
        if max(cells) < _SHOWN_SHARE:
            continue
        table.add_row(
            Text(MARKS.get(state, " ") * 2, style),
            Text(name, style),
            *(share(value) if value else "" for value in cells),
        )
    sums = [sum(p.ns for p in breakdown.parts) / breakdown.whole_ns for _, breakdown in columns]
    table.add_row("", Text("sum", DIM), *(Text(share(value), DIM) for value in sums))
    wholes = (duration(breakdown.whole_ns) for _, breakdown in columns)
    table.add_row("", Text("of", DIM), *(Text(whole, DIM) for whole in wholes))
    told = told_of(accounting)
    shown = [told[name] for name, _ in columns]
    return Group(table, *(note("; ".join(shown[i : i + 2])) for i in range(0, len(shown), 2)))


def waterfall(wall: Breakdown, width: int) -> RenderableType:
    """Draw the wall as steps: each category starts where the one before it ended."""
    columns = max(20, min(60, width - 40))
    table = plain_table("", "took", "", numbers=2)
    table.columns[-1].justify = "left"
    at_ns = 0
    for part in wall.parts:
        if part.state == "waiting" and part.ns < NOISE_NS:
            continue
        style = STYLES.get(part.state, DIM)
        name = f"wait {part.category}" if part.state == "waiting" else part.category
        kind = "waiting" if part.state == "waiting" else "working"
        bar = strip([(at_ns, at_ns + part.ns, kind)], 0, wall.whole_ns, columns)
        table.add_row(Text(f"  {name}", style), duration(part.ns), bar)
        at_ns += part.ns
    return table


def supersteps(barriers: Sequence[Barrier], width: int) -> RenderableType:
    """List the supersteps that had more than one job: who was waited for, and what that cost."""
    found = [b for b in barriers if len(b.superstep.jobs) > 1 or b.held_ns >= NOISE_NS]
    told = [_cost_of(barrier) for barrier in found[:_SHOWN_SUPERSTEPS]]
    wide = {name: max(len(row[name]) for row in told) for name in told[0]}
    wide |= {name: min(_NAME, wide[name]) for name in ("straggler", "held back")}
    shown = fitting(wide, width - GAP, _SUPERSTEPS_LEAST_FIRST)
    table = plain_table("", *shown, numbers=2)
    table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"  # names are in it
    for row in told:
        table.add_row("", *(Text(row[n], "bold" if n == "straggler" else "") for n in shown))
    more = _more(len(found) - _SHOWN_SUPERSTEPS, "supersteps")
    return Group(table, *more, *no_room_for(wide, shown))


def _cost_of(barrier: Barrier) -> dict[str, str]:
    straggler = barrier.straggler
    held = [h for h in barrier.held if h.ns >= NOISE_NS]
    who = ", ".join(_name(h.job) for h in held[:3])
    more = f" +{len(held) - 3}" if len(held) > 3 else ""
    return {
        "step": barrier.superstep.span.text(Attr.SUPERSTEP_INDEX) or "",
        "tasks": str(len(barrier.superstep.jobs)),
        "straggler": _name(straggler) if straggler else "",
        "took": duration(straggler.ended_ns - straggler.scheduled_ns) if straggler else "",
        "results waited": _long(barrier.result_wait_ns),
        "held back": f"{duration(barrier.held_ns)} ({who}{more})" if held else "",
    }


def tasks(study: Study, width: int) -> RenderableType:
    """Draw each task over the run: planned, waiting, working."""
    start_ns, end_ns = study.accounting.outline.wall
    columns = max(20, min(100, width - 44))
    table = plain_table("", "works", "waits", "", numbers=3)
    table.columns[-1].justify = "left"
    times = study.accounting.lifecycle.jobs or study.accounting.task.jobs
    shown = [t for t in times if t.job.is_worker] or list(times)
    for time in shown[:_SHOWN_TASKS]:
        table.add_row(
            Text(f"  {_name(time.job)}"[:20]),
            Text(duration(time.breakdown.of_state("working")), STYLES["working"]),
            Text(_long(time.breakdown.of_state("waiting")), STYLES["waiting"]),
            strip(_life(time), start_ns, end_ns, columns),
        )
    legend = "█ works  ░ waits: held, queue, barrier  ▒ cycle: Director, Strategist  · dependencies"
    return Group(table, *_more(len(shown) - _SHOWN_TASKS, "tasks"), note(legend))


def slowest(summary: Summary) -> RenderableType:
    """List the tasks that took longest, from scheduled to the end of their last node."""
    table = plain_table("", "", "", "", numbers=0)
    table.show_header = False
    table.columns[0].justify = "right"
    for slow in summary.slowest_tasks[:_SHOWN_SLOWEST]:
        task_id = slow.span.text(Attr.TASK_ID)
        outcome = "" if slow.span.outcome == "ok" else slow.span.outcome
        table.add_row(
            f"  {duration(slow.took_ns)}",
            task_id or slow.span.name,
            Text(slow.span.name if task_id else "", DIM),
            Text(outcome, BAD.get(outcome, "")),
        )
    return table


def slots(study: Study, width: int) -> RenderableType:
    """Draw each slot over the run: busy, or why it was idle."""
    start_ns, end_ns = study.accounting.outline.wall
    columns = max(20, min(100, width - 44))
    table = plain_table("", "works", "waits", "", numbers=3)
    table.columns[-1].justify = "left"
    for slot in study.accounting.slots.slots[:_SHOWN_TASKS]:
        table.add_row(
            f"  slot {slot.number + 1}",
            Text(share(slot.worked), STYLES["working"]),
            Text(share(_of(slot.breakdown, "waiting")), STYLES["waiting"]),
            strip(_spells(slot), start_ns, end_ns, columns),
        )
    return table


def _long(wait_ns: int) -> str:
    return duration(wait_ns) if wait_ns >= NOISE_NS else ""


def _of(breakdown: Breakdown, state: str) -> float:
    return breakdown.of_state(state) / breakdown.whole_ns if breakdown.whole_ns else 0.0


def _name(job: Job) -> str:
    return job.task_id or job.name


def _life(time: JobTime) -> list[Stretch]:
    job = time.job
    return [
        (time.start_ns, job.deps_done_ns, "dependency"),
        (job.deps_done_ns, job.released_ns, "waiting"),
        (job.released_ns, job.scheduled_ns, "cycle"),
        (job.scheduled_ns, job.started_ns, "waiting"),
        (job.started_ns, job.ended_ns, "waiting"),  # back-off between attempts
        *((start, end, "working") for start, end in job.worked),
        (job.ended_ns, job.barrier_ns, "waiting"),
        (job.barrier_ns, time.end_ns, "cycle"),
    ]


def _spells(slot: Slot) -> list[Stretch]:
    # An idle slot does no work, also where LangGraph does some, which counts as framework.
    kinds = {"dependency": "dependency", "cycle": "cycle", "framework": "idle"}
    stretches: list[Stretch] = []
    for spell in slot.spells:
        kind = "waiting" if spell.job is not None else kinds.get(spell.category, spell.state)
        stretches.append((spell.start_ns, spell.end_ns, kind))
        for start, end in spell.job.worked if spell.job is not None else ():
            stretches.append((max(start, spell.start_ns), min(end, spell.end_ns), "working"))
    return stretches


def _more(hidden: int, what: str) -> list[RenderableType]:
    return [note(f"… and {hidden} more {what}")] if hidden > 0 else []

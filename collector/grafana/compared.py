"""Runs compared: two labels over the gauges that are written at a run's end.

Each run is one value. What is shown of a label is the median of its runs, as `compare` has it, and
of runs that ended well only: one that broke off was fast.
"""

from __future__ import annotations

from typing import Final

from parts import FILTER, Dashboard, Panel, Query, Variable

_LABELS: Final = f'orchestrator_run_label=~"$base|$candidate",{FILTER}'
_GROUPS: Final = "orchestrator_run_label, gen_ai_workflow_name"
_LEGEND: Final = "{{orchestrator_run_label}}: {{gen_ai_workflow_name}}"
_WALL: Final = "orchestrator_run_duration_seconds"
_WORK: Final = "orchestrator_run_work_seconds"
_WAIT: Final = "orchestrator_run_wait_seconds"
_TASKS: Final = "orchestrator_run_tasks"
_CALLS: Final = "orchestrator_run_llm_calls"
_TOKENS: Final = "orchestrator_run_tokens"
_NOT_FAULTS: Final = 'orchestrator_category!="dependency"'


def _each(metric: str, filters: str, which: str = _LABELS) -> str:
    """Return one value for each run in the dashboard's time."""
    chosen = ",".join(filter(None, [which, 'orchestrator_outcome="ok"', filters]))
    return f"last_over_time({metric}{{{chosen}}}[$__range])"


def _sum_of_each(metric: str, filters: str, which: str = _LABELS) -> str:
    return f"sum without (orchestrator_category) ({_each(metric, filters, which)})"


def _mean_call(which: str = _LABELS) -> str:
    time = _each(_WORK, 'orchestrator_category="llm"', which)
    return f"{time} / ignoring (orchestrator_category) {_each(_CALLS, '', which)}"


def _median(runs: str, by: str = _GROUPS) -> str:
    return f"quantile by ({by}) (0.5, {runs})"


def _bars(question: str, unit: str, *queries: Query, hint: str = "", width: int = 12) -> Panel:
    return Panel(question, queries, unit, hint, "bargauge", width)


def _by_category(question: str, metric: str, hint: str) -> Panel:
    median = _median(_each(metric, ""), f"{_GROUPS}, orchestrator_category")
    legend = "{{orchestrator_category}}, {{orchestrator_run_label}}: {{gen_ai_workflow_name}}"
    return _bars(question, "s", Query(f"{median} > 0", legend), hint=hint)


def _change(name: str, runs: str, runs_before: str) -> Query:
    after, before = (_median(r, "gen_ai_workflow_name") for r in (runs, runs_before))
    return Query(f"{after} / {before} - 1", f"{name}: {{{{gen_ai_workflow_name}}}}")


def _changes() -> tuple[Query, ...]:
    base, candidate = (f'orchestrator_run_label="${w}",{FILTER}' for w in ("base", "candidate"))
    plain = (
        ("wall clock", _WALL, ""),
        ("LLM time", _WORK, 'orchestrator_category="llm"'),
        ("git time", _WORK, 'orchestrator_category="git"'),
        ("tasks", _TASKS, ""),
        ("LLM calls", _CALLS, ""),
        ("tokens out", _TOKENS, 'gen_ai_token_type="output"'),
    )
    return (
        *(_change(n, _each(m, f, candidate), _each(m, f, base)) for n, m, f in plain),
        _change(
            "waiting",
            _sum_of_each(_WAIT, _NOT_FAULTS, candidate),
            _sum_of_each(_WAIT, _NOT_FAULTS, base),
        ),
        _change("mean LLM call", _mean_call(candidate), _mean_call(base)),
    )


_WHICH: Final = Panel(
    "Which runs are compared?",
    (Query(f"last_over_time({_WALL}{{{_LABELS}}}[$__range])", ""),),
    "s",
    "Value is the wall clock. Runs that did not end well are here, and in no other panel.",
    "table",
    24,
)
_NOISE: Final = Panel(
    "Is a difference more than noise?",
    (),
    "none",
    """This page shows medians, and no more: two runs of the same program differ, too.

`otel-orchestrator compare label=$base --with label=$candidate`

says whether a difference is a regression, how sure that is, and which spans it comes from. It reads
the run files, on the machine where the runs ran.
""",
    "text",
)

COMPARED: Final = Dashboard(
    "orchestrator-compared",
    "Orchestrator: runs compared",
    (
        _bars(
            "By how much does the candidate differ?",
            "percentunit",
            *_changes(),
            hint="Of the medians. 10 % at LLM time: a tenth more than in the base.",
        ),
        _NOISE,
        _bars("Is a run slower?", "s", Query(_median(_each(_WALL, "")), _LEGEND), hint="Median."),
        _bars(
            "Is one LLM call slower?",
            "s",
            Query(_median(_mean_call()), _LEGEND),
            hint="Median of the runs' mean calls.",
        ),
        _by_category(
            "Do LLM calls, git or tools take more time?",
            _WORK,
            "Their spans together, also where they ran at once.",
        ),
        _by_category(
            "Is more waited, and for what?",
            _WAIT,
            "All tasks together; dependency is the plan's own order.",
        ),
        _bars(
            "Do they do the same work?",
            "none",
            Query(_median(_each(_TASKS, "")), f"tasks, {_LEGEND}"),
            Query(_median(_each(_CALLS, "")), f"LLM calls, {_LEGEND}"),
            hint="Where these differ, the times are of different work.",
        ),
        _bars(
            "Are answers longer?",
            "none",
            Query(
                _median(_each(_TOKENS, ""), f"{_GROUPS}, gen_ai_token_type"),
                f"{{{{gen_ai_token_type}}}}, {_LEGEND}",
            ),
            hint="Tokens of all calls of a run. Longer answers take longer.",
        ),
        _WHICH,
    ),
    variables=tuple(
        Variable(name, title, f"label_values({_WALL}, orchestrator_run_label)")
        for name, title in (("base", "Base"), ("candidate", "Candidate"))
    ),
    since="now-24h",
)

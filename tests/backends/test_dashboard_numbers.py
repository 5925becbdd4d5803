"""Every number that a dashboard shows of runs is the one that a report has of the same runs.

Prometheus's counters are exact, its rates are not: `rate()` extrapolates to the edges of its
window. So each query is asked twice: of the counters, which began at zero, where it has to be
equal; and as it is written, where it has to come close.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from otel_orchestrator.analysis.queue import QueuePoint
from otel_orchestrator.analysis.summary import percentile
from otel_orchestrator.semconv import Attr, Metric

from .expected import EXACT, QUANTILES, SHARES, Values, compared
from .seeded import BOARDS, DEMOS, SEEDS, WINDOW_S, Labels, Seeded, Target, answers, targets
from .stack import query, values

pytestmark = pytest.mark.timeout(600)  # three demo runs at once, and what is scraped of them

COURSES: Final = {
    "Is anything waiting, and is anybody working?",
    "How long has the oldest task been waiting, right now?",
    "How many runs are active?",
}
"""Gauges over time: held against the run files' points at the instants of the samples."""

NOT_HELD: Final = {
    "Does every part answer?": "whether parts answer is no fact about runs",
    "How much comes in? B": "how many points are sent depends on how often metrics are exported",
    "How full are the queues?": "the Collector's state of this instant; outages are tested",
    "Is anything lost?": "nothing was; that drops are counted is tested with outages",
    "Is anything refused?": "nothing was; likewise",
    "How much memory does it take?": "the Collector's memory",
    "How many series does it add up?": "how many series there are is no fact about runs",
    "How many series does Prometheus hold?": "likewise",
}
"""What no run file can tell, and why."""

OF_RUNS: Final = [t for t in targets() if t.board not in ("orchestrator-collector",)]
ALONE: Final = [t for t in OF_RUNS if t.board != "orchestrator-compared"]


def test_every_panel_is_held_against_runs_or_says_why_not() -> None:
    shown = {(t.board, t.question) for t in targets()}
    held = {*EXACT, *QUANTILES, *COURSES, *BY_LABEL, CHANGES, WHICH, COMES_IN.rpartition(" ")[0]}
    excused = {question.removesuffix(" B") for question in NOT_HELD}
    assert {question for _, question in shown} == held | excused
    assert len(BOARDS) == 6


@pytest.mark.parametrize("run", DEMOS)
@pytest.mark.parametrize("target", [t for t in ALONE if t.question in EXACT], ids=lambda t: t.name)
def test_counts_sums_and_shares_are_equal(seeded: Seeded, target: Target, run: str) -> None:
    expected = EXACT[target.question](seeded, run)
    _same(answers(seeded.up, target.of_totals(run)), expected, rel=0.001, abs_=0.002)
    window_s = 1 if target.question in SHARES or "spread" in target.question else WINDOW_S
    written = answers(seeded.up, target.as_written(run))
    # A series that is young was scraped few times: the more is made up at the window's edge.
    _same({k: v * window_s for k, v in written.items()}, expected, rel=0.3, abs_=0.01)


def _same(found: Mapping[Labels, float], expected: Values, *, rel: float, abs_: float) -> None:
    # A line that is zero may be missing, and one that is missing in the run files may be zero.
    for key in found.keys() | expected.keys():
        want = pytest.approx(expected.get(key, 0), rel=rel, abs=abs_)
        assert found.get(key, 0) == want, set(key)


FIRST_TOKEN: Final = "How long until the first token?"


@pytest.mark.parametrize(
    ("target", "run"),
    [
        (target, run)
        for target in ALONE
        if target.question in QUANTILES
        for run in (("streams",) if target.question == FIRST_TOKEN else DEMOS)
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_quantiles_are_in_the_bucket_of_the_reports(
    seeded: Seeded, target: Target, run: str
) -> None:
    """A report interpolates between two durations: it has to be in one of their buckets."""
    bounds, durations_of = QUANTILES[target.question]
    durations = dict(durations_of(seeded, run))
    if "wait" in target.question:
        _add_short_waits(seeded, run, durations)
    fraction = float(target.expr.removeprefix("histogram_quantile(").partition(",")[0])
    for expr in (target.of_totals(run), target.as_written(run)):
        found = answers(seeded.up, expr)
        assert found.keys() == durations.keys()
        for key, value in found.items():
            low, high = _around(sorted(durations[key]), fraction)
            assert _bucket(low, bounds)[0] * 0.99 <= value <= _bucket(high, bounds)[1] * 1.01, key


def _add_short_waits(seeded: Seeded, run: str, durations: dict[Labels, list[float]]) -> None:
    counts = answers(
        seeded.up,
        "sum by (orchestrator_category)"
        f' (orchestrator_wait_duration_seconds_count{{service_namespace="{run}"}})',
    )
    for key, count in counts.items():
        known = durations.setdefault(key, [])
        known += [0.0] * (round(count) - len(known))
        assert len(known) == count, f"more waits of {set(key)} in the run file"


def _around(ordered: Sequence[float], fraction: float) -> tuple[float, float]:
    position = fraction * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    assert low <= percentile([round(s * 1e9) for s in ordered], fraction) / 1e9 + 1e-9
    return low, high


def _bucket(value: float, bounds: Sequence[float]) -> tuple[float, float]:
    above = bisect_left(bounds, value)
    edges = (0.0, *bounds, math.inf)
    return edges[above], edges[above + 1]


# --- over time ---


def _samples(seeded: Seeded, target: Target, run: str) -> list[tuple[float, frozenset[str], float]]:
    """Return every sample behind a panel of gauges: when, of what, how much."""
    metric = target.as_written(run).partition("(")[2].rstrip(")").rpartition("(")[2]
    return [
        (at, frozenset(series["metric"].values()), float(value))
        for series in query(seeded.up.prometheus, f"{metric}[15m]")
        for at, value in series["values"]
    ]


def _course(question: str) -> Target:
    return next(t for t in ALONE if t.question == question)


@pytest.mark.parametrize("run", DEMOS)
def test_the_queue_is_what_the_run_file_says_at_every_instant(seeded: Seeded, run: str) -> None:
    points = seeded.summary(run).queue
    samples = _samples(seeded, _course("Is anything waiting, and is anybody working?"), run)
    wrong = []
    for at, labels, value in samples:
        (state,) = labels & {"ready", "active", "waiting"}
        held = _around_instant(points, at)
        if value not in {getattr(p, state) for p in held}:
            wrong.append((at, state, value, held))
    assert len(samples) > 20
    assert wrong == []


def _around_instant(points: Sequence[QueuePoint], at: float) -> list[QueuePoint]:
    """Return what held around an instant: a sample is taken within some milliseconds of it."""
    near = [p for p in points if abs(p.at_ns / 1e9 - at) <= 0.1]
    before = [p for p in points if p.at_ns / 1e9 < at - 0.1] or [QueuePoint(0, 0, 0, 0)]
    return [before[-1], *near]


@pytest.mark.parametrize("run", DEMOS)
def test_the_oldest_task_has_been_waiting_since_when_the_run_file_says(
    seeded: Seeded, run: str
) -> None:
    ages = [p for p in seeded.runs[run].points if p.name == Metric.QUEUE_OLDEST_AGE]
    target = _course("How long has the oldest task been waiting, right now?")
    samples = [s for s in _samples(seeded, target, run) if s[2] > 0]
    assert len(samples) > 3
    since = [p.at_ns / 1e9 - p.value for p in ages if p.value] + [p.at_ns / 1e9 for p in ages]
    for at, _, value in samples:
        assert min(abs(at - value - s) for s in since) < 0.1


@pytest.mark.parametrize("run", DEMOS)
def test_a_run_is_active_from_its_start_to_its_end(seeded: Seeded, run: str) -> None:
    summary = seeded.summary(run)
    start, end = summary.start_ns / 1e9, (summary.start_ns + summary.wall_ns) / 1e9
    samples = _samples(seeded, _course("How many runs are active?"), run)
    assert {value for _, _, value in samples} == {0, 1}
    for at, _, value in samples:
        if abs(at - start) > 0.1 and abs(at - end) > 0.1:
            assert value == (start < at < end), at
    assert max(at for at, _, value in samples) > end, "its end was told"


# --- two labels ---

WHICH: Final = "Which runs are compared?"
CHANGES: Final = "By how much does the candidate differ?"
COMES_IN: Final = "How much comes in? A"
BY_LABEL: Final[Mapping[str, Mapping[str, str]]] = {
    "Is a run slower?": {"": "wall clock"},
    "Is one LLM call slower?": {"": "mean LLM call"},
    "Do LLM calls, git or tools take more time?": {
        "llm": "LLM time",
        "git": "git time",
        "tool": "tool time",
    },
    "Is more waited, and for what?": {
        category: f"wait {category}"
        for category in (
            *("dependency", "held", "cycle", "queue", "barrier", "pool", "rate_limit", "lock"),
            *("checkpoint", "consumer", "retry_backoff"),
        )
    },
    "Do they do the same work?": {"A": "tasks", "B": "LLM calls"},
    "Are answers longer?": {"input": "tokens in", "output": "tokens out"},
}


@pytest.mark.parametrize(
    "target", [t for t in OF_RUNS if t.question in BY_LABEL], ids=lambda t: t.name
)
def test_medians_of_labels_are_those_that_compare_has(seeded: Seeded, target: Target) -> None:
    found = answers(seeded.up, target.as_written())
    names = BY_LABEL[target.question]
    if target.ref in names:
        names = {"": names[target.ref]}
    expected = {
        frozenset({label, "orchestrator", part} - {""}): compared(seeded, label).get(name, 0.0)
        for label in ("base", "candidate")
        for part, name in names.items()
    }
    _same(found, expected, rel=0.002, abs_=0.002)


def test_changes_are_those_of_the_medians_that_compare_has(seeded: Seeded) -> None:
    base, candidate = (compared(seeded, label) for label in ("base", "candidate"))
    names = ("wall clock", "LLM time", "git time", "tasks", "LLM calls", "tokens out", "waiting")
    shown = [t for t in OF_RUNS if t.question == CHANGES]
    for target, name in zip(shown, (*names, "mean LLM call"), strict=True):
        (found,) = answers(seeded.up, target.as_written()).values()
        assert found == pytest.approx(candidate[name] / base[name] - 1, abs=0.005), name
    assert candidate["mean LLM call"] > base["mean LLM call"]


def test_all_runs_of_both_labels_are_listed(seeded: Seeded) -> None:
    (target,) = (t for t in OF_RUNS if t.question == WHICH)
    found = {
        series["metric"]["orchestrator_run_id"]: (
            series["metric"]["orchestrator_run_label"],
            series["metric"]["orchestrator_outcome"],
            float(series["value"][1]),
        )
        for series in query(seeded.up.prometheus, target.as_written())
    }
    expected = {
        run.id: (run.resource[Attr.RUN_LABEL], "ok", seeded.summary(name).wall_ns / 1e9)
        for name, run in seeded.runs.items()
        if SEEDS[name].label in ("base", "candidate")
    }
    assert (
        found == {key: pytest.approx(value) for key, value in expected.items()} or found == expected
    )


def test_what_comes_in_is_every_span_of_the_run_files(seeded: Seeded) -> None:
    (target,) = (t for t in targets() if f"{t.question} {t.ref}" == COMES_IN)
    spans = sum(len(seeded.spans(run)) for run in SEEDS)
    assert values(seeded.up.prometheus, target.of_totals(".*")) == [spans]


def test_all_runs_together_are_the_sum_of_each(seeded: Seeded) -> None:
    """What a panel shows of one run it shows because the dashboard's variables choose it."""
    target = next(t for t in ALONE if t.question == "How many calls a second?")
    (whole,) = answers(seeded.up, target.of_totals(".*")).values()
    parts = [sum(answers(seeded.up, target.of_totals(run)).values()) for run in SEEDS]
    assert sum(parts) == whole
    assert all(0 < part < whole for part in parts)

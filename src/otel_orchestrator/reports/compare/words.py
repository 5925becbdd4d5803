"""What a comparison says in sentences: what got slower, why, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from math import expm1
from typing import Final

from ... import semconv
from ...analysis.comparing.causes import BOTH, MORE, SLOWER, WAITS, Cause, are_leads
from ...analysis.comparing.comparison import Comparison, Row
from ...analysis.comparing.gate import (
    FALSE_ALARMS,
    NO_REGRESSION,
    NOT_MEASURED,
    REGRESSION,
    RUNS_AT_LEAST,
    TOO_FEW,
    UNDECIDED,
    Gate,
    Values,
)
from ...analysis.comparing.measures import category_name, path_name
from ...analysis.comparing.rules import DECLARED
from ...analysis.comparing.statistics import values_needed
from ..units import count, duration, plural, share

MINUS: Final = "\N{MINUS SIGN}"
_TIMES_FROM: Final = 2.0
_FROM_NOTHING: Final = 1e4
_KINDS: Final = {
    (SLOWER, True): "Slower",
    (SLOWER, False): "Faster",
    (MORE, True): "More",
    (MORE, False): "Fewer",
    (BOTH, True): "More and slower",
    (BOTH, False): "Fewer and faster",
    (WAITS, True): "More waiting",
    (WAITS, False): "Less waiting",
}
# What is slower, and what is counted.
_WORK: Final = {
    semconv.LLM: ("LLM calls", "calls"),
    semconv.GIT: ("git commands", "commands"),
    semconv.TOOL: ("tool calls", "calls"),
    semconv.HTTP: ("HTTP requests", "requests"),
    semconv.COMPUTE: ("code of the nodes and agents themselves", "nodes and agents"),
    semconv.FRAMEWORK: ("code between the nodes, LangGraph's or the run's own", ""),
}
_WAITS: Final = {
    semconv.BARRIER: "at barriers",
    semconv.CYCLE: "for Director and Strategist",
    semconv.QUEUE: "for a slot",
    semconv.RATE_LIMIT: "for rate limits",
    semconv.RETRY_BACKOFF: "before another try",
    semconv.POOL: "for a connection",
    semconv.CHECKPOINT: "for the checkpointer",
    semconv.CONSUMER: "for the reader of the stream",
}


def title(comparison: Comparison) -> str:
    """Return which runs are compared."""
    base, candidate = (
        plural(len(group), "run") + _labels({d.label for d in group if d.label})
        for group in (comparison.base, comparison.candidate)
    )
    return f"before: {base} · after: {candidate}"


def _labels(labels: set[str]) -> str:
    return f" ({', '.join(sorted(labels))})" if labels else ""


def answer(comparison: Comparison) -> str:
    """Return the answer in one sentence."""
    doubts = comparison.doubts
    unlike = [one for one in (doubts.unlike_ends, doubts.unlike_services) if one is not None]
    said = [f"Not like with like: {'; '.join(unlike)}."] if unlike else []
    if doubts.unlike_ends is None:
        said.append(_of_like_runs(comparison))
    elif comparison.standing == REGRESSION:
        said.append(_slower(comparison))
    return " ".join(said)


def _of_like_runs(comparison: Comparison) -> str:
    if comparison.is_one_each:
        return "One run each: differences and structure, no error estimate."
    standing = comparison.standing
    if standing == REGRESSION:
        return _slower(comparison)
    if standing == TOO_FEW:
        needed = max(RUNS_AT_LEAST, values_needed(FALSE_ALARMS / len(comparison.gates)))
        return (
            f"Not judged: {_against(comparison)} {_are(comparison)} too few. For"
            f" {plural(len(comparison.gates), 'metric')} it takes {needed} against {needed}."
            f"{_without_further(comparison)}"
        )
    better = [_short(g) for g in comparison.gates if g.is_better]
    if better:
        return f"Faster: {_listed(better)}." + _but_undecided(comparison)
    if standing == NO_REGRESSION:
        return _not_slower(comparison)
    return "Undecided." + _but_undecided(comparison)


def _without_further(comparison: Comparison) -> str:
    declared = len(DECLARED)
    needed = max(RUNS_AT_LEAST, values_needed(FALSE_ALARMS / declared))
    is_enough = min(len(comparison.base), len(comparison.candidate)) >= needed
    if len(comparison.gates) == declared or not is_enough:
        return ""
    listed = _listed([g.measure.title for g in comparison.gates[:declared]])
    return f" Without further rules (--fail-on), {listed} would be judged."


def _slower(comparison: Comparison) -> str:
    worse = [_short(g) for g in comparison.gates if g.standing == REGRESSION]
    return f"Slower: {_listed(worse)}."


def _not_slower(comparison: Comparison) -> str:
    allowed = [
        f"{_short(gate)} ({_limit(gate) or 'any'} would count)"
        for gate in comparison.gates
        if gate.standing == NO_REGRESSION
        and gate.values.shift is not None
        and gate.values.shift.low > 0
    ]
    return f"Not slower than allowed: {_listed(allowed)}." if allowed else "Not slower."


def _but_undecided(comparison: Comparison) -> str:
    open_ = [g.measure.title for g in comparison.gates if g.standing == UNDECIDED]
    if not open_:
        return ""
    return f" Whether {_listed(open_)} got slower, {_against(comparison)} cannot tell."


def _short(gate: Gate) -> str:
    return f"{gate.measure.title} {change_of(gate.values)}"


def _listed(items: list[str]) -> str:
    return " and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items)


def _against(compared: Comparison | Values) -> str:
    return f"{len(compared.base)} against {plural(len(compared.candidate), 'run')}"


def _are(comparison: Comparison) -> str:
    return "is" if len(comparison.candidate) == 1 else "are"


def verdict(gate: Gate) -> str:
    """Return what is said of one metric, with its reason."""
    if gate.standing == NOT_MEASURED:
        return "no run has any"
    limit = _limit(gate)
    if gate.standing == REGRESSION:
        return f"regression: more than {limit or 'none'}, beyond chance"
    return f"{_open_or_not(gate)}, {limit or 'any'} would count"


def _open_or_not(gate: Gate) -> str:
    values = gate.values
    if gate.standing == TOO_FEW:
        return "not judged: too few runs"
    if gate.standing == NO_REGRESSION:
        at_most = _at_most(values)
        return f"no regression: {at_most}" if at_most else "no regression"
    if gate.smallest_found is None:
        return "undecided: some runs have none"
    if not values.base_median or expm1(gate.smallest_found) >= _FROM_NOTHING:
        return f"undecided: {_against(values)} cannot tell"
    found = _growth(gate.smallest_found)
    return f"undecided: {_against(values)} could have found {found} or more"


def _at_most(values: Values) -> str:
    if values.are_nothing:
        return "nothing on either side"
    if values.shift is None or not values.base_median:
        return ""
    return f"{_growth(values.shift.high)} at most" if values.has_share else "to nothing"


def _limit(gate: Gate) -> str:
    """Return the growth from which it counts; nothing where any does."""
    if gate.values.base_median:
        return _growth(gate.threshold)
    # A share of nothing is nothing.
    return duration(gate.rule.us * 1e3) if gate.rule.us else ""


def why(comparison: Comparison) -> str:
    """Return the heading of the causes."""
    return "Leads: clear of chance taken alone" if are_leads(comparison) else "Why"


def because(cause: Cause) -> str:
    """Return one reason in a sentence."""
    start = _KINDS[cause.kind, cause.is_growth]
    if cause.kind == WAITS:
        return _because_of_waiting(start, cause)
    what, unit = _WORK.get(cause.category, (f"{cause.category} spans", "spans"))
    row, facts = cause.row, []
    if row is not None:
        each = f"{both(row.mean)}{_in_per_cent(row.mean)}"
        facts.append(f"{both(row.count)} {unit}, each {each}")
    if cause.wall_us:
        more = "more" if cause.wall_us > 0 else "less"
        facts.append(f"{duration(abs(cause.wall_us) * 1e3)} {more} of the wall clock")
    if cause.path is not None:
        facts.append(f"most of it in {row_name(cause.path)}")
    return f"{start} {what}: {'; '.join(facts)}.{_doubt(cause)}"


def _because_of_waiting(start: str, cause: Cause) -> str:
    what = _WAITS.get(cause.category, f"for {cause.category}")
    before = sum(part.base for part in cause.waits)
    after = sum(part.candidate for part in cause.waits)
    names = " and ".join(part.key[1] for part in cause.waits)
    text = f"{start} {what}: {names} {duration(before * 1e3)} → {duration(after * 1e3)},"
    text += " all that waited together"
    if cause.on and cause.category not in (semconv.QUEUE, semconv.CYCLE):
        text += f", {'more' if cause.is_growth else 'less'} for {' and '.join(cause.on)}"
    return f"{text}.{_doubt(cause)}"


def _doubt(cause: Cause) -> str:
    return " Taken alone, this may be chance." if cause.is_clear is False else ""


def sureness(comparison: Comparison) -> Iterator[str]:
    """Yield how sure the answer is, and what speaks against it."""
    for reason in comparison.doubts.advisory:
        yield f"Advice only: {reason}. It fails no build."
    judged = [
        g.values.shift
        for g in comparison.gates
        if g.standing in (REGRESSION, NO_REGRESSION, UNDECIDED) and g.values.shift is not None
    ]
    if judged:
        yield (
            f"{_against(comparison)}. {share(judged[0].confidence)}"
            " of such intervals hold the true change; where nothing differs, at most"
            f" {share(comparison.false_alarms)} of such comparisons say regression."
        )
    else:
        yield (
            "So few runs cannot tell a change from chance. Run each side five times, in turns:"
            " base, candidate, base, candidate ..."
        )
    for remark in comparison.doubts.remarks:
        yield f"{remark[:1].upper()}{remark[1:]}."


def lead_note(comparison: Comparison) -> str:
    """Return how to take what is shown of every path."""
    # Only of what every run has can be said how sure it is.
    rows = [r for r in comparison.paths if r.total.shift is not None and r.total.shift.confidence]
    if not rows:
        return "to read only: nothing here is told from chance"
    assert rows[0].total.shift is not None
    chance = len(rows) * 2 * rows[0].total.shift.error
    leads = sum(r.is_lead for r in rows)
    return (
        f"leads to read, they decide nothing: ● is clear of chance taken alone ({leads} of the"
        f" {len(rows)} paths that all runs have; about {chance:.0f} would be where nothing differs)"
    )


def change(logarithm: float) -> str:
    """Return a change as people say it: `+8.3 %`, or how many times as much."""
    ratio = expm1(logarithm)
    if ratio > _TIMES_FROM:
        return f"{ratio + 1:.1f} times" if ratio < _FROM_NOTHING else "from nothing"
    if ratio < -0.9999:
        return "to nothing"
    return f"{ratio * 100:+.1f} %".replace("-", MINUS)


def change_of(values: Values) -> str:
    """Return how a value changed; nothing where that cannot be said or there was none."""
    if values.shift is None or values.are_nothing:
        return ""
    if values.has_share:
        return change(values.shift.estimate)
    if values.candidate_median:
        return "from nothing"
    return "to nothing" if values.base_median else ""


def _growth(logarithm: float) -> str:
    """Return a change that is no measured one, such as a limit: it is never from nothing."""
    ratio = expm1(logarithm)
    return change(logarithm) if ratio < _FROM_NOTHING else f"{count(round(ratio + 1))} times"


def span_of(values: Values) -> str:
    """Return the interval of a change; nothing where there is none."""
    shift = values.shift
    if shift is None or not values.has_share or not shift.confidence:
        return ""
    low, high = expm1(shift.low), expm1(shift.high)
    if _TIMES_FROM < high < _FROM_NOTHING:
        return f"{low + 1:.1f} … {high + 1:.1f} times"
    return f"{change(shift.low)} … {change(shift.high)}"


def told(value: float | None, values: Values) -> str:
    """Return a value with its unit; a dash where there is none."""
    if value is None:
        return "\N{EN DASH}"
    if values.is_time:
        return duration(value * 1e3)
    return number(value)


def number(value: float) -> str:
    """Return how many, which may lie between two, as a median does."""
    return count(round(value)) if value == round(value) else f"{value:.1f}"


def both(values: Values) -> str:
    """Return the medians of both groups: `7.50 s → 9.24 s`."""
    return f"{told(values.base_median, values)} → {told(values.candidate_median, values)}"


def _in_per_cent(values: Values) -> str:
    told = change_of(values) if values.is_plain else ""
    return f" ({told})" if told else ""


def row_name(row: Row) -> str:
    """Return what a row is called: a category, or the end of a path that no other path has."""
    return category_name(row.key) if row.path is None else path_name(row.ending)

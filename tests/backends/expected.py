"""What each panel has to show, worked out from run files by the code that reports are made with.

`EXACT` are counts, sums of seconds and shares; `QUANTILES` are durations, of which a histogram
knows the bucket. Keys are questions, as the panels ask them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Final

import yaml

from otel_orchestrator import semconv
from otel_orchestrator.analysis.advice.models import model_calls, models_of
from otel_orchestrator.analysis.calls import is_call, model_of
from otel_orchestrator.analysis.comparing.digest import digest_of
from otel_orchestrator.analysis.summary import summarize
from otel_orchestrator.model import Span
from otel_orchestrator.semconv import Attr

from .processes import OTEL_COLLECTOR
from .seeded import Labels, Seeded

Values = Mapping[Labels, float]
Durations = Mapping[Labels, list[float]]

_WORKFLOW: Final = "orchestrator"
_SERVICE: Final = "demo-orchestrator"
_WAITED_BEFORE: Final = {
    Attr.TASK_WAITED_DEPENDENCY: semconv.DEPENDENCY,
    Attr.TASK_WAITED_CYCLE: semconv.CYCLE,
}
"""Attributes of tasks that no span tells of; that a task was held a span does tell."""


def _labels(*values: object) -> Labels:
    return frozenset(str(value) for value in values if value)


def _seconds(span: Span) -> float:
    assert span.end_ns is not None, "every span of these runs has an end"
    return (span.end_ns - span.start_ns) / 1e9


def _grouped(spans: Iterable[Span], by: Callable[[Span], object]) -> dict[Labels, list[Span]]:
    groups: dict[Labels, list[Span]] = {}
    for span in spans:
        groups.setdefault(_labels(by(span)), []).append(span)
    return groups


def _durations(spans: Iterable[Span], by: Callable[[Span], object]) -> Durations:
    return {k: [_seconds(s) for s in group] for k, group in _grouped(spans, by).items()}


def _calls(seen: Seeded, run: str) -> list[Span]:
    return [s for s in seen.runs[run].spans if is_call(s)]


def _named(seen: Seeded, run: str, operation: str) -> list[Span]:
    return [s for s in seen.spans(run) if s.operation == operation]


def _rest_of_name(span: Span) -> str:
    return span.name.partition(" ")[2]


# --- exact ---


def _waits(seen: Seeded, run: str) -> Values:
    waits = digest_of(seen.runs[run]).waits
    return {_labels(category): us / 1e6 for category, us in waits.items()}


def _work(seen: Seeded, run: str) -> Values:
    found: dict[Labels, float] = {}
    for part in (seen.runs[run], seen.outside[run]):
        for row in summarize(part).categories:
            if not row.is_wait and row.category in ("llm", "git", "tool"):
                key = _labels(row.category)
                found[key] = found.get(key, 0) + row.durations.total_ns / 1e9
    return found


def _failures(seen: Seeded, run: str) -> Values:
    ended = [s for s in seen.spans(run) if not semconv.is_attempt(s.attributes)]
    groups = _grouped(ended, lambda s: s.category)
    return {key: sum(s.is_error for s in spans) / len(spans) for key, spans in groups.items()}


def _llm_calls(seen: Seeded, run: str) -> Values:
    return {_labels(m.model): m.calls for m in models_of([model_calls(seen.look(run))])}


def _llm_failures(seen: Seeded, run: str) -> Values:
    return {_labels(m.model): m.failed / m.calls for m in models_of([model_calls(seen.look(run))])}


def _tokens(seen: Seeded, run: str) -> Values:
    return {
        _labels(m.model, kind): tokens
        for m in models_of([model_calls(seen.look(run))])
        for kind, tokens in (("input", m.input_tokens), ("output", m.output_tokens))
    }


def _rate_limited(seen: Seeded, run: str) -> Values:
    rows = {(row.category, row.is_wait): row for row in seen.summary(run).categories}
    limited = rows.get((semconv.RATE_LIMIT, True))
    waited_ns = limited.durations.total_ns if limited else 0
    (model,) = models_of([model_calls(seen.look(run))])
    return {_labels(model.model): waited_ns / model.took_ns}


def _requests(seen: Seeded, run: str) -> Values:
    groups = _grouped(_calls(seen, run), model_of)
    return {
        key: sum(int(str(s.attributes[Attr.LLM_ATTEMPTS])) for s in calls) / len(calls)
        for key, calls in groups.items()
    }


def _spread(seen: Seeded, run: str) -> Values:
    took = [_seconds(s) * 1000 for s in _calls(seen, run)]
    bounds = [*SPAN_BOUNDS_MS, float("inf")]
    return {_labels(_le(bound)): sum(ms <= bound for ms in took) for bound in bounds}


def _le(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:g}"


def _barriers(seen: Seeded, run: str) -> Values:
    waited = digest_of(seen.runs[run]).waits.get(semconv.BARRIER, 0) / 1e6
    return {_labels(_SERVICE): waited / sum(map(_seconds, _named(seen, run, semconv.TASK)))}


def _git(seen: Seeded, run: str) -> dict[Labels, list[Span]]:
    return _grouped(_named(seen, run, semconv.GIT), _rest_of_name)


EXACT: Final[Mapping[str, Callable[[Seeded, str], Values]]] = {
    "What is waited for?": _waits,
    "How much time goes into LLM calls, git and tools?": _work,
    "What fails?": _failures,
    "How many calls a second?": _llm_calls,
    "How many LLM calls fail?": _llm_failures,
    "How many tokens a second?": _tokens,
    "How much of the time is waiting for rate limits?": _rate_limited,
    "How many requests does one call take?": _requests,
    "How are the latencies spread?": _spread,
    "How much of the tasks' time is lost at barriers?": _barriers,
    "Which git commands are frequent?": lambda seen, run: {
        command: len(spans) for command, spans in _git(seen, run).items()
    },
    "How much time goes into which command?": lambda seen, run: {
        command: sum(map(_seconds, spans)) for command, spans in _git(seen, run).items()
    },
    "Which git commands fail?": lambda seen, run: {
        command: sum(s.is_error for s in spans) / len(spans)
        for command, spans in _git(seen, run).items()
    },
}
SHARES: Final = {
    "What fails?",
    "How many LLM calls fail?",
    "How much of the time is waiting for rate limits?",
    "How many requests does one call take?",
    "How much of the tasks' time is lost at barriers?",
    "Which git commands fail?",
}
"""Where the rates are divided by each other, so that the window does not matter."""


# --- quantiles ---


def _all_waits(seen: Seeded, run: str) -> Durations:
    """Return every wait that is known by itself: of the shortest only their sum is."""
    spans = seen.runs[run].spans
    found = dict(_durations([s for s in spans if s.state == semconv.WAITING], lambda s: s.category))
    for span in spans:
        for key, category in _WAITED_BEFORE.items():
            if isinstance(seconds := span.attributes.get(key), float):
                found.setdefault(_labels(category), []).append(seconds)
    return found


def _first_tokens(seen: Seeded, run: str) -> Durations:
    return {
        key: [
            float(str(s.attributes[Attr.TIME_TO_FIRST_CHUNK]))
            for s in calls
            if Attr.TIME_TO_FIRST_CHUNK in s.attributes
        ]
        for key, calls in _grouped(_calls(seen, run), model_of).items()
    }


def _milliseconds(durations: Durations) -> Durations:
    return {key: [s * 1000 for s in seconds] for key, seconds in durations.items()}


def _bounds_of_spans() -> tuple[float, ...]:
    connector = yaml.safe_load(OTEL_COLLECTOR.read_text())["connectors"]["span_metrics"]
    buckets = connector["histogram"]["explicit"]["buckets"]
    return tuple(
        float(b.removesuffix("ms")) if b.endswith("ms") else float(b.removesuffix("s")) * 1000
        for b in buckets
    )


SPAN_BOUNDS_MS: Final = _bounds_of_spans()
OURS: Final = semconv.ORCHESTRATOR_SECONDS
QUANTILES: Final[Mapping[str, tuple[tuple[float, ...], Callable[[Seeded, str], Durations]]]] = {
    "How slow are LLM calls?": (
        SPAN_BOUNDS_MS,
        lambda seen, run: _milliseconds(_durations(_calls(seen, run), model_of)),
    ),
    "How long until the first token?": (semconv.GENAI_SECONDS, _first_tokens),
    "How long do runs take?": (
        OURS,
        lambda seen, run: {_labels(_WORKFLOW): [seen.summary(run).wall_ns / 1e9]},
    ),
    "How long does each kind of wait take?": (OURS, _all_waits),
    "How long do tasks take?": (
        OURS,
        lambda seen, run: _durations(_named(seen, run, semconv.TASK), _rest_of_name),
    ),
    "How long do supersteps take?": (
        OURS,
        lambda seen, run: _durations(_named(seen, run, semconv.SUPERSTEP), lambda _: ""),
    ),
    "How long do nodes take?": (
        OURS,
        lambda seen, run: _durations(_named(seen, run, semconv.NODE), _rest_of_name),
    ),
    "Which git commands are slow?": (
        OURS,
        lambda seen, run: _durations(_named(seen, run, semconv.GIT), _rest_of_name),
    ),
}


# --- two labels compared ---


def _median(values: Iterable[float]) -> float:
    return float(median(values))


def compared(seen: Seeded, label: str) -> dict[str, float]:
    """Return what a comparison has of a label: medians of its runs, in seconds or by count."""
    digests = seen.digests(label)
    summaries = [summarize(seen.runs[n]) for n in seen.of_label(label)]
    amounts = [
        {c.key[1]: c.amount for c in d.categories if c.key[0] == semconv.WORKING} for d in digests
    ]
    categories = sorted({category for d in digests for category in d.waits})
    return {
        "wall clock": _median(d.wall_us / 1e6 for d in digests),
        "LLM time": _median(a["llm"].total_us / 1e6 for a in amounts),
        "git time": _median(a["git"].total_us / 1e6 for a in amounts),
        "tool time": _median(a["tool"].total_us / 1e6 for a in amounts),
        "mean LLM call": _median(a["llm"].mean_us / 1e6 for a in amounts),
        "waiting": _median(d.waiting_us / 1e6 for d in digests),
        "tasks": _median(s.tasks for s in summaries),
        "LLM calls": _median(s.llm_calls for s in summaries),
        "tokens in": _median(s.input_tokens for s in summaries),
        "tokens out": _median(s.output_tokens for s in summaries),
        **{f"wait {c}": _median(d.waits.get(c, 0) / 1e6 for d in digests) for c in categories},
    }

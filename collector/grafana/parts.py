"""What dashboards are made of: questions, and the queries that answer them.

Every query of an application's metrics is filtered by what the dashboard's variables choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FILTER: Final = (
    'service_name=~"$service",service_namespace=~"$namespace",'
    'deployment_environment_name=~"$environment"'
)
CHAT: Final = f'gen_ai_operation_name="chat",{FILTER}'
RATE: Final = "[$__rate_interval]"
CALLS: Final = "traces_span_metrics_calls_total"
SPANS: Final = "traces_span_metrics_duration_milliseconds"


Kind = Literal["timeseries", "heatmap", "bargauge", "table", "text"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or one group of lines, of a panel."""

    expr: str
    legend: str
    exemplar: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A question, and the queries that answer it.

    Attributes:
        question: the title.
        queries: none in a panel of text.
        unit: of the values, in Grafana's words.
        hint: what helps to read it; in a panel of text, the text.
        kind: bargauge and table show the values of now, the others a course of time.
        width: of 24.
        stacked: lines are put on top of each other.
    """

    question: str
    queries: tuple[Query, ...]
    unit: str
    hint: str = ""
    kind: Kind = "timeseries"
    width: int = 12
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of one label's value, beside those that every dashboard has.

    Attributes:
        name, title: in queries, and as people see it.
        query: where its values come from.
    """

    name: str
    title: str
    query: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels.

    Attributes:
        uid, title: for links and for people.
        panels: in reading order.
        variables: further ones.
        since: how far back it looks when it is opened.
    """

    uid: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()
    since: str = "now-30m"


def quantile(q: float, metric: str, by: str, filters: str) -> str:
    """Return a quantile of a histogram by a label."""
    groups = ", ".join(filter(None, ["le", by]))
    inner = f"sum by ({groups}) (rate({metric}_bucket{{{filters}}}{RATE}))"
    return f"histogram_quantile({q}, {inner})"


def share(part: str, whole: str, by: str = "") -> str:
    """Return a ratio that is 0, and not absent, where there is a whole and no part of it."""
    groups = f" by ({by})" if by else ""
    total = f"sum{groups} (rate({whole}{RATE}))"
    return f"(sum{groups} (rate({part}{RATE})) or 0 * {total}) / {total}"


def counted_work(metric: str, filters: str) -> str:
    """Return the rate of spans, without the HTTP attempts of LLM calls: the call is what counts."""
    others, calls = (
        f"rate({metric}{{{filters},{which}}}{RATE})"
        for which in (
            'orchestrator_category!="llm"',
            'orchestrator_category="llm",gen_ai_operation_name!=""',
        )
    )
    return f"({others} or {calls})"


def how_long(question: str, metric: str, by: str = "", hint: str = "") -> Panel:
    """Return a panel of the median and the 95th percentile of seconds."""
    legend = f" {{{{{by}}}}}" if by else ""
    queries = (
        Query(quantile(q, metric, by, FILTER), f"p{q * 100:.0f}{legend}") for q in (0.5, 0.95)
    )
    return Panel(question, tuple(queries), "s", hint)


def often(question: str, metric: str, by: str, filters: str = FILTER, hint: str = "") -> Panel:
    """Return a panel of how often something happens in a second."""
    expr = f"sum by ({by}) (rate({metric}{{{filters}}}{RATE}))"
    return Panel(question, (Query(expr, f"{{{{{by}}}}}"),), "ops", hint)


def of_the_collector(question: str, unit: str, *queries: tuple[str, str], hint: str = "") -> Panel:
    """Return a panel about the backend itself, which no variable filters."""
    return Panel(question, tuple(Query(expr, legend) for expr, legend in queries), unit, hint)


def rate(metric: str) -> str:
    """Return how much a counter goes up in a second, all series together."""
    return f"sum(rate({metric}{RATE}))"


def failed(what: str) -> tuple[str, str]:
    """Return a rate that is 0 where a counter of failures does not exist yet."""
    total = f"sum by (exporter) (rate(otelcol_exporter_{what}_total{RATE}))"
    return (
        f"{total} or 0 * sum by (exporter) (otelcol_exporter_queue_size)",
        f"{{{{exporter}}}} {what}",
    )

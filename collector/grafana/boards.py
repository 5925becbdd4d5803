"""The dashboards: each panel is a question, and the queries that answer it."""

from __future__ import annotations

from typing import Final

from compared import COMPARED
from parts import (
    CALLS,
    CHAT,
    FILTER,
    RATE,
    SPANS,
    Dashboard,
    Panel,
    Query,
    counted_work,
    failed,
    how_long,
    of_the_collector,
    often,
    quantile,
    rate,
    share,
)

_WAITS: Final = Panel(
    "What is waited for?",
    (
        Query(
            "sum by (orchestrator_category)"
            f" (rate(orchestrator_wait_duration_seconds_sum{{{FILTER}}}{RATE}))",
            "{{orchestrator_category}}",
        ),
    ),
    "none",
    "Seconds waited in a second, all tasks together: 3 means that three tasks waited.",
    stacked=True,
)
_DEPTH: Final = Panel(
    "Is anything waiting, and is anybody working?",
    (
        Query(
            f"sum by (orchestrator_task_state) (orchestrator_queue_depth{{{FILTER}}})",
            "{{orchestrator_task_state}}",
        ),
    ),
    "none",
    "waiting: a dependency is open. ready: could run, but does not. active: a node works for it.",
    stacked=True,
)
_OLDEST: Final = Panel(
    "How long has the oldest task been waiting, right now?",
    (
        Query(
            "max by (service_name, orchestrator_run_id, orchestrator_task_state)"
            f" (orchestrator_queue_oldest_age_seconds{{{FILTER}}})",
            "{{service_name}} {{orchestrator_run_id}} {{orchestrator_task_state}}",
        ),
    ),
    "s",
)
_LATENCY: Final = Panel(
    "How slow are LLM calls?",
    tuple(
        Query(
            quantile(q, SPANS, "gen_ai_request_model", CHAT),
            f"p{q * 100:.0f} {{{{gen_ai_request_model}}}}",
            exemplar=q == 0.95,
        )
        for q in (0.5, 0.95, 0.99)
    ),
    "ms",
    "Each logical call with all its retries. A dot is one call: its link opens the trace.",
)
_LLM_ERRORS: Final = Panel(
    "How many LLM calls fail?",
    (
        Query(
            share(
                f'traces_span_metrics_calls_total{{{CHAT},status_code="STATUS_CODE_ERROR"}}',
                f"traces_span_metrics_calls_total{{{CHAT}}}",
                "gen_ai_request_model",
            ),
            "{{gen_ai_request_model}}",
        ),
    ),
    "percentunit",
    "After all retries.",
)


# Jaeger is a Collector, too, and takes the same spans once more.
_ITS_OWN: Final = '{job="otel-collector"}'
_ENDED: Final = counted_work(CALLS, FILTER)
_FAILED: Final = counted_work(CALLS, f'{FILTER},status_code="STATUS_CODE_ERROR"')

BOARDS: Final = (
    Dashboard(
        "orchestrator-overview",
        "Orchestrator: overview",
        (
            _DEPTH,
            _WAITS,
            Panel(
                "How much time goes into LLM calls, git and tools?",
                (
                    Query(
                        "sum by (orchestrator_category) "
                        + counted_work(
                            f"{SPANS}_sum", f'{FILTER},orchestrator_category=~"llm|git|tool"'
                        )
                        + " / 1000",
                        "{{orchestrator_category}}",
                    ),
                ),
                "none",
                "Seconds worked in a second: 2 means that two were at it at once.",
                stacked=True,
            ),
            _LATENCY,
            _OLDEST,
            Panel(
                "How many runs are active?",
                (
                    Query(
                        f"sum by (service_name) (orchestrator_run_active{{{FILTER}}})",
                        "{{service_name}}",
                    ),
                ),
                "none",
            ),
            how_long(
                "How long do runs take?",
                "gen_ai_invoke_workflow_duration_seconds",
                "gen_ai_workflow_name",
            ),
            Panel(
                "What fails?",
                (
                    Query(
                        f"(sum by (orchestrator_category) {_FAILED} or 0 *"
                        f" sum by (orchestrator_category) {_ENDED})"
                        f" / sum by (orchestrator_category) {_ENDED}",
                        "{{orchestrator_category}}",
                    ),
                ),
                "percentunit",
                "Spans that ended in an error, of their category; of LLM calls, after all retries.",
            ),
        ),
    ),
    Dashboard(
        "orchestrator-llm",
        "Orchestrator: LLM latency",
        (
            _LATENCY,
            how_long(
                "How long until the first token?",
                "gen_ai_client_operation_time_to_first_chunk_seconds",
                "gen_ai_request_model",
                "Of streamed answers.",
            ),
            often("How many calls a second?", CALLS, "gen_ai_request_model", CHAT),
            _LLM_ERRORS,
            Panel(
                "How many tokens a second?",
                (
                    Query(
                        "sum by (gen_ai_request_model, gen_ai_token_type)"
                        f" (rate(gen_ai_client_token_usage_sum{{{FILTER}}}{RATE}))",
                        "{{gen_ai_request_model}} {{gen_ai_token_type}}",
                    ),
                ),
                "none",
            ),
            Panel(
                "How much of the time is waiting for rate limits?",
                (
                    Query(
                        share(
                            f"orchestrator_llm_rate_limited_duration_seconds_sum{{{FILTER}}}",
                            f"gen_ai_client_operation_duration_seconds_sum{{{FILTER}}}",
                            "gen_ai_request_model",
                        ),
                        "{{gen_ai_request_model}}",
                    ),
                ),
                "percentunit",
            ),
            Panel(
                "How many requests does one call take?",
                (
                    Query(
                        "sum by (gen_ai_request_model)"
                        f" (rate(orchestrator_llm_attempts_sum{{{FILTER}}}{RATE}))"
                        " / sum by (gen_ai_request_model)"
                        f" (rate(orchestrator_llm_attempts_count{{{FILTER}}}{RATE}))",
                        "{{gen_ai_request_model}}",
                    ),
                ),
                "none",
                "1 where nothing is tried again.",
            ),
            Panel(
                "How are the latencies spread?",
                (
                    Query(
                        f"sum by (le) (increase({SPANS}_bucket{{{CHAT}}}{RATE}))",
                        "{{le}}",
                        exemplar=True,
                    ),
                ),
                "ms",
                kind="heatmap",
            ),
        ),
    ),
    Dashboard(
        "orchestrator-queues",
        "Orchestrator: queues and waits",
        (
            _DEPTH,
            _OLDEST,
            _WAITS,
            how_long(
                "How long does each kind of wait take?",
                "orchestrator_wait_duration_seconds",
                "orchestrator_category",
            ),
            Panel(
                "How much of the tasks' time is lost at barriers?",
                (
                    Query(
                        share(
                            f'orchestrator_wait_duration_seconds_sum{{{FILTER},orchestrator_category="barrier"}}',
                            f"orchestrator_task_duration_seconds_sum{{{FILTER}}}",
                            "service_name",
                        ),
                        "{{service_name}}",
                    ),
                ),
                "percentunit",
                "Done, and waiting for a slower sibling. More than 30 %: dispatch continuously.",
            ),
            how_long(
                "How long do tasks take?",
                "orchestrator_task_duration_seconds",
                "orchestrator_task_name",
            ),
            how_long("How long do supersteps take?", "orchestrator_superstep_duration_seconds"),
            how_long(
                "How long do nodes take?",
                "orchestrator_node_duration_seconds",
                "orchestrator_node_name",
            ),
        ),
    ),
    Dashboard(
        "orchestrator-git",
        "Orchestrator: git",
        (
            how_long(
                "Which git commands are slow?",
                "orchestrator_git_duration_seconds",
                "orchestrator_git_command",
            ),
            often(
                "Which git commands are frequent?",
                "orchestrator_git_duration_seconds_count",
                "orchestrator_git_command",
            ),
            Panel(
                "How much time goes into which command?",
                (
                    Query(
                        "sum by (orchestrator_git_command)"
                        f" (rate(orchestrator_git_duration_seconds_sum{{{FILTER}}}{RATE}))",
                        "{{orchestrator_git_command}}",
                    ),
                ),
                "none",
                "Seconds in git in a second.",
                stacked=True,
            ),
            Panel(
                "Which git commands fail?",
                (
                    Query(
                        share(
                            f'orchestrator_git_duration_seconds_count{{{FILTER},error_type!=""}}',
                            f"orchestrator_git_duration_seconds_count{{{FILTER}}}",
                            "orchestrator_git_command",
                        ),
                        "{{orchestrator_git_command}}",
                    ),
                ),
                "percentunit",
            ),
        ),
    ),
    COMPARED,
    Dashboard(
        "orchestrator-collector",
        "Orchestrator: Collector health",
        (
            of_the_collector(
                "Does every part answer?", "none", ("min by (job) (up)", "{{job}}"), hint="1: yes."
            ),
            of_the_collector(
                "How much comes in?",
                "cps",
                (rate(f"otelcol_receiver_accepted_spans_total{_ITS_OWN}"), "spans"),
                (rate(f"otelcol_receiver_accepted_metric_points_total{_ITS_OWN}"), "metric points"),
            ),
            of_the_collector(
                "How full are the queues?",
                "percentunit",
                (
                    "max by (exporter)"
                    " (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
                    "{{exporter}}",
                ),
                hint="Full, they refuse. They empty by themselves when the other side is back.",
            ),
            of_the_collector(
                "Is anything lost?",
                "cps",
                *(
                    failed(f"{how}_failed_{what}")
                    for how in ("enqueue", "send")
                    for what in ("spans", "metric_points")
                ),
            ),
            of_the_collector(
                "Is anything refused?",
                "cps",
                (rate("otelcol_receiver_refused_spans_total"), "spans"),
                (rate("otelcol_receiver_refused_metric_points_total"), "metric points"),
                hint="The memory limit is reached. Senders try again, for a while.",
            ),
            of_the_collector(
                "How much memory does it take?",
                "bytes",
                ("max by (instance) (otelcol_process_memory_rss_bytes)", "{{instance}}"),
            ),
            of_the_collector(
                "How many series does it add up?",
                "none",
                ("sum(otelcol_deltatocumulative_streams_tracked)", "tracked"),
                ("max(otelcol_deltatocumulative_streams_limit)", "limit"),
            ),
            of_the_collector(
                "How many series does Prometheus hold?",
                "none",
                ("max(prometheus_tsdb_head_series)", "series"),
            ),
        ),
    ),
)

"""Every span, attribute and metric name, each with where it comes from.

The OpenTelemetry name comes first; `orchestrator.*` is ours, and only where the conventions
have nothing: there is no convention for a graph's node, superstep, task, queue or wait
(open: semantic-conventions-genai #187 and #188).

GenAI names: https://github.com/open-telemetry/semantic-conventions-genai (Development).
Process and VCS names: https://opentelemetry.io/docs/specs/semconv/ (v1.44).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

# --- span names: an operation and a low-cardinality name; ids and numbers are attributes ---
INVOKE_WORKFLOW: Final = "invoke_workflow"
INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
LOOP: Final = "loop"
SUPERSTEP: Final = "superstep"
NODE: Final = "node"
TASK: Final = "task"
WAIT: Final = "wait"
PENDING: Final = "pending"
RECEIVE: Final = "receive"
GIT: Final = "git"

# --- values of orchestrator.state ---
State = Literal["working", "waiting", "container"]
WORKING: Final = "working"
WAITING: Final = "waiting"
CONTAINER: Final = "container"

# --- values of orchestrator.category; a wait may also carry the user's own word ---
LLM: Final = "llm"
TOOL: Final = "tool"
HTTP: Final = "http"
COMPUTE: Final = "compute"
FRAMEWORK: Final = "framework"
DEPENDENCY: Final = "dependency"
HELD: Final = "held"
CYCLE: Final = "cycle"
QUEUE: Final = "queue"
BARRIER: Final = "barrier"
CHECKPOINT: Final = "checkpoint"
RETRY_BACKOFF: Final = "retry_backoff"
RATE_LIMIT: Final = "rate_limit"
POOL: Final = "pool"
CONSUMER: Final = "consumer"
READER: Final = "reader"
"""What a stream waits on that its consumer holds."""
SLOT: Final = "slot"
"""What a task waits on that has nobody who runs it."""
HUMAN: Final = "human"
# ("git" above is a category, too.)
WAITS: Final = (
    DEPENDENCY, HELD, CYCLE, QUEUE, BARRIER, RATE_LIMIT, RETRY_BACKOFF, POOL, CHECKPOINT, CONSUMER,
    HUMAN,
)  # fmt: skip
"""The categories of waits that any run may have; an application may have words of its own."""

# --- values of orchestrator.task.state, by which the queue's gauges count ---
READY: Final = "ready"
ACTIVE: Final = "active"
# ("waiting" above is one, too.)
TASK_STATES: Final = (READY, ACTIVE, WAITING)
NOT_STARTED: Final = (READY, WAITING)

# --- values of orchestrator.outcome ---
Outcome = Literal["ok", "error", "interrupted", "cancelled", "abandoned"]
OK: Final = "ok"
ERROR: Final = "error"
INTERRUPTED: Final = "interrupted"
CANCELLED: Final = "cancelled"
ABANDONED: Final = "abandoned"


class Attr:
    """Attribute keys of spans, metrics and the resource."""

    # ours
    STATE: Final = "orchestrator.state"
    CATEGORY: Final = "orchestrator.category"
    OUTCOME: Final = "orchestrator.outcome"
    OPEN_AGE: Final = "orchestrator.open.age"
    """Seconds for which a span was open when its program was heard of for the last time: it was
    killed, so the span's end is that instant, and its outcome `interrupted`."""
    PENDING: Final = "orchestrator.pending"
    """The id of the span that this one stands for while that is open (`configure(pending_spans=)`);
    it has no length, and counts nowhere."""
    RUN_ID: Final = "orchestrator.run.id"
    RUN_LABEL: Final = "orchestrator.run.label"
    """Resource: what `compare` groups runs by."""
    SERVICE: Final = "orchestrator.service"
    """Resource: the true `service.name`, where spans were sorted into services by what they do."""
    CONCURRENCY_LIMIT: Final = "orchestrator.concurrency.limit"
    CONCURRENCY_PEAK: Final = "orchestrator.concurrency.peak"
    """Run: how many nodes of the outermost graph ran at once, at most."""
    LOOP_INDEX: Final = "orchestrator.loop.index"
    LOOP_HEAD: Final = "orchestrator.loop.head"
    SUPERSTEP_INDEX: Final = "orchestrator.superstep.index"
    NODE_NAME: Final = "orchestrator.node.name"
    NODE_ATTEMPT: Final = "orchestrator.node.attempt"
    """2 for the second attempt of a node, counted up by its retry policy; the first has none."""
    NODE_SOURCE: Final = "orchestrator.node.source"
    """How the node came by its result, where it did not run: `cached` or `restored`."""
    TASK_NAME: Final = "orchestrator.task.name"
    TASK_ID: Final = "orchestrator.task.id"
    """The application's id of the task; several nodes may work for one."""
    TASK_STATE: Final = "orchestrator.task.state"
    """Queue gauge: `ready`, `active` or `waiting`."""
    GRAPH_TASK_ID: Final = "orchestrator.graph.task.id"
    """LangGraph's own id of the task: the same again when a run is resumed."""
    WAIT_ON: Final = "orchestrator.wait.on"
    """What a wait waits for: the sibling that holds the barrier, a lock, a slot."""
    SHORT_WAIT: Final = "orchestrator.wait.short."
    """Prefix, followed by a category: seconds of the waits too short for a span of their own, on
    the span whose child they would have been."""
    SENT_HOST: Final = "orchestrator.sent.host"
    """By which host's clock a message was sent; on what waited for it, if that host is another."""
    SENT_AGO: Final = "orchestrator.sent.ago"
    """Seconds from sent to received, each by its own host's clock: with clocks that differ it may
    be anything, also less than 0."""
    TASK_DEPENDS_ON: Final = "orchestrator.task.depends_on"
    """Ids of the application's tasks that must be done first; missing where they are not known."""
    TASK_WAITED_DEPENDENCY: Final = "orchestrator.task.wait.dependency"
    """Seconds from planned to the end of the last dependency's node. This wait and the next two
    follow on each other and end when LangGraph schedules the task: its span's start."""
    TASK_WAITED_HELD: Final = "orchestrator.task.wait.held"
    """Seconds from there to that superstep's barrier."""
    TASK_WAITED_CYCLE: Final = "orchestrator.task.wait.cycle"
    """Seconds from that barrier to scheduled."""
    RESUMED: Final = "orchestrator.run.resumed"
    """Run: it goes on where another was interrupted, which it links to if that is known."""
    CONSUMER_OVERLAP: Final = "orchestrator.consumer.overlap"
    """Seconds in which a reader held the stream while a node of the superstep was running."""
    LLM_CACHED: Final = "orchestrator.llm.cached"
    """The answer came out of a cache of LangChain's; no request was made."""
    PROMPT_HASH: Final = "orchestrator.llm.prompt.hash"
    """Equal for equal requests to one model within one process, messages, tools and all else that
    determines the answer: a hash with a salt that is never written down."""
    LLM_ATTEMPTS: Final = "orchestrator.llm.attempts"
    """HTTP requests made for one logical LLM call."""
    LLM_RATE_LIMITED: Final = "orchestrator.llm.rate_limited"
    """Seconds an LLM call waited for rate limits, all its `wait rate_limit` together."""
    LLM_CHUNKS: Final = "orchestrator.llm.chunks"
    """Chunks with content that a streamed answer came in."""
    LLM_COST: Final = "orchestrator.llm.cost"
    """From the user's own table of prices, in that table's currency."""
    CONTENT_TRUNCATED: Final = "orchestrator.llm.content.truncated"
    """Recorded messages were cut to the size cap."""
    RETRY_AFTER: Final = "orchestrator.wait.retry_after"
    """Back-off: seconds the server asked to wait, in its `Retry-After`."""
    # The conventions have no phases of an HTTP request (semantic-conventions #2827). Seconds each,
    # one after the other; waiting for a free connection is a `wait pool` span.
    HTTP_CONNECT: Final = "orchestrator.http.connect"
    """Attempt: to open a new connection, with what a proxy took, without TLS."""
    HTTP_TLS: Final = "orchestrator.http.tls"
    """Attempt: the TLS handshake."""
    HTTP_SEND: Final = "orchestrator.http.send"
    """Attempt: to send headers and body."""
    HTTP_FIRST_BYTE: Final = "orchestrator.http.time_to_first_byte"
    """Attempt: from there to the response's headers, with which the attempt's span ends."""
    HTTP_REUSED: Final = "orchestrator.http.connection.reused"
    """Attempt: it went over a connection that was open before."""

    SELF_PART: Final = "orchestrator.self.part"
    """Whose time it was: `program`, `writer` or `sender`."""

    # GenAI conventions
    OPERATION: Final = "gen_ai.operation.name"
    PROVIDER: Final = "gen_ai.provider.name"
    WORKFLOW_NAME: Final = "gen_ai.workflow.name"
    AGENT_NAME: Final = "gen_ai.agent.name"
    CONVERSATION_ID: Final = "gen_ai.conversation.id"
    REQUEST_MODEL: Final = "gen_ai.request.model"
    REQUEST_STREAM: Final = "gen_ai.request.stream"
    REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
    REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
    REQUEST_TOP_P: Final = "gen_ai.request.top_p"
    RESPONSE_MODEL: Final = "gen_ai.response.model"
    RESPONSE_ID: Final = "gen_ai.response.id"
    FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
    TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
    """Seconds, as a double."""
    INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
    OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
    CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
    CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
    REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
    INPUT_MESSAGES: Final = "gen_ai.input.messages"
    """Opt-in: JSON, as `gen-ai-input-messages.json` of the conventions; likewise the next two."""
    OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
    SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
    TOKEN_TYPE: Final = "gen_ai.token.type"
    TOOL_NAME: Final = "gen_ai.tool.name"
    TOOL_TYPE: Final = "gen_ai.tool.type"
    TOOL_CALL_ID: Final = "gen_ai.tool.call.id"

    # core conventions
    ERROR_TYPE: Final = "error.type"
    COMPONENT_TYPE: Final = "otel.component.type"
    COMPONENT_NAME: Final = "otel.component.name"
    SERVICE_NAME: Final = "service.name"
    HOST_NAME: Final = "host.name"
    RESEND_COUNT: Final = "http.request.resend_count"
    SERVER_ADDRESS: Final = "server.address"
    SERVER_PORT: Final = "server.port"
    PROCESS_EXECUTABLE: Final = "process.executable.name"
    PROCESS_PID: Final = "process.pid"
    PROCESS_EXIT_CODE: Final = "process.exit.code"
    REPOSITORY_NAME: Final = "vcs.repository.name"
    REF_HEAD_REVISION: Final = "vcs.ref.head.revision"
    """On the resource: the commit that the program's own code is at."""
    REF_HEAD_NAME: Final = "vcs.ref.head.name"
    # ours again: the conventions know repositories, not worktrees
    WORKTREE: Final = "orchestrator.git.worktree"
    """The worktree's folder name, never its whole path."""
    GIT_COMMAND: Final = "orchestrator.git.command"
    """Metrics: the subcommand, such as `worktree add`."""
    GIT_SIGNAL: Final = "orchestrator.git.signal"
    GIT_LOCK: Final = "orchestrator.git.lock"
    """Which lock somebody else held, so that git failed at once: `index`, `ref`, `config` ..."""
    GIT_PART: Final = "orchestrator.git.part"
    """What a span within a git span is, by git's own events: `hook`, `process` or `region`."""
    GIT_OUTPUT_SIZE: Final = "orchestrator.git.output.size"
    """Bytes that the program read from git's output and complaints."""


def is_http(attributes: Mapping[str, object]) -> bool:
    """Return whether these are the attributes of an HTTP request's span."""
    # By the conventions of now, and of before.
    return "http.request.method" in attributes or "http.method" in attributes


def is_attempt(attributes: Mapping[str, object]) -> bool:
    """Return whether these are an LLM call's HTTP request's: marked `llm`, but the call counts."""
    return attributes.get(Attr.CATEGORY) == LLM and is_http(attributes)


def is_git_part(attributes: Mapping[str, object]) -> bool:
    """Return whether these are of something within a git command: the command's span counts."""
    return Attr.GIT_PART in attributes


class Metric:
    """Metric names. Durations are histograms in seconds."""

    QUEUE_DEPTH: Final = "orchestrator.queue.depth"
    """Gauge, `{task}`, by `orchestrator.task.state`."""
    QUEUE_OLDEST_AGE: Final = "orchestrator.queue.oldest.age"
    """Gauge, `s`: age of the task that has been waiting or ready for longest."""
    RUN_ACTIVE: Final = "orchestrator.run.active"
    """Gauge, `{run}`: runs that are open in this process, 0 at a clean end."""
    # Gauges, written once at the end of a run that has a label, with label, name, id and outcome.
    RUN_DURATION: Final = "orchestrator.run.duration"
    RUN_WORK: Final = "orchestrator.run.work"
    """`s`: of its spans of a category, `llm`, `git` or `tool`, together."""
    RUN_WAIT: Final = "orchestrator.run.wait"
    """`s`: by category, without people."""
    RUN_TASKS: Final = "orchestrator.run.tasks"
    RUN_LLM_CALLS: Final = "orchestrator.run.llm.calls"
    RUN_TOKENS: Final = "orchestrator.run.tokens"
    """`{token}`, by `gen_ai.token.type`."""
    STACK_CHECK: Final = "orchestrator.stack.check"
    """Counter, `{check}`: sent by `stack check` only, to see whether it arrives."""
    # What this package itself does: see `self_metrics`.
    PROCESSED: Final = "otel.sdk.processor.span.processed"
    SELF_UNSENT: Final = "orchestrator.self.unsent"
    SELF_TIME: Final = "orchestrator.self.time"
    """Counter, `s`, by `orchestrator.self.part`: of the program's threads wall clock, as it waits
    for it; of ours CPU."""
    LOOP_DURATION: Final = "orchestrator.loop.duration"
    SUPERSTEP_DURATION: Final = "orchestrator.superstep.duration"
    NODE_DURATION: Final = "orchestrator.node.duration"
    TASK_DURATION: Final = "orchestrator.task.duration"
    WAIT_DURATION: Final = "orchestrator.wait.duration"
    GIT_DURATION: Final = "orchestrator.git.duration"
    WORKFLOW_DURATION: Final = "gen_ai.invoke_workflow.duration"
    AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
    TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
    LLM_DURATION: Final = "gen_ai.client.operation.duration"
    LLM_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
    LLM_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
    TOKEN_USAGE: Final = "gen_ai.client.token.usage"
    LLM_ATTEMPTS: Final = "orchestrator.llm.attempts"
    """`{attempt}`: HTTP requests for each logical LLM call."""
    LLM_RATE_LIMITED: Final = "orchestrator.llm.rate_limited.duration"
    """Time each call that was rate limited waited for that, all back-offs together."""


# Bucket bounds in seconds. The GenAI list ends at 81.92 s, too soon for reasoning models: three
# doublings more. Runs and waits last from milliseconds to hours.
GENAI_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    163.84, 327.68, 655.36,
)  # fmt: skip
ORCHESTRATOR_SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1800.0, 3600.0, 7200.0,
)  # fmt: skip
ATTEMPTS: Final = (1, 2, 3, 4, 5, 8, 16)
TOKENS: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip

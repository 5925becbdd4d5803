"""The program that is killed: a LangGraph orchestrator that runs for ever, and notes what is true.

    python -m tests.kills.program

It reads orders from stdin, a JSON object a line, and forks a child for each: so that 200 kills do
not import LangGraph 200 times. What is killed is a process with threads, files and connections of
its own; its parent has none of them. Orders: `{"folder": ..., "truth": ..., "environment": {...},
"runs": null}`, answered with the child's pid, and `{"wait_for": pid}`, with how that ended.
"""

from __future__ import annotations

import json
import operator
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

import otel_orchestrator as otel

SERIAL = "trial.serial"
BEAT_S = 0.05
WORKERS = 3
LOOPS = 4


class Truth(SpanProcessor):
    """Numbers every span, and tells the kernel of its start and end: a kill takes nothing back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._count = 0

        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        """Tell how long this program gets no time, or no disk: then nothing can be promised."""
        while True:
            os.utime(self._path)
            os.write(self._file, f"beat - {time.time_ns()}\n".encode())
            time.sleep(BEAT_S)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._count += 1
        serial = f"{os.getpid()}-{self._count}"
        span.set_attribute(SERIAL, serial)
        os.write(self._file, f"start {serial} {time.time_ns()}\n".encode())

    def on_end(self, span: ReadableSpan) -> None:
        serial = str((span.attributes or {})[SERIAL])
        os.write(self._file, f"end {serial} {time.time_ns()}\n".encode())


class State(TypedDict, total=False):
    loop: int
    done: Annotated[list[int], operator.add]
    job: int


def director(state: State) -> State:
    time.sleep(random.uniform(0, 0.01))
    return {"loop": state.get("loop", 0) + 1}


def worker(state: State) -> State:
    tracer = trace.get_tracer("trial")
    for _ in range(3):
        with tracer.start_as_current_span("step"):
            time.sleep(random.uniform(0, 0.02))
    if random.random() < 0.1:
        time.sleep(random.uniform(0.5, 2))
    return {"done": [state["job"]]}


def graph() -> Any:
    """Director → workers → director … LOOPS times."""
    builder = StateGraph(State)
    builder.add_node("director", director)
    builder.add_node("worker", worker)
    builder.add_edge(START, "director")
    builder.add_conditional_edges("director", fan_out, ["worker", END])
    builder.add_edge("worker", "director")
    return builder.compile(name="trial")


def fan_out(state: State) -> Any:
    if state["loop"] > LOOPS:
        return END
    return [Send("worker", {"job": job}) for job in range(WORKERS)]


def trial(compiled: Any, order: dict[str, Any]) -> None:
    """Run the orchestrator again and again, `runs` times or until it is killed."""
    os.environ.update(order["environment"])
    otel.configure(run_dir=order["folder"], service_name="trial")
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(Truth(Path(order["truth"])))
    runs = order["runs"]
    while runs is None or runs > 0:
        compiled.invoke({"loop": 0, "done": []})
        runs = None if runs is None else runs - 1
    otel.shutdown(20)


def main() -> None:
    otel.instrument()
    compiled = graph()
    compiled.invoke({"loop": LOOPS, "done": []})  # what it imports, it has imported
    assert callable(otel.configure)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait_for" in order:
            # Not before the last of its threads is gone, and so every lock that it held.
            print(os.waitpid(order["wait_for"], 0)[1], flush=True)
            continue
        child = os.fork()
        if child == 0:
            code = 1
            try:
                trial(compiled, order)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(child, flush=True)


if __name__ == "__main__":
    main()

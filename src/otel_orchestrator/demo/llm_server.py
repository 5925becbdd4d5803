"""A local server that plays the LLM: OpenAI-compatible, streaming, with the troubles of a real one.

What it answers depends on the conversation and the seed alone, never on the order of arrival; so
do its delays, rate limits and failures. It knows the shipped plan and hands out its edits as tool
calls. Start it with `python -m otel_orchestrator.demo.llm_server`; it prints its address.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from . import plan
from .script import answer_to
from .slow import LLM, note, note_delay

_WORDS_PER_CHUNK: Final = 2


@dataclass(frozen=True, slots=True)
class LLMBehaviour:
    """How the local LLM behaves.

    Attributes:
        seed: of every delay and failure.
        speed: all delays are multiplied by it.
        llm_speed: those of answers are multiplied by this, too; not what a refusal asks to wait.
        slower_s: how much longer each answer takes to begin, whatever the speed; noted in the
            record.
        first_token_s, token_s: medians of log-normal delays.
        spread: sigma of the log-normal.
        rate_limited, failing: the share of calls whose first attempt is answered 429 or 500.
        retry_after_s: what a 429 asks to wait; a 500 asks for half of it, so that no run depends
            on the client's dice.
        concurrency: answers that are made at once; further ones wait.
    """

    seed: int = 7
    speed: float = 1.0
    llm_speed: float = 1.0
    slower_s: float = 0.0
    first_token_s: float = 0.38
    token_s: float = 0.011
    spread: float = 0.35
    rate_limited: float = 0.06
    failing: float = 0.03
    retry_after_s: float = 1.0
    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class Fate:
    """What will happen to one attempt: decided by the conversation and the seed."""

    status: int
    first_token_s: float
    token_s: float


def fate_of(behaviour: LLMBehaviour, messages: list[dict[str, Any]], attempt: int) -> Fate:
    """Decide what happens to an attempt."""
    told = json.dumps([behaviour.seed, [[m.get("role"), m.get("content")] for m in messages]])
    dice = random.Random(hashlib.sha256(told.encode()).digest())
    trouble = dice.random()
    status = 200
    if attempt == 0 and trouble < behaviour.rate_limited:
        status = 429
    elif attempt == 0 and trouble < behaviour.rate_limited + behaviour.failing:
        status = 500
    stretch = dice.lognormvariate(0, behaviour.spread) * behaviour.speed * behaviour.llm_speed
    return Fate(status, behaviour.first_token_s * stretch, behaviour.token_s * stretch)


class LLMServer(ThreadingHTTPServer):
    """Serves `/v1/chat/completions`; notes in `record` what it did, a line for each attempt."""

    daemon_threads = True

    def __init__(self, behaviour: LLMBehaviour, port: int = 0, record: Path | None = None):
        super().__init__(("127.0.0.1", port), _Handler)
        self.behaviour = behaviour
        self.slots = threading.Semaphore(behaviour.concurrency)
        self.tasks = {t["id"]: t for t in plan.shipped()["tasks"]}
        self.record = record

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up, as one does that leaves a refusal unread."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LLMServer

    def do_POST(self) -> None:
        received_ns = time.time_ns()
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        attempt = int(self.headers.get("x-stainless-retry-count", 0))
        behaviour = self.server.behaviour
        fate = fate_of(behaviour, request["messages"], attempt)
        facts = {"received_ns": received_ns, "attempt": attempt, "status": fate.status}
        if fate.status != 200:
            self._refuse(fate.status)
            note(self.server.record, **facts, done_ns=time.time_ns())
            return
        with self.server.slots:
            facts["started_ns"] = time.time_ns()
            self._be_slower()
            time.sleep(fate.first_token_s)
            facts["first_token_ns"] = time.time_ns()
            message = answer_to(request["messages"], self.server.tasks)
            try:
                if request.get("stream"):
                    self._stream(request, message, fate)
                else:
                    time.sleep(fate.token_s * _length(message))
                    self._send_json(200, _completion(request, message))
            except (BrokenPipeError, ConnectionResetError):
                facts["abandoned"] = True
                self.close_connection = True
            note(self.server.record, **facts, done_ns=time.time_ns())

    def _be_slower(self) -> None:
        behaviour = self.server.behaviour
        if behaviour.slower_s:
            began_ns = time.time_ns()
            time.sleep(behaviour.slower_s)
            note_delay(self.server.record, LLM, began_ns)

    def _refuse(self, status: int) -> None:
        kind = "rate_limit_exceeded" if status == 429 else "server_error"
        wait_s = self.server.behaviour.retry_after_s * self.server.behaviour.speed
        headers = {"retry-after": f"{wait_s if status == 429 else wait_s / 2:.3f}"}
        self._send_json(status, {"error": {"message": kind, "type": kind}}, headers)

    def _send_json(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, request: dict[str, Any], message: dict[str, Any], fate: Fate) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        began_s = time.monotonic()
        for i, chunk in enumerate(_chunks(request, message)):
            # By the clock, or the time that writing takes would add up.
            due_s = began_s + i * fate.token_s * _WORDS_PER_CHUNK
            time.sleep(max(0.0, due_s - time.monotonic()))
            self._send_chunk(f"data: {json.dumps(chunk)}\n\n".encode())
        self._send_chunk(b"data: [DONE]\n\n")
        self._send_chunk(b"")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the demo has its own progress."""


def _length(message: dict[str, Any]) -> int:
    calls = message.get("tool_calls") or []
    told = (message.get("content") or "") + "".join(c["function"]["arguments"] for c in calls)
    return max(1, len(told.split()))


def _usage(request: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    read = len(json.dumps(request["messages"])) // 4
    written = _length(message)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _reason(message: dict[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def _envelope(request: dict[str, Any], kind: str) -> dict[str, Any]:
    name = hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()[:12]
    return {"id": f"chatcmpl-{name}", "object": kind, "created": 0, "model": request["model"]}


def _completion(request: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": _reason(message)}
    usage = _usage(request, message)
    return {**_envelope(request, "chat.completion"), "choices": [choice], "usage": usage}


def _chunks(request: dict[str, Any], message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    envelope = _envelope(request, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**envelope, "choices": [choice], "usage": None}

    yield chunk({"role": "assistant", "content": ""})
    words = (message.get("content") or "").split(" ")
    for i in range(0, len(words), _WORDS_PER_CHUNK):
        text = " ".join(words[i : i + _WORDS_PER_CHUNK])
        if text:
            yield chunk({"content": text if i == 0 else f" {text}"})
    for index, call in enumerate(message.get("tool_calls") or []):
        yield chunk({"tool_calls": [{**call, "index": index}]})
    yield chunk({}, _reason(message))
    if (request.get("stream_options") or {}).get("include_usage"):
        yield {**envelope, "choices": [], "usage": _usage(request, message)}


def _end_with_parent(parent: int) -> None:
    """Exit soon after the parent has: one that is killed cannot end what it has started."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    """Serve until killed; print the address first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--llm-speed", type=float, default=1.0)
    parser.add_argument("--slower", type=float, default=0.0)
    parser.add_argument("--record", type=Path, default=None)
    parser.add_argument("--end-with-parent", action="store_true")
    options = parser.parse_args()
    behaviour = LLMBehaviour(
        seed=options.seed,
        speed=options.speed,
        llm_speed=options.llm_speed,
        slower_s=options.slower,
    )
    server = LLMServer(behaviour, options.port, options.record)
    if options.end_with_parent:
        threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

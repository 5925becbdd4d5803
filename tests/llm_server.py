"""A local OpenAI- and Anthropic-compatible server that does just what a test tells it to."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SECRET_ANSWER = "the answer is forty-two"


@dataclass(frozen=True, slots=True)
class Reply:
    """What one request gets.

    Attributes:
        status: 429 and 500 are what clients try again.
        retry_after_s: sent with a 429, in milliseconds; None for nothing.
        retry_after: sent with a 429 as it is: a number of seconds, or a date.
        read_s: before the request's body is read.
        tool, arguments: a tool call instead of the answer.
        think_s: before the headers.
        first_s: in a stream, between the headers and the first chunk with content.
        pause_s: before each chunk of a stream but the first.
        drop_after: close the connection in the middle of the stream, after so many chunks.
        hold_s: in a stream, after its last chunk.
    """

    status: int = 200
    retry_after_s: float | None = 0.01
    retry_after: str | None = None
    read_s: float = 0.0
    tool: str | None = None
    arguments: str = "{}"
    think_s: float = 0.0
    first_s: float = 0.0
    pause_s: float = 0.0
    drop_after: int | None = None
    hold_s: float = 0.0


@dataclass
class Seen:
    """When a request went through what, wall clock in nanoseconds: what tests compare with."""

    arrived_ns: int
    read_ns: int = 0
    headers_ns: int = 0
    first_token_ns: int = 0
    ended_ns: int = 0
    connection: int = 0


@dataclass
class LLM:
    """The running server: its URL, what it will answer, and what it was asked."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    error_message: str = "no"


@contextmanager
def serving(
    *, tls: ssl.SSLContext | None = None, handshake_s: float = 0.0, takes_at_once: int = 0
) -> Iterator[LLM]:
    """Run a server on a free port; without replies left, every answer is a plain one.

    Args:
        tls: speak TLS.
        handshake_s: wait before the handshake of each connection.
        takes_at_once: bytes that a connection takes before anything is read; 0 for as many as it
            likes.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Or the body waits 40 ms for the headers' delayed acknowledgement, and nobody notes that.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            if tls is not None:
                time.sleep(handshake_s)
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_POST(self) -> None:
            seen = Seen(time.time_ns(), connection=self.client_address[1])
            llm.seen.append(seen)
            reply = llm.replies.pop(0) if llm.replies else Reply()
            time.sleep(reply.read_s)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.read_ns = time.time_ns()
            request = json.loads(body)
            llm.requests.append(request)
            time.sleep(reply.think_s)
            seen.headers_ns = time.time_ns()
            if reply.status != 200:
                error = {"error": {"message": llm.error_message}}
                self._json(reply.status, error, reply)
                seen.ended_ns = time.time_ns()
                return
            path = urlsplit(self.path).path
            # Vertex's paths end with :rawPredict or :streamRawPredict, Bedrock's with /invoke.
            anthropic = path.endswith(("/messages", "awPredict", "/invoke"))
            whole, parts = DIALECTS["messages" if anthropic else path.rpartition("/")[2]]
            events = list(parts(reply))
            if not request.get("stream"):
                self._json(200, whole(reply))
                seen.ended_ns = time.time_ns()
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for i, (name, event) in enumerate(events):
                    if reply.drop_after is not None and i >= reply.drop_after:
                        self.close_connection = True
                        seen.ended_ns = time.time_ns()
                        self.connection.close()
                        return
                    time.sleep(reply.pause_s if i else 0)
                    is_token = not seen.first_token_ns and is_token_event(event)
                    if is_token:
                        time.sleep(reply.first_s)
                        seen.first_token_ns = time.time_ns()
                    self._chunk(f"event: {name}\ndata: {json.dumps(event)}\n\n".encode())
                time.sleep(reply.hold_s)
                seen.ended_ns = time.time_ns()
                if not anthropic:
                    self._chunk(b"data: [DONE]\n\n")
                self._chunk(b"")
            except OSError:
                self.close_connection = True

        def _json(self, status: int, body: Any, reply: Reply | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if status == 429 and reply is not None:
                if reply.retry_after_s is not None:
                    self.send_header("retry-after-ms", str(int(reply.retry_after_s * 1000)))
                if reply.retry_after is not None:
                    self.send_header("retry-after", reply.retry_after)
            self.end_headers()
            self.wfile.write(data)

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            """Say nothing of clients that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    if takes_at_once:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes_at_once)
    scheme = "http" if tls is None else "https"
    llm = LLM(f"{scheme}://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield llm
    finally:
        server.shutdown()
        server.server_close()


USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


def _tool_call(reply: Reply) -> dict[str, Any]:
    function = {"name": reply.tool, "arguments": reply.arguments}
    return {"id": "call_1", "type": "function", "function": function}


def _openai_whole(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": SECRET_ANSWER}
    if reply.tool:
        message = {"role": "assistant", "content": None, "tool_calls": [_tool_call(reply)]}
    reason = "tool_calls" if reply.tool else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    envelope = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-real"}
    return {**envelope, "choices": [choice], "usage": USAGE}


def _openai(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    envelope["model"] = "gpt-real"

    def chunk(delta: dict[str, Any], reason: str | None = None) -> tuple[str, dict[str, Any]]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return "message", {**envelope, "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    if reply.tool:
        yield chunk({"tool_calls": [{**_tool_call(reply), "index": 0}]})
    else:
        for word in SECRET_ANSWER.split():
            yield chunk({"content": word + " "})
    yield chunk({}, "tool_calls" if reply.tool else "stop")
    yield "message", {**envelope, "choices": [], "usage": USAGE}


def _anthropic_whole(reply: Reply) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-real",
        "content": [{"type": "text", "text": SECRET_ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 4},
    }


def _anthropic(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    whole = _anthropic_whole(reply)
    start = {**whole, "content": [], "usage": {"input_tokens": 11, "output_tokens": 1}}
    yield "message_start", {"type": "message_start", "message": start}
    block = {"type": "text", "text": ""}
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
    for word in SECRET_ANSWER.split():
        delta = {"type": "text_delta", "text": word + " "}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"input_tokens": 11, "output_tokens": 4}
    yield "message_delta", {"type": "message_delta", "delta": ending, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def is_token_event(event: dict[str, Any]) -> bool:
    """Return whether an event carries content: text, or a tool call."""
    deltas = [c["delta"] for c in event.get("choices", ())]
    return "delta" in str(event.get("type", "")) or any(
        d.get("content") or d.get("tool_calls") for d in deltas
    )


def _response_whole(reply: Reply) -> dict[str, Any]:
    text = {"type": "output_text", "text": SECRET_ANSWER, "annotations": []}
    item = {"type": "message", "id": "item_1", "role": "assistant", "status": "completed"}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-real",
        "status": "completed",
        "output": [{**item, "content": [text]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 2},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 15,
        },
    }


def _response(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    whole = _response_whole(reply)
    begun = {**whole, "output": [], "status": "in_progress", "usage": None}
    where = {"item_id": "item_1", "output_index": 0, "content_index": 0}
    text = {"type": "output_text", "text": "", "annotations": []}
    item = {**whole["output"][0], "content": [], "status": "in_progress"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **where, "part": text},
        *(
            {"type": "response.output_text.delta", **where, "delta": word + " ", "logprobs": []}
            for word in SECRET_ANSWER.split()
        ),
        {"type": "response.output_text.done", **where, "text": SECRET_ANSWER, "logprobs": []},
        {"type": "response.completed", "response": whole},
    ]
    for number, event in enumerate(events):
        yield event["type"], {**event, "sequence_number": number}


DIALECTS: dict[str, tuple[Callable[[Reply], Any], Callable[[Reply], Any]]] = {
    "messages": (_anthropic_whole, _anthropic),
    "completions": (_openai_whole, _openai),
    "responses": (_response_whole, _response),
}

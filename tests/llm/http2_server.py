"""The local server once more, over HTTP/2: chat completions only, one connection a thread."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events

from ..llm_server import DIALECTS, LLM, Reply, Seen, is_token_event


@contextmanager
def serving_http2(tls: ssl.SSLContext) -> Iterator[LLM]:
    """Run a server on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    llm = LLM(f"https://127.0.0.1:{listening.getsockname()[1]}")

    def accept() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listening.accept()
                threading.Thread(target=_serve, args=(plain, tls, llm), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield llm
    finally:
        listening.close()


def _serve(plain: socket.socket, tls: ssl.SSLContext, llm: LLM) -> None:
    with suppress(OSError):
        connection = tls.wrap_socket(plain, server_side=True)
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        bodies: dict[int, bytes] = {}
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    assert event.stream_id is not None
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + (event.data or b"")
                elif isinstance(event, h2.events.StreamEnded):
                    assert event.stream_id is not None
                    body = json.loads(bodies.pop(event.stream_id))
                    _answer(connection, state, event.stream_id, body, llm)
            connection.sendall(state.data_to_send())


def _answer(
    connection: ssl.SSLSocket,
    state: h2.connection.H2Connection,
    stream: int,
    request: Any,
    llm: LLM,
) -> None:
    seen = Seen(time.time_ns())
    llm.seen.append(seen)
    llm.requests.append(request)
    reply = llm.replies.pop(0) if llm.replies else Reply()
    time.sleep(reply.think_s)
    headers = [(":status", str(reply.status)), ("content-type", "text/event-stream")]
    if reply.status == 429:
        headers.append(("retry-after-ms", str(int((reply.retry_after_s or 0) * 1000))))
    seen.headers_ns = time.time_ns()
    state.send_headers(stream, headers)
    connection.sendall(state.data_to_send())
    if reply.status == 200:
        for i, (_, event) in enumerate(DIALECTS["completions"][1](reply)):
            time.sleep(reply.pause_s if i else 0)
            if not seen.first_token_ns and is_token_event(event):
                time.sleep(reply.first_s)
                seen.first_token_ns = time.time_ns()
            state.send_data(stream, f"data: {json.dumps(event)}\n\n".encode())
            connection.sendall(state.data_to_send())
        state.send_data(stream, b"data: [DONE]\n\n")
    seen.ended_ns = time.time_ns()
    state.send_data(stream, b"", end_stream=True)
    connection.sendall(state.data_to_send())

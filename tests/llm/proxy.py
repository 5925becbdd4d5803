"""A small HTTP proxy: it tunnels (CONNECT), forwards, delays, refuses, and wants a password."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

USER, PASSWORD = "proxy-user", "proxy-password"
_RIGHT = base64.b64encode(f"{USER}:{PASSWORD}".encode())


@dataclass
class Proxy:
    """The running proxy.

    Attributes:
        url: where it is, with the right password.
        delay_s: before it answers a request for a tunnel.
        refuses: answers 407 whatever the password.
        asked: the first lines of the requests it got.
    """

    url: str
    delay_s: float = 0.0
    refuses: bool = False
    asked: list[str] = field(default_factory=list)


@contextmanager
def proxying() -> Iterator[Proxy]:
    """Run a proxy on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(f"http://{USER}:{PASSWORD}@127.0.0.1:{listening.getsockname()[1]}")

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=_serve, args=(client, proxy), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        listening.close()


def _at_once(connection: socket.socket) -> socket.socket:
    # Else the second of two small parts waits 40 ms for the first one to be acknowledged.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _serve(client: socket.socket, proxy: Proxy) -> None:
    with suppress(OSError), _at_once(client):
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(65536)
            if not part:
                return
            head += part
        head, _, rest = head.partition(b"\r\n\r\n")
        first, *headers = head.split(b"\r\n")
        proxy.asked.append(first.decode())
        method, target, _ = first.split(b" ")
        if method == b"CONNECT":
            time.sleep(proxy.delay_s)
        if proxy.refuses or not any(
            h.lower().startswith(b"proxy-authorization: basic ") and h.endswith(_RIGHT)
            for h in headers
        ):
            client.sendall(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        where = target.decode() if method == b"CONNECT" else urlsplit(target.decode()).netloc
        host, _, port = where.rpartition(":")
        with _at_once(socket.create_connection((host, int(port)))) as server:
            if method == b"CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                kept = [h for h in headers if not h.lower().startswith(b"proxy-")]
                server.sendall(b"\r\n".join([first, *kept]) + b"\r\n\r\n" + rest)
            other = threading.Thread(target=_relay, args=(server, client), daemon=True)
            other.start()
            _relay(client, server)
            other.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

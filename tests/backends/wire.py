"""A wire between two parts that knows what is on it: a part is killed with a batch in flight."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_A_BATCH = 500  # bytes; what is smaller may be a ping or a window update of HTTP/2


@dataclass
class Wire:
    """Passes bytes on, and kills on request.

    Attributes:
        port: where it listens, of 127.0.0.1.
        killed_in_flight: how often the far end was killed with a batch on its way to it: sent, and
            not answered.
    """

    to_port: int
    port: int = 0
    killed_in_flight: int = 0
    _kill: Callable[[], None] | None = None
    _killed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill_with_a_batch_in_flight(self, kill: Callable[[], None], within_s: float = 30) -> None:
        """Wait for the next batch, pass it on, and kill the far end before its answer is."""
        self._killed.clear()
        with self._lock:
            self._kill = kill
        assert self._killed.wait(within_s), "no batch came by"

    def _passed_on(self, size: int) -> None:
        if size < _A_BATCH:
            return
        with self._lock:
            kill, self._kill = self._kill, None
            if kill is not None:
                kill()
                self.killed_in_flight += 1
                self._killed.set()

    def _pump(self, source: socket.socket, target: socket.socket, to_far_end: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not to_far_end:
                    with self._lock:  # while it is being killed, no answer passes
                        pass
                target.sendall(data)
                if to_far_end:
                    self._passed_on(len(data))
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def wire_to(url: str) -> Iterator[Wire]:
    """Lay a wire to a port of 127.0.0.1 until the block is left; its far end may come and go."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    assert parts.port is not None
    wire = Wire(parts.port)
    listening = socket.create_server(("127.0.0.1", 0))
    wire.port = listening.getsockname()[1]

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", wire.to_port), 5)
                except OSError:
                    near.close()
                    continue
                for source, target, to_far in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=wire._pump, args=(source, target, to_far), daemon=True
                    ).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()

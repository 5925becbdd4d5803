"""What Grafana answers `stack check`, since Grafana itself cannot be run here.

Paths and shapes: its HTTP API, `/api/health` and the rules API that it shares with Prometheus.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def grafana(alerts: Sequence[str]) -> Iterator[str]:
    """Answer as a Grafana with these alert rules, at the URL that it yields."""
    rules = {"data": {"groups": [{"rules": [{"name": name} for name in alerts]}]}}
    answers = {
        "/api/health": {"database": "ok"},
        "/api/prometheus/grafana/api/v1/rules": {"status": "success", **rules},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answers.get(self.path, {})).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

"""A worker that takes tasks from its standard input: part of its starter's run."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict

import otel_orchestrator as otel
from tests.processes.program import Sent


def last_words() -> None:
    with otel.node("last words"):
        pass


def main() -> None:
    otel.configure("line-worker")
    for message in map(json.loads, sys.stdin):
        record = Sent.now(message["task"], message["sent_ns"])
        with otel.task("worker", message["task"], carrier=message["carrier"]) as task:
            task.span.set_attribute("pid", os.getpid())
            with otel.run("inner"), otel.node("worker"):
                time.sleep(0.05)
            print(json.dumps({"record": asdict(record), "carrier": otel.inject()}), flush=True)
    # No message brought this, and a thread begins without a context: it is the starter's run's.
    thread = threading.Thread(target=last_words)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()

"""The endpoint is killed by SIGKILL with a batch in flight, and comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otel_orchestrator.delivery.ledger import owed_to

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import started, stored

pytestmark = pytest.mark.timeout(90)

ENDPOINT = """
import time
from tests.delivery.receiver import Receiver, receiving

def answer(spans):
    print(len(spans), flush=True)  # it has come in ...
    time.sleep(60)  # ... and is never answered
    return 200

with receiving(Receiver(answer=answer)) as receiver:
    print(receiver.port, flush=True)
    time.sleep(60)
"""
PROGRAM = """
    import sys, time
    otel.configure()
    with otel.run("r"):
        for i in range(40):
            with otel.node("n"):
                time.sleep(0.02)
    sys.stdin.readline()
    otel.shutdown(20)
    """


def test_what_it_had_not_acknowledged_comes_again(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDPOINT],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as endpoint:
        assert endpoint.stdout is not None
        receiver = Receiver(port=int(endpoint.stdout.readline()))
        program = started(PROGRAM, tmp_path, receiver, OTEL_EXPORTER_OTLP_TIMEOUT="30")
        in_flight = int(endpoint.stdout.readline())
        assert in_flight > 0
        endpoint.kill()
    with receiving(receiver):
        receiver.wait_for(41)
        program.communicate("go on\n", timeout=30)
    assert len(receiver.taken) == 41
    assert receiver.counted() == stored(tmp_path)
    assert all(owed_to(path) == {} for path in tmp_path.glob("*.jsonl"))

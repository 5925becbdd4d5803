"""The LLM that costs nothing: what it answers, and when it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import OpenAI

from otel_orchestrator.demo import plan
from otel_orchestrator.demo.llm_server import LLMBehaviour, LLMServer, fate_of


@pytest.fixture
def server() -> Iterator[LLMServer]:
    behaviour = LLMBehaviour(speed=0.001, rate_limited=0, failing=0)
    running = LLMServer(behaviour)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


ASK: Any = [
    {"role": "system", "content": "You are the Director of a team."},
    {"role": "user", "content": "Objective: mend it"},
]


def test_the_real_client_gets_the_same_answer_streamed_and_whole(server: LLMServer) -> None:
    client = OpenAI(base_url=server.url, api_key="none")
    whole = client.chat.completions.create(model="m", messages=ASK)
    chunks = list(
        client.chat.completions.create(
            model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [t["id"] for t in plan.from_json(streamed)] == [t["id"] for t in plan.shipped_tasks()]


def test_the_server_ends_soon_after_a_demo_that_was_killed(tmp_path: Path) -> None:
    starts_one = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-m', 'otel_orchestrator.demo.llm_server']\n"
        "server = subprocess.Popen([*command, '--end-with-parent'], stdout=subprocess.PIPE)\n"
        "print(server.stdout.readline().decode(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", starts_one], capture_output=True, text=True)
    address = urlsplit(killed.stdout.strip())
    assert address.port is not None
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", address.port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("it still answers after ten seconds")


def test_trouble_depends_on_the_conversation_and_the_seed_alone() -> None:
    behaviour = LLMBehaviour(seed=3, rate_limited=0.5, failing=0.3)
    conversations = [[{"role": "user", "content": str(i)}] for i in range(200)]
    fates = [fate_of(behaviour, c, 0) for c in conversations]
    assert fates == [fate_of(behaviour, c, 0) for c in conversations]
    statuses = [f.status for f in fates]
    assert 70 < statuses.count(429) < 130
    assert 30 < statuses.count(500) < 90
    assert all(fate_of(behaviour, c, 1).status == 200 for c in conversations), "a retry succeeds"

"""The live lines of `console=True`."""

from __future__ import annotations

import textwrap
from pathlib import Path

from .programs import RUN, python


def test_console_prints_the_live_lines(tmp_path: Path) -> None:
    done = python(
        """
        otel.configure(console=True)
        with otel.run("r"), otel.loop():
            otel.observe_tasks([{"id": "a"}, {"id": "b", "depends_on": ["a"]}])
            with otel.task("worker", "a"), otel.node("worker"):
                with otel.llm_call("m"):
                    pass
        """,
        tmp_path,
    )
    import re

    lines = [re.sub(r"[\d.]+(ms|s)", r"_\1", line) for line in done.stdout.splitlines()]
    assert lines == [
        "📈 Queue: 1 ready, 0 active, 1 waiting",
        "📈 Queue: 0 ready, 1 active, 1 waiting",
        "  🤖 LLM responded in _ms",
        "📊 Node 'worker' took _s",
        "  ⏱️  Task a completed in _s",
        "📈 Queue: 1 ready, 0 active, 0 waiting",
        "🔁 Graph loop iteration 0: _s",
        "📈 Queue: 0 ready, 0 active, 0 waiting",
    ]


def test_console_survives_a_terminal_that_knows_no_emoji(tmp_path: Path) -> None:
    done = python(
        "otel.configure(console=True)" + textwrap.dedent(RUN), tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0
    assert "Node 'n' took" in done.stdout
    closed = python(
        "import sys\notel.configure(console=True)\nsys.stdout.close()" + textwrap.dedent(RUN),
        tmp_path,
    )
    assert "Traceback" not in closed.stderr

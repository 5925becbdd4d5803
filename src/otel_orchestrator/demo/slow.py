"""Make one thing slower, on request, and note when: what a diagnosis of a run can be held against.

A delay changes no answer and no order of anything but time. git is delayed by hooks, so that a
real git process takes longer; this file is then the hook's program, and is run without the package.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LLM: Final = "llm"
GIT: Final = "git"
DIRECTOR: Final = "director"

# The commands by which workers and the Strategist change the repository run these.
_HOOKS: Final = ("post-checkout", "pre-commit", "pre-merge-commit")


@dataclass(frozen=True, slots=True)
class Slow:
    """What is to be slower, by how much, and where that is noted.

    Attributes:
        seconds: by `llm`, `git`, `director`, or a task's id; each of its turns takes that longer.
        record: a file of JSON lines, one for each delay.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    record: Path | None = None

    async def pause(self, what: str) -> None:
        """Wait as long as `what` is to be slower."""
        if what in self.seconds:
            began_ns = time.time_ns()
            await asyncio.sleep(self.seconds[what])
            note_delay(self.record, what, began_ns)

    def hook_git(self, root: Path) -> None:
        """Give a repository hooks that take that long, if git is to be slower."""
        if GIT not in self.seconds:
            return
        program = [sys.executable, "-IS", __file__, str(self.seconds[GIT])]
        if self.record is not None:
            program.append(str(self.record.resolve()))
        hooks = root / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in _HOOKS:
            hook = hooks / name
            hook.write_text(f"#!/bin/sh\nexec {shlex.join(program)}\n", "utf-8")
            hook.chmod(0o755)


def note_delay(record: Path | None, what: str, began_ns: int) -> None:
    """Write down a delay that ends now."""
    note(record, slowed=what, began_ns=began_ns, ended_ns=time.time_ns())


def note(record: Path | None, **facts: Any) -> None:
    """Add a line to the record: whole, whoever else writes to it."""
    if record is None:
        return
    line = json.dumps(facts) + "\n"
    file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def main(seconds: str, record: str = "") -> None:
    """Be a git hook that takes long."""
    began_ns = time.time_ns()
    time.sleep(float(seconds))
    note_delay(Path(record) if record else None, GIT, began_ns)


if __name__ == "__main__":
    main(*sys.argv[1:])

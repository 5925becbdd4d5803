"""Every command that reads, run on a file in this process: what it said, and how it ended."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from otel_orchestrator.cli import main

COMMANDS = (
    ("report", "FILE"),
    ("report", "FILE", "--all", "--explain"),
    ("report", "FILE", "--format", "json"),
    ("report", "FILE", "--html", "--output", "OUT.html", "--force"),
    ("report", "FILE", "--format", "perfetto", "--output", "OUT.pftrace", "--force"),
    ("runs", "--dir", "FOLDER"),
    ("runs", "--dir", "FOLDER", "--format", "json"),
    ("compare", "FILE", "--with", "OTHER"),
    ("compare", "OTHER", "--with", "FILE", "--format", "json"),
    ("compare", "FOLDER", "--with", "OTHER", "--format", "markdown"),
    ("watch", "FILE", "--once"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command wrote, its exit code, and the bytes of the file that it made."""

    code: int
    out: str
    err: str
    made: bytes = b""


def said_by(words: Sequence[str], file: Path, other: Path) -> Said:
    """Run a command on a file, with another to compare it with."""
    made = file.with_name("made")
    places = {"FILE": file, "OTHER": _another_run(other, file), "FOLDER": file.parent}
    arguments = [str(places.get(w, w)).replace("OUT", str(made)) for w in words]
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["otel-orchestrator", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    content = b"".join(path.read_bytes() for path in file.parent.glob("made.*"))
    return Said(code, out.getvalue(), err.getvalue(), content)


def _another_run(other: Path, file: Path) -> Path:
    """Return a copy in a trace of its own: else a broken copy of a run would be that run."""
    content = other.read_bytes()
    trace_id = content.partition(b'"traceId":"')[2][:32]
    copy = file.parent / "apart" / other.name
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(content.replace(trace_id, b"f" * 32))
    return copy


def every(file: Path, other: Path) -> Iterator[tuple[str, Said]]:
    """Run every command, one after the other."""
    for words in COMMANDS:
        yield " ".join(words), said_by(words, file, other)


def check(file: Path, other: Path) -> None:
    """Every command ends in a report or in one line that says what is wrong; nothing else."""
    for command, said in every(file, other):
        assert said.code in (0, 1, 2), command
        assert "Traceback" not in said.err, command
        assert "Traceback" not in said.out, command
        if said.code == 2:
            assert len(said.err.strip().splitlines()) == 1, (command, said.err)
            assert said.err.startswith("otel-orchestrator: "), (command, said.err)
        for text in (said.out, said.err):
            strange = {c for c in text if c < " " and c != "\n"} | {
                c for c in text if "\x7f" <= c <= "\x9f"
            }
            assert strange == set(), (command, strange)
            text.encode()

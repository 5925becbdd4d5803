"""A kill at each step between a span's end and the note that an endpoint has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import ran, ship, started, stored

pytestmark = pytest.mark.timeout(90)

# Where to put `kill()`: an object, its function, and whether before or after it does its work.
STEPS = {
    "before the sign of life": ("alive:SignOfLife", "say", "before"),
    "between sign of life and run file": ("alive:SignOfLife", "say", "after"),
    "before the first note in the ledger": ("delivery.sender:Sender", "will_be_written", "before"),
    "between ledger and run file": ("delivery.sender:Sender", "will_be_written", "after"),
    "between run file and sender": ("delivery.sender:Sender", "written", "before"),
    "between reading and sending": ("delivery.sending", "export", "before"),
    "between sending and the ledger": ("delivery.sending", "export", "after"),
    "after the note in the ledger": ("delivery.ledger:Ledger", "note", "after"),
}
IS_LATER = ("delivery.ledger:Ledger",)  # its first note is no acknowledgement

PROGRAM = """
    import importlib, os, time
    def kill_at(path, name, when, skip):
        module, _, of = path.partition(":")
        owner = importlib.import_module("otel_orchestrator." + module)
        owner = getattr(owner, of) if of else owner
        done, calls = getattr(owner, name), []
        def instead(*args, **kwargs):
            calls.append(None)
            if len(calls) <= skip:
                return done(*args, **kwargs)
            if when == "after":
                done(*args, **kwargs)
            os.kill(os.getpid(), 9)
        setattr(owner, name, instead)
    kill_at({path!r}, {name!r}, {when!r}, {skip})
    otel.configure()
    with otel.run("killed"):
        for _ in range(3):
            with otel.node("n"):
                pass
        time.sleep(0.1)
    otel.shutdown()
    """


def has_anything(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("*.jsonl"))


@pytest.mark.parametrize("by", ["the next process", "ship"])
@pytest.mark.parametrize("step", STEPS)
def test_what_was_stored_is_sent_wherever_the_kill_was(tmp_path: Path, step: str, by: str) -> None:
    path, name, when = STEPS[step]
    with receiving(Receiver()) as receiver:
        code = PROGRAM.format(path=path, name=name, when=when, skip=int(path in IS_LATER))
        program = started(code, tmp_path, receiver)
        program.communicate(timeout=60)
        assert program.returncode == -9, "the step was not reached"
        if by == "ship":
            assert not has_anything(tmp_path) or ship(tmp_path, to=receiver)[0] == 0
        else:
            ran("otel.configure()\nwith otel.run('next'): pass", tmp_path, receiver)
        kept = stored(tmp_path) if has_anything(tmp_path) else Counter[str]()
        assert receiver.counted().keys() == kept.keys()
        twice = [n for n in receiver.counted().values() if n > 1]
        assert not twice or step == "between sending and the ledger"

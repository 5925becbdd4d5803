"""Read what git wrote about itself: a tree of the regions and processes within one git span.

Everything may be missing or torn: a git that was killed, one that still writes, a full disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ....lifecycle.spans import GAP_NS
from .. import locks
from ..command import OTHER, GitCommand
from . import naming

PARTS_AT_MOST: Final = 100
"""Spans within one git span; of more, the longest are kept."""

_PREFIX: Final = b'{"event":"'
_WANTED: Final = frozenset(
    b"""start cmd_name region_enter region_leave child_start child_ready child_exit error exit
    atexit signal""".split()
)
_PID: Final = re.compile(r"-P([0-9a-f]+)$")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_END: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """Something that git did, within the time of its parent.

    Attributes:
        name: of few.
        kind: `hook`, `process` or `region`.
        start_ns, end_ns: wall clock.
        is_complete: its end was seen.
        code: a process's exit code.
        error_type: why it failed, if it did.
        lock: the lock it failed on.
        pid: a process's id.
        parts: what it did itself.
    """

    name: str
    kind: str
    start_ns: int
    end_ns: int
    is_complete: bool = True
    code: int | None = None
    error_type: str | None = None
    lock: str | None = None
    pid: int | None = None
    parts: tuple[Part, ...] = ()


@dataclass(slots=True)
class _Node:
    name: str
    kind: str
    start_ns: int
    end_ns: int | None = None
    code: int | None = None
    pid: int | None = None
    lock: str | None = None
    command: GitCommand | None = None
    key: tuple[str, str] | None = None
    below: list[_Node] = field(default_factory=list)

    def error_type(self) -> str | None:
        if not self.code or (self.command is not None and self.command.answers_with(self.code)):
            return None
        return str(self.code) if self.lock is None else f"{self.lock}.lock"


@dataclass(slots=True)
class _Process:
    node: _Node
    parent: str
    open: list[_Node] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)

    def add(self, node: _Node) -> None:
        (self.open[-1] if self.open else self.node).below.append(node)


def parts_in(data: bytes, start_ns: int, end_ns: int, threshold_ns: int) -> tuple[Part, ...]:
    """Return what happened within a git span, as far as it can be read.

    Args:
        data: git's events, a JSON object a line, of all processes of one git span.
        start_ns, end_ns: of the git span; nothing lies outside of it.
        threshold_ns: shorter regions are left out.
    """
    whole = _Node("", naming.PROCESS, start_ns, end_ns)
    whole.below = _linked(_processes(_events(data)))
    return _frozen(whole, threshold_ns)


def lock_in_end_of(path: str) -> str | None:
    """Return which lock git failed on, from the end of its file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            file.seek(max(0, file.seek(0, 2) - _END))
            data = file.read(_END)
    except OSError:
        return None
    found = None
    for event in _events(data):
        if event["event"] == "error":
            found = locks.lock_in(str(event.get("msg", ""))) or found
    return found


def _events(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        # Most lines are of no interest, and reading JSON is what costs.
        if not line.startswith(_PREFIX) or line[10 : line.find(b'"', 10)] not in _WANTED:
            continue
        try:
            event = json.loads(line.decode(errors="replace"))
        except ValueError:  # torn
            continue
        if isinstance(event.get("sid"), str):
            yield event


def _instant(event: dict[str, Any]) -> int | None:
    try:
        # Exactly: a float of seconds since 1970 has no room for microseconds' parts.
        return (datetime.fromisoformat(event["time"]) - _EPOCH) // _MICROSECOND * 1_000
    except (KeyError, TypeError, ValueError):
        return None


def _processes(events: Iterable[dict[str, Any]]) -> dict[str, _Process]:
    processes: dict[str, _Process] = {}
    for event in events:
        sid, kind = event["sid"], event["event"]
        at_ns = _instant(event)
        if at_ns is None:
            continue
        process = processes.get(sid)
        if process is None:
            match = _PID.search(sid)
            node = _Node(OTHER, naming.PROCESS, at_ns, pid=int(match[1], 16) if match else None)
            process = _Process(node, sid.rpartition("/")[0])
            processes[sid] = process
        _apply(process, kind, event, at_ns)
    return processes


def _apply(process: _Process, kind: str, event: dict[str, Any], at_ns: int) -> None:
    node = process.node
    if kind == "start":
        _, _, node.command = naming.name_of_child(event)  # for what its exit code means
    elif kind == "cmd_name":
        name = str(event.get("name", ""))
        if not name.startswith("_"):
            node.name = naming.name_of_process(name)
    elif kind in ("region_enter", "region_leave"):
        if event.get("thread") == "main":  # the others work for a region of the main one
            _region(process, kind, event, at_ns)
    elif kind == "child_start":
        name, child_kind, command = naming.name_of_child(event)
        child = _Node(name, child_kind, at_ns, command=command)
        process.add(child)
        process.children[str(event.get("child_id"))] = child
    elif kind in ("child_exit", "child_ready"):
        ended = process.children.get(str(event.get("child_id")))
        if ended is not None:
            ended.end_ns, ended.pid = at_ns, _integer(event.get("pid"))
            ended.code = _integer(event.get("code"))
    elif kind == "error":
        node.lock = locks.lock_in(str(event.get("msg", ""))) or node.lock
    else:  # exit, atexit, signal
        node.end_ns = at_ns
        node.code = _integer(event.get("code"))


def _region(process: _Process, kind: str, event: dict[str, Any], at_ns: int) -> None:
    key = (str(event.get("category", "")), str(event.get("label", "")))
    if kind == "region_enter":
        node = _Node(naming.name_of_region(*key) or "", naming.REGION, at_ns, key=key)
        process.add(node)
        process.open.append(node)
    elif any(node.key == key for node in process.open):
        while process.open:
            node = process.open.pop()
            node.end_ns = at_ns
            if node.key == key:
                return


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _linked(processes: dict[str, _Process]) -> list[_Node]:
    # Puts each git process where its parent says that it started a child.
    roots: list[_Node] = []
    for process in processes.values():
        parent = processes.get(process.parent)
        if parent is None:
            roots.append(process.node)
        else:
            _put(process.node, parent)
    if len(roots) == 1:  # the span's own git; of several, as in a shell's line, each is a part
        return roots[0].below
    return roots


def _put(node: _Node, parent: _Process) -> None:
    if node.pid == parent.node.pid:  # git has become another one by `exec`
        parent.node.below.extend(node.below)
        return
    around: _Node | None = None
    for child in parent.children.values():
        if child.pid == node.pid:
            child.below.extend(node.below)
            child.lock = child.lock or node.lock
            if child.name == OTHER:
                child.name = node.name
            return
        # One that a script started which git started: in whichever ran, the latest of them.
        if child.start_ns <= node.start_ns <= (child.end_ns or node.start_ns):
            around = child
    (around or parent.node).below.append(node)


def _frozen(whole: _Node, threshold_ns: int) -> tuple[Part, ...]:
    # Clips to parents, leaves out what is short, and keeps the longest; parents are never shorter
    # than what is in them, so that one that is kept has kept its parents.
    order = list(_clipped(whole, threshold_ns))
    if len(order) > PARTS_AT_MOST:
        longest = sorted(order, key=lambda at: at.start_ns - at.end_ns)[:PARTS_AT_MOST]
        kept = {id(at) for at in longest}
        order = [at for at in order if id(at) in kept]
    done: dict[int, list[Part]] = {}
    for at in reversed(order):  # children before their parents
        node = at.node
        part = Part(
            node.name,
            node.kind,
            at.start_ns,
            at.end_ns,
            node.end_ns is not None,
            node.code,
            node.error_type(),
            node.lock,
            node.pid,
            tuple(reversed(done.pop(id(node), []))),
        )
        done.setdefault(id(at.parent), []).append(part)
    return tuple(reversed(done.get(id(whole), [])))


@dataclass(frozen=True, slots=True)
class _At:
    node: _Node
    parent: _Node
    start_ns: int
    end_ns: int


def _clipped(whole: _Node, threshold_ns: int) -> Iterator[_At]:
    # Parents before their children, siblings by start.
    stack = [(whole, whole.start_ns, whole.end_ns or whole.start_ns)]
    while stack:
        parent, parent_start_ns, parent_end_ns = stack.pop()
        latest_ns = 0
        for node in sorted(_worth_a_span(parent), key=lambda n: n.start_ns):
            start_ns = min(max(node.start_ns, parent_start_ns), parent_end_ns)
            end_ns = min(max(node.end_ns or parent_end_ns, start_ns), parent_end_ns)
            if node.kind == naming.REGION and end_ns - start_ns < threshold_ns:
                continue
            if latest_ns <= start_ns < latest_ns + GAP_NS:
                start_ns = min(latest_ns + GAP_NS, end_ns)
            latest_ns = max(latest_ns, end_ns)
            yield _At(node, parent, start_ns, end_ns)
            stack.append((node, start_ns, end_ns))


def _worth_a_span(parent: _Node) -> Iterator[_Node]:
    # What is in a part without a name belongs to its parent; a program that could not be started
    # is git looking for it, as it does for `git-alias` before it looks for an alias.
    waiting = list(reversed(parent.below))
    while waiting:
        node = waiting.pop()
        if not node.name:
            waiting.extend(reversed(node.below))
        elif node.pid != -1:
            yield node

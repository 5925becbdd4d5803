"""How git's events become a tree: linked, clipped, bounded, whatever they look like."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from otel_orchestrator.instrumentors.git.trace2 import events
from otel_orchestrator.instrumentors.git.trace2.events import Part, parts_in
from otel_orchestrator.instrumentors.git.trace2.naming import name_of_child, name_of_region

MS = 1_000_000
START_NS = 1_800_000_000_000_000_000
END_NS = START_NS + 1_000 * MS
SID = "otel-t-s/20261124T000000.000000Z-H01234567-P0000000a"


def event(at_ms: float, kind: str, sid: str = SID, **fields: Any) -> bytes:
    at = datetime.fromtimestamp(START_NS // 10**9, UTC).replace(microsecond=int(at_ms * 1000))
    time = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"event": kind, "sid": sid, "thread": "main", "time": time, **fields}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def region(at_ms: float, until_ms: float | None, label: str, *inner: bytes) -> bytes:
    named = {"category": "index", "label": label}
    enter = event(at_ms, "region_enter", **named)
    leave = b"" if until_ms is None else event(until_ms, "region_leave", **named)
    return enter + b"".join(inner) + leave


def child(at_ms: float, until_ms: float, number: int, pid: int, *argv: str, **more: Any) -> bytes:
    start = event(at_ms, "child_start", child_id=number, child_class="?", argv=argv, **more)
    return start + event(until_ms, "child_exit", child_id=number, pid=pid, code=0)


def text(parts: tuple[Part, ...], depth: int = 0) -> str:
    lines = []
    for p in parts:
        open_ = "" if p.is_complete else " open"
        times = f"{(p.start_ns - START_NS) / MS:g}-{(p.end_ns - START_NS) / MS:g}"
        lines.append("  " * depth + f"{p.name} {times}{open_}")
        if p.parts:
            lines.append(text(p.parts, depth + 1))
    return "\n".join(lines)


def read(*lines: bytes, threshold_ms: float = 1) -> str:
    return text(parts_in(b"".join(lines), START_NS, END_NS, int(threshold_ms * MS)))


def test_regions_nest_and_short_ones_are_left_out() -> None:
    inner = region(20, 30, "refresh", region(21, 21.5, "short"))
    assert read(region(10, 50, "preload", inner), region(60, 60.5, "short")) == (
        "index preload 10-50\n  index refresh 20-30"
    )


def test_what_never_ended_ends_with_the_span() -> None:
    assert read(region(10, None, "preload", region(20, None, "refresh"))) == (
        "index preload 10-1000 open\n  index refresh 20-1000 open"
    )


def test_an_outer_regions_end_ends_what_is_in_it() -> None:
    assert read(region(10, 50, "preload", region(20, None, "refresh")), region(60, 70, "x")) == (
        "index preload 10-50\n  index refresh 20-50\nindex x 60-70"
    )


def test_siblings_leave_a_gap() -> None:
    first, second = parts_in(
        region(10, 20, "preload") + region(20, 30, "refresh"), START_NS, END_NS, 0
    )
    assert second.start_ns - first.end_ns == 1_000


def test_children_that_run_side_by_side_overlap() -> None:
    one, two = ("git", "index-pack"), ("git", "rev-list")
    start = [
        event(10, "child_start", child_id=0, child_class="?", argv=one),
        event(12, "child_start", child_id=1, child_class="?", argv=two),
    ]
    ends = [
        event(40, "child_exit", child_id=1, pid=12, code=0),
        event(50, "child_exit", child_id=0, pid=11, code=0),
    ]
    inner = [
        event(13, "start", f"{SID}/20261124T000000.000000Z-H0-P0000000b"),
        event(14, "start", f"{SID}/20261124T000000.000000Z-H0-P0000000c"),
        event(
            15, "region_enter", f"{SID}/20261124T000000.000000Z-H0-P0000000c",
            category="a", label="a",
        ),
        event(
            20, "region_leave", f"{SID}/20261124T000000.000000Z-H0-P0000000c",
            category="a", label="a",
        ),
    ]  # fmt: skip
    assert read(*start, *inner, *ends) == "index-pack 10-50\nrev-list 12-40\n  a 15-20"


def test_a_git_that_becomes_another_is_one() -> None:
    exec_ = f"{SID}/20261124T000000.000000Z-H0-P0000000a"
    lines = [
        event(1, "start"),
        event(5, "start", exec_),
        event(6, "region_enter", exec_, category="a", label="b"),
        event(9, "region_leave", exec_, category="a", label="b"),
    ]
    assert read(*lines) == "a b 6-9"


def test_several_gits_of_one_line_are_parts() -> None:
    second = SID.replace("0000000a", "0000000b")
    lines = [
        event(1, "start"), event(2, "cmd_name", name="add"), event(3, "atexit", code=0),
        event(4, "start", second), event(4, "cmd_name", second, name="my-tool"),
    ]  # fmt: skip
    assert read(*lines) == "add 1-3\n(other) 4-1000 open"


def test_nothing_lies_outside_of_the_span() -> None:
    assert text(parts_in(region(10, 900, "x"), START_NS + 100 * MS, START_NS + 200 * MS, 0)) == (
        "index x 100-200"
    )


def test_other_threads_and_progress_are_part_of_their_region() -> None:
    lines = [
        event(2, "region_enter", thread="th01:preload", category="index", label="x"),
        event(9, "region_leave", thread="th01:preload", category="index", label="x"),
        event(1, "region_enter", category="progress", label="Updating files"),
        region(2, 8, "inner"),
        event(9, "region_leave", category="progress", label="Updating files"),
    ]
    assert read(*lines) == "index inner 2-8"


def test_a_program_that_is_not_there_is_no_part() -> None:
    start = event(1, "child_start", child_id=0, child_class="dashed", argv=["git-x"])
    assert read(start, event(2, "child_exit", child_id=0, pid=-1, code=-1)) == ""


def test_of_too_many_the_longest_are_kept_with_their_parents() -> None:
    lines = [region(i, i + 1 + 0.001 * i, "x") for i in range(0, 800, 2)]
    lines.append(region(801, 990, "outer", region(802, 989, "inner")))
    kept = parts_in(b"".join(lines), START_NS, END_NS, 0)
    assert len(kept) == events.PARTS_AT_MOST - 1
    assert text(kept[-1:]) == "index outer 801-990\n  index inner 802-989"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_torn_every_part_lies_within_its_parent(seed: int) -> None:
    chance = random.Random(seed)
    data = b"".join(
        region(
            i, i + 5, "a", child(i + 1, i + 4, i, 20 + i, "git", "gc"), region(i + 2, i + 3, "b")
        )
        for i in range(0, 100, 6)
    )
    lines = data.splitlines(keepends=True)
    if seed % 2:
        chance.shuffle(lines)
    torn = b"".join(
        line[: chance.choice([len(line), chance.randrange(len(line))])] for line in lines
    )
    stack = [(p, START_NS, END_NS) for p in parts_in(torn, START_NS, END_NS, 0)]
    while stack:
        part, start_ns, end_ns = stack.pop()
        assert start_ns <= part.start_ns <= part.end_ns <= end_ns
        stack.extend((p, part.start_ns, part.end_ns) for p in part.parts)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"child_class": "hook", "hook_name": "pre-push"}, "hook pre-push"),
        ({"child_class": "hook", "hook_name": "s3cret"}, "hook (other)"),
        ({"child_class": "transport/ssh", "argv": ["ssh", "s3cret"]}, "transport ssh"),
        ({"child_class": "transport/s3cret"}, "transport (other)"),
        ({"child_class": "editor", "argv": ["vi s3cret"]}, "editor"),
        ({"argv": ["git", "remote-https", "origin", "https://s3cret"]}, "transport https"),
        ({"argv": ["git", "remote-s3cret"]}, "transport (other)"),
        ({"argv": ["/usr/libexec/git", "worktree", "add", "s3cret"]}, "worktree add"),
        ({"argv": ["git", "-c", "a=s3cret", "s3cret"]}, "(other)"),
        ({"argv": ["git-lfs", "s3cret"]}, "lfs"),
        ({"argv": ["git credential-store get"]}, "credential"),
        ({"argv": ["git-s3cret"]}, "child"),
        ({"argv": ["/bin/s3cret"]}, "child"),
        ({"argv": []}, "child"),
        ({"argv": 5}, "child"),
        ({}, "child"),
    ],
)
def test_children_have_few_names(fields: dict[str, Any], name: str) -> None:
    assert name_of_child(fields)[0] == name


def test_regions_have_gits_own_words_and_nothing_else() -> None:
    assert name_of_region("unpack_trees", "unpack_trees") == "unpack_trees"
    assert name_of_region("diff", "write back to queue") == "diff write back to queue"
    assert name_of_region("x", "/home/me: s3cret") == "(other)"
    assert name_of_region("x", "https://s3cret@host") == "(other)"
    assert name_of_region("hook", "pre-commit") is None


def test_a_child_that_answers_by_its_exit_code_is_no_error() -> None:
    start = event(1, "child_start", child_id=0, argv=["git", "diff", "--quiet"])
    (part,) = parts_in(
        start + event(2, "child_exit", child_id=0, pid=5, code=1), START_NS, END_NS, 0
    )
    assert (part.code, part.error_type) == (1, None)


def test_a_script_may_ask_git_a_question() -> None:
    inner = f"{SID}/20261124T000000.000000Z-H0-P0000000c"
    hook = event(1, "child_start", child_id=0, child_class="hook", hook_name="pre-commit")
    lines = [
        event(1, "start", argv=["git", "commit"]),
        hook,
        event(2, "start", inner, argv=["git", "diff", "--cached", "--quiet"]),
        event(2, "cmd_name", inner, name="diff"),
        event(3, "atexit", inner, code=1),
        event(4, "child_exit", child_id=0, pid=11, code=0),
    ]
    (part,) = parts_in(b"".join(lines), START_NS, END_NS, 0)
    assert text((part,)) == "hook pre-commit 1-4\n  diff 2-3"
    assert (part.parts[0].code, part.parts[0].error_type) == (1, None)

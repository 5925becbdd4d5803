"""Open spans can be seen in a store while they run: by spans without length that stand for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.analysis.critical_path import critical_path
from otel_orchestrator.analysis.tree import forest_of
from otel_orchestrator.model import changed
from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import ran, started
from .checking import decoded

pytestmark = pytest.mark.timeout(90)

PROGRAM = """
    import sys, time
    otel.configure({how})
    with otel.run("r"):
        with otel.node("short"):
            pass
        with otel.node("long"):
            time.sleep(1.2)
            print("now", flush=True)
            sys.stdin.readline()
    """


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_what_is_open_is_shown_until_it_ends(tmp_path: Path, how: str) -> None:
    variable = {"OTEL_ORCHESTRATOR_PENDING_SPANS": "1"} if how == "variable" else {}
    code = PROGRAM.format(how="pending_spans=True" if how == "argument" else "")
    with receiving(Receiver()) as receiver:
        program = started(code, tmp_path, receiver, **variable)
        assert program.stdout is not None and program.stdout.readline() == "now\n"
        receiver.wait_for(3)
        sent = {span.name: span for span in receiver.taken}
        assert set(sent) == {"pending invoke_workflow r", "pending node long", "node short"}
        run, long = sent["pending invoke_workflow r"], sent["pending node long"]
        assert long.start_time_unix_nano == long.end_time_unix_nano
        # Below the parent of the one that it stands for, which comes when it has ended.
        assert long.parent_span_id == sent["node short"].parent_span_id
        assert run.parent_span_id == b""
        shown = {span.name: span for span in decoded(receiver.taken)}
        assert {name: span.outcome for name, span in shown.items()} == {
            "invoke_workflow r": "open",
            "node long": "open",
            "node short": "ok",
        }
        assert shown["node long"].parent_id == shown["invoke_workflow r"].span_id
        program.communicate("go on\n", timeout=30)
        receiver.wait_for(5)
    # A reader sees what a run file holds, as if they had never been there.
    stored = read_run(find_run(None, tmp_path)).spans
    assert sorted(decoded(receiver.taken), key=lambda s: s.span_id) == sorted(
        stored, key=lambda s: s.span_id
    )
    assert not [f for f in list_runs(tmp_path) if Attr.PENDING in f.path.read_text()]
    assert len({span.span_id for span in receiver.taken}) == 5


def test_they_are_off_by_default(tmp_path: Path) -> None:
    with receiving(Receiver()) as receiver:
        program = started(PROGRAM.format(how=""), tmp_path, receiver)
        program.communicate("go on\n", timeout=30)
        assert sorted(s.name for s in receiver.taken) == [
            "invoke_workflow r",
            "node long",
            "node short",
        ]


def test_a_dead_endpoint_is_not_owed_them(tmp_path: Path) -> None:
    code = PROGRAM.format(how="pending_spans=True").replace("sys.stdin.readline()", "pass")
    said = ran(code, tmp_path, Receiver(port=9))
    assert "3 spans are not sent yet" in said
    run = read_run(find_run(None, tmp_path))
    assert len(run.spans) == 3


def test_they_are_on_no_critical_path(tmp_path: Path) -> None:
    """Jaeger goes on to the child that ends before the one found: never to one at its start."""
    ran(
        """
        import time
        otel.configure()
        with otel.run("r"):
            for name in ("a", "b"):
                with otel.node(name):
                    with otel.node("in " + name):
                        time.sleep(0.01)
        """,
        tmp_path,
        None,
    )
    run = read_run(find_run(None, tmp_path))
    pending = [
        changed(span, span_id=f"p{i}", name=f"pending {span.name}", end_ns=span.start_ns)
        for i, span in enumerate(run.spans)
        if span.parent_id is not None
    ]
    without, within = (forest_of(spans) for spans in (run.spans, [*run.spans, *pending]))
    paths = [critical_path(tree.roots[0], tree.below, run.end_ns) for tree in (without, within)]
    assert len(paths[0]) > 2
    assert paths[0] == paths[1]

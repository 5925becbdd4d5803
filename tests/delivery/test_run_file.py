"""The run file: kills, forks, full disks, folders that go away."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from otel_orchestrator.sources.runfiles import find_run, list_runs, read_run

from ..sdk.programs import RUN, python


def test_a_killed_process_keeps_what_ended_and_shows_what_was_open(tmp_path: Path) -> None:
    done = python(
        """
        import os, signal, time
        otel.configure()
        with otel.run("r"), otel.node("long"):
            with otel.node("short"):
                pass
            time.sleep(1.2)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert done.returncode == -9
    run = read_run(find_run(None, tmp_path))
    assert {(s.name, s.outcome) for s in run.spans} == {
        ("invoke_workflow r", "interrupted"),
        ("node long", "interrupted"),
        ("node short", "ok"),
    }
    assert run.warnings[0].startswith("2 spans were open when the program ended or was killed")


def test_files_are_private_and_ignored_by_git(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "runs"
    python("otel.configure()" + textwrap.dedent(RUN), folder)
    path = find_run(None, folder).path
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert (folder / ".gitignore").read_text() == "*\n"


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    code = "otel.configure()\nfor _ in range(20):" + RUN.replace("\n", "\n    ")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    environment = {**clean, "OTEL_ORCHESTRATOR_RUN_DIR": str(tmp_path)}
    program = "import otel_orchestrator as otel\n" + textwrap.dedent(code)
    both = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)]
    assert [p.wait(30) for p in both] == [0, 0]
    runs = [read_run(f) for f in list_runs(tmp_path)]
    assert len(runs) == 40
    assert all(len(r.spans) == 2 and not r.warnings for r in runs)


def test_a_forked_child_writes_its_own_spans_once(tmp_path: Path) -> None:
    done = python(
        """
        import os
        otel.configure()
        with otel.run("parent"):
            with otel.node("before"):
                pass
            child = os.fork()
            if child == 0:
                with otel.node("child"):
                    pass
                otel.shutdown()
                os._exit(0)
            os.waitpid(child, 0)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = find_run(None, tmp_path).path.read_text()
    run = read_run(find_run(None, tmp_path))
    assert sorted(s.name for s in run.spans) == [
        "invoke_workflow parent",
        "node before",
        "node child",
    ]
    assert lines.count('"node before"') == 1
    assert run.warnings == ()


def test_a_full_file_takes_no_more_and_says_so(tmp_path: Path) -> None:
    done = python(
        """
        import time
        otel.configure(max_run_file_bytes=20_000)
        with otel.run("r"):
            for _ in range(4):
                for _ in range(40):
                    with otel.node("n"):
                        pass
                time.sleep(0.6)
        """,
        tmp_path,
    )
    assert "is full" in done.stderr
    run = read_run(find_run(None, tmp_path))
    assert find_run(None, tmp_path).path.stat().st_size < 21_000
    assert any("reached its size limit" in w for w in run.warnings)


def test_old_runs_are_removed(tmp_path: Path) -> None:
    python(
        """
        import time
        otel.configure(keep_runs=3)
        with otel.node("outside"):
            pass
        for _ in range(6):
            with otel.run("r"):
                pass
            time.sleep(0.6)
        """,
        tmp_path,
    )
    found = [file.is_of_a_run for file in list_runs(tmp_path)]
    assert sorted(found) == [False, True, True, True], "what is outside pushes out no run"


def test_a_folder_that_goes_away_does_not_disturb_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    done = python(
        """
        import os, shutil, time
        otel.configure()
        shutil.rmtree(os.environ["OTEL_ORCHESTRATOR_RUN_DIR"])
        with otel.run("r"):
            pass
        print("done")
        """,
        folder,
    )
    assert done.stdout == "done\n"
    assert "was removed, and is made again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_loses_spans_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "full"
    done = python(
        """
        import os, sys
        from otel_orchestrator.delivery import runfile
        original = os.open
        def full(path, *args, **kwargs):
            return original("/dev/full" if str(path).endswith(".jsonl") else path, *args, **kwargs)
        runfile.os.open = full
        otel.configure()
        with otel.run("r"):
            pass
        print("done")
        """,
        target,
    )
    assert done.stdout == "done\n"
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr

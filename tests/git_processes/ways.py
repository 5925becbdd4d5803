"""Every way in which a program starts git: each runs `git status` in a repository."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import git as gitpython
import uvloop

AS = ("-c", "user.name=n", "-c", "user.email=e@localhost")


def plain(*arguments: str, cwd: Path) -> None:
    """Run git untraced: before the instrumentor is on."""
    subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True)


def by_run(root: Path) -> None:
    subprocess.run(["git", "status", "--short"], cwd=root, check=True, capture_output=True)


def by_check_output(root: Path) -> None:
    assert subprocess.check_output(["git", "-C", str(root), "--no-pager", "status"])


def by_call(root: Path) -> None:
    assert subprocess.call(("git", "status"), cwd=root, stdout=subprocess.DEVNULL) == 0


def by_os_popen(root: Path) -> None:
    with os.popen(f"git -C {root} status") as out:
        assert out.read()


def by_shell(root: Path) -> None:
    subprocess.run(
        f"cd {root} && LANG=C git status | cat", shell=True, check=True, capture_output=True
    )


def by_bash(root: Path) -> None:
    subprocess.run(["sh", "-c", "git status"], cwd=root, check=True, capture_output=True)


def by_popen_and_poll(root: Path) -> None:
    process = subprocess.Popen([b"git", b"status"], cwd=root, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        pass


def by_gitpython(root: Path) -> None:
    assert gitpython.Git(root).status()


async def exec_git(root: Path, *arguments: str) -> int | None:
    """Run git as a coroutine and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        "git", *(arguments or ("status",)), cwd=root, stdout=subprocess.PIPE
    )
    await process.communicate()
    return process.returncode


async def _at_home(root: Path) -> None:
    process = await asyncio.subprocess.create_subprocess_exec(
        "git", "status", cwd=root, stdout=subprocess.DEVNULL
    )
    assert await process.wait() == 0


async def _shell(root: Path) -> None:
    process = await asyncio.create_subprocess_shell(f"git -C {root} status >/dev/null")
    assert await process.wait() == 0


def by_asyncio(root: Path) -> None:
    assert asyncio.run(exec_git(root)) == 0


def by_asyncio_shell(root: Path) -> None:
    asyncio.run(_shell(root))


def by_uvloop(root: Path) -> None:
    assert uvloop.run(exec_git(root)) == 0


def by_uvloop_at_home(root: Path) -> None:
    uvloop.run(_at_home(root))


def by_uvloop_shell(root: Path) -> None:
    uvloop.run(_shell(root))


def in_a_thread(root: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, by_run, root).result()


WAYS: tuple[Callable[[Path], None], ...] = (
    by_run, by_check_output, by_call, by_os_popen, by_shell, by_bash, by_popen_and_poll,
    by_gitpython, by_asyncio, by_asyncio_shell, by_uvloop, by_uvloop_at_home, by_uvloop_shell,
    in_a_thread,
)  # fmt: skip


def by_os_system(root: Path) -> None:
    assert os.system(f"git -C {root} status >/dev/null") == 0


def by_posix_spawn(root: Path) -> None:
    words = ["git", "-C", str(root), "status", "--porcelain"]
    pid = os.posix_spawnp("git", words, os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def by_os_spawn(root: Path) -> None:
    assert os.spawnlp(os.P_WAIT, "git", "git", "-C", str(root), "status", "--porcelain") == 0


def by_another_program(root: Path) -> None:
    subprocess.run(["env", "git", "status"], cwd=root, check=True, capture_output=True)


def by_an_iterator(root: Path) -> None:
    words: Any = iter(["git", "-C", str(root), "status"])
    subprocess.run(words, check=True, capture_output=True)


# As the documentation says: these work, and nothing is seen of them.
UNSEEN: tuple[Callable[[Path], None], ...] = (
    by_os_system, by_posix_spawn, by_os_spawn, by_another_program, by_an_iterator,
)  # fmt: skip

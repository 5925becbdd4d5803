"""The git repository that the run works on: worktrees, commits, merges, and its tests."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from ..errors import OrchestratorError
from .waiting import holding

_AUTHOR: Final = ("-c", "user.name=Orchestrator", "-c", "user.email=orchestrator@localhost")
# The user's own settings, hooks and signing keys stay out of it.
_ENVIRONMENT: Final = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_TEST_TIMEOUT_S: Final = 60


class GitError(Exception):
    """A git command failed; says what git said."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, and the folder beside it where worktrees go."""

    root: Path
    worktrees: Path
    branch: str = "main"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def create_worktree(self, task_id: str, after: Sequence[str] = ()) -> Path:
        """Make a branch and a worktree for a task.

        Args:
            task_id: whose.
            after: tasks that it builds on and that are not merged yet: it starts from their
                branches, else from what is merged so far.
        """
        path = self.worktrees / task_id
        first, *others = [f"task/{a}" for a in after] or [self.branch]
        # git fails when it comes upon another worktree that is just being made.
        async with holding(self.lock, "lock", on="git worktrees"):
            await self._discard(task_id)
            new = ("--no-checkout", "-b", f"task/{task_id}", str(path), first)
            await git(self.root, "worktree", "add", *new)
        await git(path, "checkout", "--force")
        for other in others:
            await git(path, *_AUTHOR, "merge", "-m", f"Merge {other} for {task_id}", other)
        return path

    async def commit_changes(self, worktree: Path, message: str) -> bool:
        """Commit everything in a worktree; False if there is nothing to commit."""
        await git(worktree, "add", "--all")
        if not await git(worktree, "status", "--porcelain"):
            return False
        await git(worktree, *_AUTHOR, "commit", "--message", message)
        return True

    async def merge_task(self, task_id: str) -> None:
        """Merge a task's branch, then remove its worktree and branch."""
        message = f"Merge task {task_id}"
        await git(self.root, *_AUTHOR, "merge", "--no-ff", "-m", message, f"task/{task_id}")
        await self._discard(task_id)

    async def abort_merge(self, task_id: str) -> None:
        """Undo a merge that failed, and throw the task's work away."""
        try:
            await git(self.root, "merge", "--abort")
        finally:
            await self._discard(task_id)

    async def _discard(self, task_id: str) -> None:
        path = self.worktrees / task_id
        if path.exists():
            await git(self.root, "worktree", "remove", "--force", str(path))
            await git(self.root, "branch", "-D", f"task/{task_id}")


async def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it printed.

    Raises:
        GitError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise GitError(f"git {arguments[0]}: {err.decode(errors='replace').strip()}")
    return out.decode(errors="replace").strip()


async def run_tests(folder: Path, *names: str) -> tuple[bool, str]:
    """Run unittest in a folder; return whether it passed, and the end of what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "unittest",
        *names,
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _TEST_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False, f"the tests did not end within {_TEST_TIMEOUT_S} s"
    return process.returncode == 0, _the_same_everywhere(out.decode(errors="replace"), folder)[
        -1_500:
    ]


def _the_same_everywhere(output: str, folder: Path) -> str:
    """Leave out where and how fast the tests ran: the LLM is told the same in every run."""
    for name in {str(folder), str(folder.resolve())}:
        output = output.replace(name, ".")
    return re.sub(r"(Ran \d+ tests?) in [\d.]+s", r"\1", output)


def prepare_shipped(folder: Path) -> Repository:
    """Lay the shipped project into a new repository below `folder`."""
    root, worktrees = folder / "shop", folder / "worktrees"
    worktrees.mkdir()
    with as_file(files(__package__).joinpath("project")) as project:
        for source in sorted(project.rglob("*.txt")):
            target = root / source.relative_to(project).with_suffix("")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text("utf-8"), "utf-8")
    _git_now(root, "init", "--quiet", "--initial-branch", "main")
    _git_now(root, "add", "--all")
    _git_now(root, *_AUTHOR, "commit", "--quiet", "--message", "The shop, as it is")
    return Repository(root, worktrees)


def prepare_clone(source: Path, folder: Path) -> Repository:
    """Clone the user's repository below `folder`; the original is only read.

    Raises:
        OrchestratorError: `source` is no git repository with a commit.
    """
    root, worktrees = folder / source.resolve().name, folder / "worktrees"
    worktrees.mkdir()
    try:
        _git_now(folder, "clone", "--quiet", "--no-hardlinks", str(source.resolve()), str(root))
        branch = _git_now(root, "symbolic-ref", "--short", "HEAD")
        _git_now(root, "rev-parse", "--verify", "--quiet", "HEAD")
    except GitError as error:
        raise OrchestratorError(
            f"--repo {source} is no git repository with a commit ({error})"
        ) from error
    _git_now(root, "remote", "remove", "origin")  # nothing is ever pushed
    return Repository(root, worktrees, branch)


def _git_now(folder: Path, *arguments: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GitError(done.stderr.strip().replace("\n", " "))
    return done.stdout.strip()


def check_git() -> None:
    """Raise an OrchestratorError if there is no git."""
    if shutil.which("git") is None:
        raise OrchestratorError("the demo needs git, and there is none on PATH. Install git")

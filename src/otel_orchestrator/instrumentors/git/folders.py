"""Where git's own folders and files are, found as git finds them: by looking, without a process."""
# os.path throughout: several times faster than pathlib, and this runs once for each git process.
# ruff: noqa: PTH112, PTH113, PTH118, PTH120, PTH123

from __future__ import annotations

import os
from os.path import dirname, isdir, isfile, join


def find_repository(folder: str) -> tuple[str | None, str | None]:
    """Return the git directory and the top of the worktree, from `folder` upwards, as git does."""
    while True:
        if (git_dir := git_dir_in(folder)) is not None:
            return git_dir, folder
        if isfile(join(folder, "HEAD")) and isdir(join(folder, "objects")):
            return folder, None
        parent = dirname(folder)
        if parent == folder:
            return None, None
        folder = parent


def git_dir_in(folder: str) -> str | None:
    """Return the git directory of the worktree whose top is `folder`."""
    found = join(folder, ".git")
    if isdir(found):
        return found
    # In a linked worktree or a submodule it is a file.
    pointer = read(found)
    if pointer is None or not pointer.startswith("gitdir: "):
        return None
    return os.path.normpath(join(folder, pointer.removeprefix("gitdir: ")))


def common_dir_of(git_dir: str) -> str:
    """Return the git directory that all worktrees of a repository share."""
    pointer = read(join(git_dir, "commondir"))
    return git_dir if pointer is None else os.path.normpath(join(git_dir, pointer))


def read(path: str) -> str | None:
    """Return a small file's text; None if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None

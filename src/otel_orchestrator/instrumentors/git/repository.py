"""Which repository, worktree and branch a git command works on, by reading a few small files.

No process is started, and nothing but names leaves this module: no path, no URL. There is no cache:
a look-up takes tens of microseconds, git itself more than a thousand, and worktrees come and go.
"""
# os.path throughout: several times faster than pathlib, and this runs once for each git process.
# ruff: noqa: PTH118, PTH119, PTH120

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os.path import basename, dirname, join
from typing import Final

from opentelemetry.util.types import AttributeValue

from ...semconv import Attr
from .command import SEVERAL, GitCommand
from .folders import common_dir_of, find_repository, git_dir_in, read

_OPTIONS_WITH_VALUE: Final = {
    name: frozenset(options.split())
    for name, options in {
        "worktree add": "-b -B --reason",
        "worktree lock": "--reason",
        "init": "-b --initial-branch --template --separate-git-dir --object-format --ref-format",
        "clone": """-b --branch -o --origin -u --upload-pack --reference --reference-if-able --depth
            -j --jobs -c --config --template --filter --separate-git-dir --shallow-since
            --shallow-exclude --server-option --bundle-uri --revision --ref-format""",
    }.items()
}
_NAMES_A_WORKTREE: Final = frozenset({"worktree remove", "worktree lock", "worktree unlock"})
# The last part of an address's path and nothing else of it: the rest may hold credentials.
_NAME_IN_URL: Final = re.compile(r"[\w+.-]+://[^/?#]+/(?:[^?#]*/)?([\w.+~-]+?)(?:\.git)?/*")
_NAME_IN_PATH: Final = re.compile(r"(?:[^/:]*:)?(?:.*/)?([\w.+~-]+?)(?:\.git)?/*")
_HEAD_PREFIX: Final = "ref: refs/heads/"


@dataclass(frozen=True, slots=True)
class Place:
    """Names of where git worked; folder names only, never paths."""

    repository: str | None = None
    worktree: str | None = None
    branch: str | None = None

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the names that are known as span attributes."""
        pairs = (
            (Attr.REPOSITORY_NAME, self.repository),
            (Attr.WORKTREE, self.worktree),
            (Attr.REF_HEAD_NAME, self.branch),
        )
        return {key: value for key, value in pairs if value}


def place_of(command: GitCommand) -> Place:
    """Find the repository, worktree and branch that `command` was about, once it has run."""
    target = _target(command)
    if command.name == "init" and command.folder is not None:
        return Place(basename(os.path.normpath(join(command.folder, target or ""))))
    if command.name == "clone":
        return Place(_name_of(target or ""))
    here = _here(command)
    if command.name in _NAMES_A_WORKTREE and target:
        return Place(here.repository, basename(target.rstrip("/")))
    if command.name == "worktree add" and target and command.folder is not None:
        added = join(command.folder, target)
        branch = _branch(git_dir_in(added))
        return Place(here.repository, basename(added.rstrip("/")), branch)
    return here


def _target(command: GitCommand) -> str | None:
    # The folder that the command makes or takes away: its first word, for `clone` its last.
    if command.name not in _NAMES_A_WORKTREE | _OPTIONS_WITH_VALUE.keys():
        return None
    valued = _OPTIONS_WITH_VALUE.get(command.name, frozenset())
    words = []
    rest = iter(command.rest)
    for argument in rest:
        if argument in valued:
            next(rest, None)
        elif not argument.startswith("-"):
            words.append(argument)
    target = words[-1 if command.name == "clone" else 0] if words else "$"
    return None if "$" in target or "`" in target else target  # only a shell knows


def _name_of(address: str) -> str | None:
    pattern = _NAME_IN_URL if "://" in address else _NAME_IN_PATH
    match = pattern.fullmatch(address)
    return None if match is None or match[1] in (".", "..") else match[1]


def _here(command: GitCommand) -> Place:
    if command.git_dir is not None:
        git_dir: str | None = command.git_dir
        top = command.work_tree
    elif command.folder is not None:
        git_dir, top = find_repository(command.folder)
        top = command.work_tree or top
    else:
        return Place()
    if git_dir is None or (head := read(join(git_dir, "HEAD"))) is None:
        return Place()
    common = common_dir_of(git_dir)
    name = basename(common)
    repository = basename(dirname(common)) if name == ".git" else name.removesuffix(".git")
    several = command.name == SEVERAL  # they may have changed folders between them
    return Place(repository, None if several or not top else basename(top), _branch_of(head))


def _branch(git_dir: str | None) -> str | None:
    return None if git_dir is None else _branch_of(read(join(git_dir, "HEAD")) or "")


def _branch_of(head: str) -> str | None:
    return head.removeprefix(_HEAD_PREFIX) if head.startswith(_HEAD_PREFIX) else None

"""Look up the user's aliases in git's configuration, without starting a git.

This is done for names only that are no command of git's own. `includeIf` is not followed; an alias
that stands there has the name `(other)`, as one that runs another program.
"""
# ruff: noqa: PTH111, PTH118, PTH120

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from os.path import dirname, expanduser, join
from typing import Any, Final

from .folders import common_dir_of, find_repository, read

_INCLUDES_AT_MOST: Final = 5
_SECTION: Final = re.compile(r'\[\s*([\w.-]+)\s*("(?:[^"\\]|\\.)*")?\s*\](.*)')
_ENTRY: Final = re.compile(r"([A-Za-z][\w-]*)\s*=\s*(.*)")
_PIECE: Final = re.compile(r'\\(.)|"|[#;].*')


def alias_of(
    name: str,
    *,
    folder: str | None,
    git_dir: str | None,
    given: Sequence[str],
    env: Mapping[Any, Any],
) -> str | None:
    """Return what the alias `name` stands for; a line for the shell begins with `!`.

    Args:
        name: the word in the place of a subcommand.
        folder: where git runs.
        git_dir: its git directory, if that was given.
        given: what stood behind `-c`.
        env: git's environment.
    """
    wanted = name.lower()
    for setting in reversed(given):
        key, _, value = setting.partition("=")
        if key.lower() == f"alias.{wanted}":
            return value
    for path in _files(folder, git_dir, env):
        found = None
        for key, value in _aliases_in(path, _INCLUDES_AT_MOST):
            if key == wanted:
                found = value  # the last one in a file wins
        if found is not None:
            return found
    return None


def _files(folder: str | None, git_dir: str | None, env: Mapping[Any, Any]) -> Iterator[str]:
    # From what wins to what loses.
    if git_dir is None and folder is not None:
        git_dir, _ = find_repository(folder)
    if git_dir is not None:
        yield join(common_dir_of(git_dir), "config")
    if chosen := env.get("GIT_CONFIG_GLOBAL"):
        yield os.fsdecode(chosen)
    elif home := os.fsdecode(env.get("HOME") or ""):
        yield join(home, ".gitconfig")
        own = os.fsdecode(env.get("XDG_CONFIG_HOME") or join(home, ".config"))
        yield join(own, "git", "config")
    if env.get("GIT_CONFIG_NOSYSTEM") in (None, "", "0", "false"):
        yield os.fsdecode(env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig")


def _aliases_in(path: str, includes: int) -> Iterator[tuple[str, str]]:
    text = read(path)
    if text is None:
        return
    section = ""
    for raw in text.replace("\\\n", "").splitlines():
        line = raw.strip()
        if (match := _SECTION.fullmatch(line)) is not None:
            section = "" if match[2] else match[1].lower()
            line = match[3].strip()
        entry = _ENTRY.match(line)
        if entry is None:
            continue
        value = _PIECE.sub(lambda m: m[1] or "", entry[2]).strip()
        if section == "alias":
            yield entry[1].lower(), value
        elif section == "include" and entry[1].lower() == "path" and includes:
            yield from _aliases_in(join(dirname(path), expanduser(value)), includes - 1)

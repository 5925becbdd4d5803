"""Names for what git does inside: few of them, and nothing of arguments, paths and addresses."""
# ruff: noqa: PTH119

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..command import KNOWN, OTHER, GitCommand, read_words

HOOK: Final = "hook"
PROCESS: Final = "process"
REGION: Final = "region"

_HOOKS: Final = frozenset(
    """applypatch-msg pre-applypatch post-applypatch pre-commit pre-merge-commit prepare-commit-msg
    commit-msg post-commit pre-rebase post-checkout post-merge pre-push pre-receive update
    proc-receive post-receive post-update reference-transaction push-to-checkout pre-auto-gc
    post-rewrite sendemail-validate fsmonitor-watchman p4-changelist p4-prepare-changelist
    p4-post-changelist p4-pre-submit post-index-change""".split()
)
_TRANSPORTS: Final = frozenset({"ssh", "file", "git", "http", "https", "ftp", "ftps", "ext", "fd"})
_CLASSES: Final = frozenset({"editor", "pager", "shell_alias", "background", "subprocess"})
# Told by something better: hooks by their process, and progress is shown on terminals only.
_LEFT_OUT: Final = frozenset({"hook", "progress"})
_WORDS: Final = re.compile(r"[A-Za-z][\w/-]{0,40}(?: [\w/-]{1,40}){0,6}")


def name_of_region(category: str, label: str) -> str | None:
    """Return the name of a region; None for one that is not worth a span."""
    if category in _LEFT_OUT:
        return None
    name = category if category == label else f"{category} {label}"
    return name if _WORDS.fullmatch(name) else OTHER


def name_of_process(name: str) -> str:
    """Return the name of a git process by the command it says it is."""
    if name.startswith("remote-"):
        return _transport(name.removeprefix("remote-"))
    return name if name in KNOWN else OTHER


def name_of_child(event: Mapping[str, Any]) -> tuple[str, str, GitCommand | None]:
    """Return name and kind of a process that git starts, and its command if it is another git."""
    child_class = str(event.get("child_class", ""))
    if child_class == "hook":
        hook = str(event.get("hook_name", ""))
        return f"hook {hook if hook in _HOOKS else OTHER}", HOOK, None
    kind, _, scheme = child_class.partition("/")
    if kind == "transport":
        return _transport(scheme), PROCESS, None
    if child_class in _CLASSES:
        return child_class, PROCESS, None
    argv = event.get("argv")
    words = [str(word) for word in argv] if isinstance(argv, Sequence) else []
    name, command = _name_of_program(words)
    return name, PROCESS, command


def _name_of_program(words: Sequence[str]) -> tuple[str, GitCommand | None]:
    program = os.path.basename(words[0]) if words else ""
    if program == "git":
        command = read_words(words[1:])
        if command.name == OTHER and words[1:] and words[1].startswith("remote-"):
            return name_of_process(words[1]), command
        return command.name, command
    if program.startswith(("git credential", "git-credential")):  # a line for the shell, perhaps
        return "credential", None
    own = program.removeprefix("git-")
    return (own if own != program and own in KNOWN else "child"), None


def _transport(scheme: str) -> str:
    return f"transport {scheme if scheme in _TRANSPORTS else OTHER}"

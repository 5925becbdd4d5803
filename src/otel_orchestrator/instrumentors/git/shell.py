"""Find the git command in a line for the shell, as far as it can be known without a shell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

GIT_PROGRAMS: Final = frozenset({"git", "git.exe"})

_TOKEN: Final = re.compile(
    r"""
    (?P<comment> \#[^\n]* )
  | (?P<redirection> (?: &> | [0-9]*[<>] ) [<>]?[&|]? )
  | (?P<operator> \|\|? | &&? | ; | \n )
  | (?P<word> (?: \\. | '[^']*' | "(?: \\. | [^"\\] )*" | [^\s|&;()<>'"\\] )+ )
  | (?P<space> [ \t\r]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = re.compile(r"""\\(.)|'([^']*)'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_ESCAPED: Final = re.compile(r'\\([$`"\\])')
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
# Commands that take no time worth speaking of, so that the line's time is still git's.
_INSTANT: Final = frozenset(
    ": [ cd echo exit export false mkdir printf pwd set test true unset".split()
)


@dataclass(frozen=True, slots=True)
class ShellGit:
    """What a line for the shell does with git.

    Attributes:
        words: the git command; of several, the first.
        several: more than one git command: none of their names is the line's.
        piped: the exit code is that of another program, at the end of the pipe.
        folder: where a leading `cd` goes.
        variables: assignments in front of the command.
    """

    words: tuple[str, ...]
    several: bool
    piped: bool
    folder: str
    variables: dict[str, str]


def find_git(line: str) -> ShellGit | None:
    """Return the git command that `line` is; None where its time is not (only) git's."""
    if "git" not in line:
        return None
    found: list[ShellGit] = []
    folder = ""
    for first, piped in _pipelines(line.replace("\\\n", " ")):
        words = list(first)
        variables: dict[str, str] = {}
        while words and _ASSIGNMENT.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        if not words:
            continue
        if words[0] == "cd" and not found and len(words) == 2:
            folder = str(PurePath(folder, words[1]))
        elif PurePath(words[0]).name in GIT_PROGRAMS:
            found.append(ShellGit(tuple(words), False, piped, folder, variables))
        elif words[0] not in _INSTANT:
            return None
    if len(found) < 2:
        return found[0] if found else None
    return ShellGit(found[0].words, True, found[-1].piped, folder, found[0].variables)


def _pipelines(line: str) -> Iterator[tuple[list[str], bool]]:
    # The first command of each pipeline, and whether anything stands behind it.
    words: list[str] = []
    piped = is_target = False
    for kind, text in _tokens(line):
        if kind == "word":
            if not piped and not is_target:
                words.append(text)
            is_target = False
        elif kind == "redirection":
            is_target = True
        elif text == "|":
            piped = True
        else:
            yield words, piped
            words, piped = [], False
    yield words, piped


def _tokens(line: str) -> Iterator[tuple[str, str]]:
    position = 0
    while (match := _TOKEN.match(line, position)) is not None:
        position, kind, text = match.end(), match.lastgroup or "", match.group()
        if kind == "redirection" and text.endswith("<<"):
            return  # a here-document: its text is data, and what follows it is not looked for
        if kind == "word":
            yield kind, _QUOTED.sub(_unquoted, text)
        elif kind in ("redirection", "operator"):
            yield kind, text
    # Anything else (a subshell, an unclosed quote) ends what can be known.


def _unquoted(match: re.Match[str]) -> str:
    return match[1] or match[2] or _ESCAPED.sub(r"\1", match[3] or "")

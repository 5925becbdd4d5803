"""Read a git command out of what a program hands to `subprocess`: its name, where it runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from .aliases import alias_of
from .shell import GIT_PROGRAMS, find_git

OTHER: Final = "(other)"
"""A program of the user's own, or an alias for one: its name may be anything."""
SEVERAL: Final = "(several)"
"""A line for the shell with several git commands; the process is one."""

_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_VALUED_SHELL_OPTIONS: Final = frozenset({"--init-file", "--rcfile"})
_VALUED_OPTIONS: Final = frozenset(
    """-C -c --git-dir --work-tree --namespace --config-env --attr-source
    --super-prefix""".split()
)
_ALIASES_AT_MOST: Final = 10

# They write to a pipe or a connection of their own, to another repository or to git pack-objects;
# of the first two nobody knows.
_TALKING: Final = frozenset(
    f"""{OTHER} {SEVERAL} bundle clone fetch fetch-pack ls-remote pull push remote repack
    send-pack""".split()
)

KNOWN: Final = frozenset(
    """add am annotate apply archive bisect blame branch bugreport bundle cat-file check-attr
    check-ignore check-mailmap check-ref-format checkout checkout-index cherry cherry-pick clean
    clone column commit commit-graph commit-tree config count-objects credential daemon describe
    diagnose diff diff-files diff-index diff-tree difftool fast-export fast-import fetch
    fetch-pack filter-branch fmt-merge-msg for-each-ref for-each-repo format-patch fsck gc
    get-tar-commit-id grep hash-object help hook http-backend index-pack init init-db instaweb
    interpret-trailers lfs log ls-files ls-remote ls-tree mailinfo mailsplit maintenance merge
    merge-base merge-file merge-index merge-tree mergetool mktag mktree multi-pack-index mv
    name-rev notes pack-objects pack-redundant pack-refs patch-id prune prune-packed pull push
    quiltimport range-diff read-tree rebase receive-pack reflog refs remote repack replace replay
    request-pull rerere reset restore rev-list rev-parse revert rm send-email send-pack shell
    shortlog show show-branch show-index show-ref sparse-checkout stage stash status stripspace
    submodule subtree svn switch symbolic-ref tag unpack-file unpack-objects update-index
    update-ref update-server-info upload-archive upload-pack var verify-commit verify-pack
    verify-tag version whatchanged worktree write-tree""".split()
)
_SECOND_WORDS: Final = {
    name: frozenset(words.split())
    for name, words in {
        "worktree": "add list lock move prune remove repair unlock",
        "stash": "apply branch clear create drop list pop push show store",
        "remote": "add get-url prune remove rename set-branches set-url show update",
        "submodule": "add deinit foreach init status summary sync update",
        "bisect": "bad good log replay reset run skip start",
        "notes": "add append copy edit list merge prune remove show",
        "sparse-checkout": "add disable init list reapply set",
    }.items()
}

# Exit codes that are an answer and no failure: by command, the option that asks ("" for always).
_ANSWERS: Final[Mapping[str, Mapping[str, int]]] = {
    "cat-file": {"-e": 1},
    "check-ignore": {"": 1},
    "check-ref-format": {"": 1},
    "config": {"--get": 1, "--get-all": 1, "--get-regexp": 1, "--get-urlmatch": 1, "get": 1},
    "diff": {"--quiet": 1, "--exit-code": 1, "--no-index": 1, "--check": 2},
    "diff-files": {"-q": 1, "--quiet": 1, "--exit-code": 1},
    "diff-index": {"--quiet": 1, "--exit-code": 1},
    "diff-tree": {"--quiet": 1, "--exit-code": 1},
    "grep": {"": 1},
    "ls-remote": {"--exit-code": 2},
    "merge-base": {"--is-ancestor": 1},
    "rev-parse": {"-q": 1, "--quiet": 1},
    "show-ref": {"": 1},
    "symbolic-ref": {"-q": 1, "--quiet": 1},
}


@dataclass(frozen=True, slots=True)
class GitCommand:
    """A git command as far as its arguments tell.

    Attributes:
        name: `commit`, `worktree add`, `(other)` or `(several)`.
        folder: where git runs, after `cd` and `-C`; None if only a shell knows.
        git_dir: what `--git-dir` or `GIT_DIR` says, absolute.
        work_tree: what `--work-tree` or `GIT_WORK_TREE` says, absolute.
        rest: the arguments after the subcommand; never exported.
        piped: the exit code is not git's own.
    """

    name: str
    folder: str | None
    git_dir: str | None = None
    work_tree: str | None = None
    rest: tuple[str, ...] = field(default=(), repr=False)
    piped: bool = False

    def answers_with(self, code: int) -> bool:
        """Say whether this exit code is an answer of the command rather than a failure of git."""
        if code == 0 or (self.piped and code > 0):
            return True
        asked = _ANSWERS.get(self.name, {})
        if any(asked.get(option) == code for option in ("", *self.rest)):
            return True
        # `git config user.name` asks, too: a name and no value.
        return self.name == "config" and code == 1 and len(plain_words(self.rest)) == 1

    @property
    def is_served(self) -> bool:
        """A long-lived process that its caller ends by a signal, as GitPython does."""
        return self.name == "cat-file" and any(a.startswith("--batch") for a in self.rest)

    @property
    def talks(self) -> bool:
        """It writes not only to its caller, so that a broken pipe may be another's."""
        return self.name.partition(" ")[0] in _TALKING


def plain_words(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that are no options."""
    return [a for a in arguments if not a.startswith("-")]


def read_command(
    args: Any, *, executable: Any, shell: bool, cwd: Any, env: Mapping[Any, Any] | None
) -> GitCommand | None:
    """Return the git command that `Popen(args, ...)` runs; None if it runs something else."""
    # First what tells a git command from any other: every process of the program comes by here.
    if not isinstance(args, (list, tuple)):
        if isinstance(args, Iterator):
            return None  # reading it would take the arguments away from Popen
        args = (args,) if isinstance(args, str | bytes | os.PathLike) else tuple(args)
    if not args:
        return None
    if shell:
        return _read_line(args[0], cwd, env)
    program = os.path.basename(os.fsdecode(args[0] if executable is None else executable))  # noqa: PTH119 - fast
    if program in GIT_PROGRAMS:
        words = [os.fsdecode(a) for a in args[1:]]
        return _parse(words, _absolute(cwd), os.environ if env is None else env)
    line = _line_for_shell(args[1:]) if program in _SHELLS else None
    return None if line is None else _read_line(line, cwd, env)


def _line_for_shell(args: Sequence[Any]) -> Any:
    # What it is given to run with `-c`, which is the first word that is no option.
    words, is_line = iter(args), False
    for word in words:
        option = os.fsdecode(word)
        if option in ("-", "--"):  # the last of the options
            return next(words, None) if is_line else None
        if option[:1] not in ("-", "+"):
            return word if is_line else None
        if option in _VALUED_SHELL_OPTIONS:
            next(words, None)
        elif not option.startswith("--"):
            is_line = is_line or "c" in option
            for _ in range(option.count("o") + option.count("O")):  # `-euo pipefail`
                next(words, None)
    return None


def read_words(words: Sequence[str]) -> GitCommand:
    """Return the git command that `git` runs with `words`, for its name and its exit codes."""
    return _parse(words, None, {}, aliases=0)


def _read_line(line: Any, cwd: Any, env: Mapping[Any, Any] | None) -> GitCommand | None:
    found = find_git(os.fsdecode(line))
    if found is None:
        return None
    given = {**(os.environ if env is None else env), **found.variables}
    command = _parse(found.words[1:], _join(_absolute(cwd), found.folder), given)
    if found.several:
        command = replace(command, name=SEVERAL, rest=())
    return replace(command, piped=found.piped)


def _absolute(cwd: Any) -> str | None:
    # Now, because the program may change its folder while git runs.
    try:
        return os.path.abspath("" if cwd is None else os.fsdecode(cwd))  # noqa: PTH100 - fast
    except OSError:  # a folder that is gone; git may not need one
        return None


def _join(folder: str | None, further: str) -> str | None:
    if folder is None or "$" in further or "`" in further or further.startswith("-"):
        return None
    return os.path.normpath(os.path.join(folder, os.path.expanduser(further)))  # noqa: PTH111, PTH118 - fast


def _parse(
    words: Sequence[str],
    folder: str | None,
    env: Mapping[Any, Any],
    aliases: int = _ALIASES_AT_MOST,
) -> GitCommand:
    given = []
    git_dir, work_tree = (os.fsdecode(env.get(k) or "") for k in ("GIT_DIR", "GIT_WORK_TREE"))
    i = 0
    while i < len(words) and words[i].startswith("-"):
        option, has_value, value = words[i].partition("=")
        if option in _VALUED_OPTIONS and not has_value:
            i += 1
            value = words[i] if i < len(words) else ""
        if option == "-C":
            folder = _join(folder, value)
        elif option == "--git-dir":
            git_dir = value
        elif option == "--work-tree":
            work_tree = value
        elif option == "-c":
            given.append(value)
        elif option == "--bare":
            git_dir = git_dir or "."
        i += 1
    command = GitCommand(
        OTHER,
        folder,
        _join(folder, git_dir) if git_dir else None,
        _join(folder, work_tree) if work_tree else None,
        tuple(words[i + 1 :]),
    )
    if i >= len(words):  # past the end where the last option lacks its value
        asks = {"--version": "version", "-v": "version", "--help": "help", "-h": "help"}
        return replace(command, name=next((asks[w] for w in words if w in asks), OTHER))
    if words[i] not in KNOWN:
        line = aliases and alias_of(
            words[i], folder=folder, git_dir=command.git_dir, given=given, env=env
        )
        return _through_alias(command, line, env, aliases - 1) if line else command
    name, rest = words[i], command.rest
    if rest and rest[0] in _SECOND_WORDS.get(name, ()):
        name, rest = f"{name} {rest[0]}", rest[1:]
    return replace(command, name=name, rest=rest)


def _through_alias(
    command: GitCommand, line: str, env: Mapping[Any, Any], aliases: int
) -> GitCommand:
    # What it does is the alias's, where it does it is as the words before the alias say.
    if line.startswith("!"):
        found = find_git(line[1:])
        if found is None:
            return command
        meant = _parse(found.words[1:], command.folder, env, aliases)
        name = SEVERAL if found.several else meant.name
        return replace(command, name=name, rest=(), piped=found.piped)
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is not closed: git refuses it, too
        return command
    meant = _parse([*words, *command.rest], command.folder, env, aliases)
    return replace(command, name=meant.name, rest=meant.rest, piped=meant.piped)

"""What is read out of the arguments of `Popen`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from otel_orchestrator.instrumentors.git import command as command_module
from otel_orchestrator.instrumentors.git.command import GitCommand, read_command

SHELL = {"shell": True}
CASES: list[tuple[Any, dict[str, Any], str | None]] = [
    (["git", "status"], {}, "status"),
    (("git", "status"), {}, "status"),
    ([b"/usr/bin/git", Path("log")], {}, "log"),
    (["git", "-C", "x", "-c", "a=b", "--no-pager", "-p", "log", "-1"], {}, "log"),
    (["git", "--git-dir=x", "--work-tree", "y", "stash", "pop"], {}, "stash pop"),
    (["git", "--exec-path=/x", "--namespace", "n", "fetch"], {}, "fetch"),
    (["git", "stash", "a secret"], {}, "stash"),
    (["git", "worktree", "list", "--porcelain"], {}, "worktree list"),
    (["git", "remote", "-v"], {}, "remote"),
    (["git", "my-alias"], {}, "(other)"),
    (["git"], {}, "(other)"),
    (["git", "-C"], {}, "(other)"),
    (["git", "--version"], {}, "version"),
    (["git", "--help", "-a"], {}, "help"),
    (["git", "--bare", "--super-prefix", "x/", "--literal-pathspecs", "log"], {}, "log"),
    (
        ["git", "--config-env=a=B", "--attr-source", "HEAD", "--no-replace-objects", "tag"],
        {},
        "tag",
    ),
    (["anything", "status"], {"executable": "/usr/bin/git"}, "status"),
    (["ls"], {}, None),
    ([], {}, None),
    ("git", {}, "(other)"),
    ("git status", {}, None),
    ("git status", SHELL, "status"),
    (b"git status", SHELL, "status"),
    (["git status", "ignored"], SHELL, "status"),
    ("git status", {**SHELL, "executable": "/bin/bash"}, "status"),
    ("A=1 B='x y' git -C z commit -m 'a && b'", SHELL, "commit"),
    ("cd somewhere && git push; true", SHELL, "push"),
    ("git 'pu''sh' \"origin\"", SHELL, "push"),
    ("# first\ngit push # 'then\n", SHELL, "push"),
    ("git \\\n push", SHELL, "push"),
    ("git push > log 2>&1", SHELL, "push"),
    ("git push &>log || exit 1", SHELL, "push"),
    ("git log | head -1", SHELL, "log"),
    ("git commit -F - <<'EOF'\nit's done\nEOF", SHELL, "commit"),
    ('git commit -m "it\'s \\"done\\""', SHELL, "commit"),
    ("git add . && git commit -m x", SHELL, "(several)"),
    ("true && git status", SHELL, "status"),
    ("git log 'unclosed", SHELL, "log"),
    ("echo git", SHELL, None),
    ("git pull && make", SHELL, None),
    ("git pull\nmake", SHELL, None),
    ("cat patch | git apply", SHELL, None),
    ("(cd x && git status)", SHELL, None),
    ("if git diff --quiet; then make; fi", SHELL, None),
    (["bash", "-lc", "cd x && git fetch"], {}, "fetch"),
    (["bash", "-euo", "pipefail", "-c", "git fetch"], {}, "fetch"),
    (["bash", "-euxo", "pipefail", "-c", "git fetch", "git push"], {}, "fetch"),
    (["bash", "-c", "-e", "git fetch"], {}, "fetch"),
    (["bash", "-e", "-c", "--", "git fetch"], {}, "fetch"),
    (["sh", "-xc", b"git fetch"], {}, "fetch"),
    (["bash", "--noprofile", "--rcfile", "-x", "+e", "-c", "git fetch"], {}, "fetch"),
    (["bash", "-c", "mkdir -p x && cd x && git init"], {}, "init"),
    (["bash", "-e", "git fetch"], {}, None),
    (["bash", "git", "-c", "git fetch"], {}, None),
    (["bash", "--", "-c", "git fetch"], {}, None),
    (["bash", "-c"], {}, None),
    (["bash"], {}, None),
    (["sh", "-c", "make"], {}, None),
    (["sh", "git"], {}, None),
]


def read(args: Any, **options: Any) -> GitCommand | None:
    given = {"executable": None, "shell": False, "cwd": None, "env": None, **options}
    return read_command(args, **given)


@pytest.mark.parametrize(("args", "options", "expected"), CASES)
def test_the_subcommand_is_read_from_the_arguments(
    args: Any, options: dict[str, Any], expected: str | None
) -> None:
    found = read(args, **options)
    assert (found.name if found else None) == expected


def test_folders_add_up(tmp_path: Path) -> None:
    words = ["git", "-C", "a", "-C", "../b", "status"]
    folder = str(tmp_path / "b")
    found = read(words, cwd=tmp_path, env={"GIT_DIR": "g"})
    assert found == GitCommand("status", folder, f"{folder}/g")
    line = "GIT_WORK_TREE=w git -C b status"
    found = read(line, shell=True, cwd=str(tmp_path).encode(), env={})
    assert found == GitCommand("status", folder, None, f"{folder}/w")


def test_the_folder_is_the_one_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(["git", "status"])
    monkeypatch.chdir("/")
    assert found == GitCommand("status", str(tmp_path))


HOME_CONFIG = """
[user]
\tname = n ; not an alias
[alias]
\tst = status -s   # short
\tCI = "commit" -m \\
   x
\ttwice = st
\tloop = loop
\tbroken = log 'x
\tmake = !make all
\tlogs = "!git log | head"
\tboth = !git add . && git commit
\twt = worktree
[alias "sub"]
\tst = log
[include]
\tpath = more
"""
ALIASES = [
    ("st", "status"),
    ("ST", "status"),
    ("ci", "commit"),
    ("twice", "status"),
    ("loop", "(other)"),
    ("broken", "(other)"),
    ("make", "(other)"),
    ("logs", "log"),
    ("both", "(several)"),
    ("here", "fetch"),
    ("included", "push"),
    ("system", "(other)"),
    ("unknown", "(other)"),
]


@pytest.mark.parametrize(("alias", "name"), ALIASES)
def test_an_alias_is_what_it_stands_for(tmp_path: Path, alias: str, name: str) -> None:
    (tmp_path / ".gitconfig").write_text(HOME_CONFIG)
    (tmp_path / "more").write_text("[alias]\nincluded = push\n[include]\npath = more\n")
    subprocess.run(["git", "init", "-q", "r"], cwd=tmp_path)
    (tmp_path / "r" / ".git" / "config").write_text("[alias] here = fetch\n")
    env = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (["git", alias], ["git", "--no-pager", alias, "-1"]):
        found = read(words, cwd=tmp_path / "r", env=env)
        assert found is not None
        assert found.name == name


def test_an_alias_takes_further_words(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    words = ["git", "-c", "alias.w=worktree", "-C", "x", "w", "add", "folder"]
    found = read(words, cwd=tmp_path, env=env)
    assert found == GitCommand("worktree add", str(tmp_path / "x"), rest=("folder",))
    shell = read(["git", "-c", "alias.w=!git log | head", "w", "y"], cwd=tmp_path, env=env)
    assert shell == GitCommand("log", str(tmp_path), piped=True)


def test_a_command_of_gits_own_costs_no_look_at_any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "alias_of", None)
    assert read(["git", "status"]) is not None


def test_arguments_are_not_in_a_printed_command() -> None:
    assert "secret" not in repr(read(["git", "commit", "-m", "secret"]))


def test_every_command_of_git_has_its_name() -> None:
    """Except what only git itself runs: helpers, back ends, merge strategies."""
    listed = subprocess.run(
        ["git", "--list-cmds=main,nohelpers"], capture_output=True, text=True, check=True
    )
    inner = re.compile(r"(merge-(octopus|one-file|ours|re|sub)|remote-|http-|credential-|fsck-).*")
    unknown = set(listed.stdout.split()) - command_module.KNOWN
    assert {name for name in unknown if not inner.fullmatch(name)} <= {"pickaxe", "imap-send"}

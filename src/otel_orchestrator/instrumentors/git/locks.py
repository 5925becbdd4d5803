"""Tell from what git said why it gave up at once: somebody else held a lock.

Only the kind of the lock leaves this module, one of a few words, and nothing else of the text.
"""

from __future__ import annotations

import re
from typing import Final

INDEX: Final = "index"
REF: Final = "ref"
CONFIG: Final = "config"
PACKED_REFS: Final = "packed-refs"
SHALLOW: Final = "shallow"
WORKTREE: Final = "worktree"
OTHER: Final = "other"

READ_AT_MOST: Final = 8192
"""git complains last; what a hook printed before may be long."""

# In every language the quoted path stays. The blank line does, too, and git writes it only where
# the lock exists: "Another git process seems to be running" stands behind it.
_LOCK_FILE: Final = re.compile(r"([^\n]*)\.lock'(?:[^\n]*File exists|[^\n]*\n\n)")
_BY_NAME: Final = {
    "index": INDEX,
    "config": CONFIG,
    "config.worktree": CONFIG,
    "packed-refs": PACKED_REFS,
    "shallow": SHALLOW,
    "HEAD": REF,
}
_IN_REFS: Final = re.compile(r"[/\\]refs[/\\]")
_SAID: Final = (
    (re.compile(r"could not lock config file [^\n]*File exists"), CONFIG),
    # Somebody else was faster, between reading and locking.
    (
        re.compile(
            r"cannot lock ref '[^\n]*': "
            r"(?:is at [0-9a-f]+ but expected|reference (?:already exists|is missing but expected))"
        ),
        REF,
    ),
    (re.compile(r"locked work(?:ing )?tree|is already locked"), WORKTREE),
    # It came upon a worktree that another `worktree add` was just making.
    (re.compile(r"failed to read [^\n]*[/\\]worktrees[/\\][^\n]*[/\\]commondir"), WORKTREE),
)


def lock_in(said: str) -> str | None:
    """Return which lock git failed on, as far as `said`, the end of its messages, tells."""
    if "lock" not in said and "commondir" not in said:
        return None
    if (match := _LOCK_FILE.search(said)) is not None:
        path = match[1]
        if _IN_REFS.search(path):
            return REF
        return _BY_NAME.get(re.split(r"[/\\']", path)[-1], OTHER)
    for pattern, lock in _SAID:
        if pattern.search(said):
            return lock
    return None

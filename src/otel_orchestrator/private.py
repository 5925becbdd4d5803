"""Files and folders that nobody but this user can read, whatever the umask says."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def open_file(path: Path, flags: int) -> int:
    """Open a file of ours, made if `flags` say so; return its descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):  # not on Windows
        # A umask takes bits away, from ourselves, too; and an older file may have too many.
        found = os.fstat(descriptor)
        if stat.S_IMODE(found.st_mode) != 0o600 and found.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
    return descriptor


def make_folder(path: Path) -> None:
    """Make a folder, and what is missing above it; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    above = (folder for folder in path.parents if not folder.exists())
    for folder in [*reversed([*above]), path]:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            folder.chmod(0o700)

"""The folder of the run files: where it is, and how it is made."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from .errors import RunFileError
from .private import make_folder, open_file

DEFAULT_FOLDER: Final = Path(".otel-orchestrator") / "runs"
LEDGER: Final = ".sent"
"""Suffix of the file beside a run file that says how much of it an endpoint has."""
OUTSIDE: Final = "process-"
"""What the name of a file begins with that holds what a process did outside of every run."""


def is_of_a_run(file: Path) -> bool:
    """Whether a file holds one run."""
    return not file.name.startswith(OUTSIDE)


def folder_from_environment() -> Path:
    """Return where run files go: `OTEL_ORCHESTRATOR_RUN_DIR`, else below the working directory.

    Raises:
        RunFileError: it is relative to a working directory that is gone.
    """
    return absolute(Path(os.environ.get("OTEL_ORCHESTRATOR_RUN_DIR") or DEFAULT_FOLDER))


def absolute(folder: Path) -> Path:
    """Return a folder such that it stays the same when the program changes its directory.

    Raises:
        RunFileError: it is relative to a working directory that is gone.
    """
    try:
        return folder.absolute()
    except FileNotFoundError as error:
        raise RunFileError(
            f"the working directory was removed, and {folder} would be in it. Name a folder from"
            " the root: configure(run_dir=...) or OTEL_ORCHESTRATOR_RUN_DIR, or say run_files=False"
        ) from error


def make_run_folder(folder: Path) -> None:
    """Make the folder, readable by the user alone and ignored by git, if it is missing.

    Raises:
        RunFileError: it cannot be made or written.
    """
    try:
        make_folder(folder)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            with os.fdopen(open_file(ignore, os.O_WRONLY | os.O_CREAT), "w") as file:
                file.write("*\n")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise RunFileError(
            f"the folder for run files {folder} cannot be written ({error.strerror}). Name another:"
            " configure(run_dir=...) or OTEL_ORCHESTRATOR_RUN_DIR, or say run_files=False"
        ) from error


def run_files(folder: Path) -> list[tuple[float, int, Path]]:
    """Return when each run file of a folder was changed, its size and its path: oldest first."""
    found = []
    for path in folder.glob("*.jsonl"):
        with suppress(OSError):  # another program has removed it meanwhile
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    return sorted(found)


def sync_folder(folder: Path) -> None:
    """Have the disk keep that there are new files in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

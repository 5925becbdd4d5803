"""The errors a user may meet: always at set-up or on the command line, never inside a run."""

from __future__ import annotations


class OrchestratorError(Exception):
    """One line that says what happened, to which thing, and what to do."""


class MissingLibraryError(OrchestratorError):
    """A library that was asked for is not installed; the text names the `pip install`."""

    def __init__(self, what: str, extra: str | None) -> None:
        wanted = what if extra is None else f"'otel-orchestrator[{extra}]'"
        super().__init__(f"{what} is not installed. Type: pip install {wanted}")


class RunFileError(OrchestratorError):
    """A run file or a folder of run files cannot be read or written."""


class SeveralRunsError(RunFileError):
    """One run is wanted of a file that several were put together in."""


class NoRunsError(RunFileError):
    """A folder holds no run files, or a file no run."""

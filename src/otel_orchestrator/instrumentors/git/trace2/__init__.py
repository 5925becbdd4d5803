"""Trace2: git's own account of what it did, as children of our git span. On request only.

git is asked, by variables of its own environment, to write its events into a file of this span.
Once it has ended, a thread reads them, so neither git nor the program waits for us. Nothing is
asked of a git that somebody else asks already.

https://git-scm.com/docs/api-trace2
"""

from __future__ import annotations

import os
import subprocess
import weakref
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Setter
from opentelemetry.trace import format_span_id, format_trace_id

from ...._guard import guarded, logger
from ....lifecycle.spans import Operation
from ....messages import variable
from . import events
from .folder import PrivateFolder
from .reader import Job, Reader

__all__ = ("Trace2",)

_TARGET: Final = "GIT_TRACE2_EVENT"
_PARENT_SID: Final = "GIT_TRACE2_PARENT_SID"
_NESTING: Final = "2"
"""Regions within regions: unpack_trees, and what it spends its time on."""
_OFF: Final = frozenset({"", "0", "false"})


class Trace2:
    """Asks git processes for their events and makes spans of them."""

    def __init__(self, threshold_ns: int) -> None:
        self._folder = PrivateFolder()
        self._reader = Reader(threshold_ns)
        self._is_over = False
        self._is_asked_by_others = _configured_by_others()
        _alive.add(self)

    def environment(
        self, operation: Operation, env: Mapping[Any, Any] | None, *, events_too: bool
    ) -> tuple[dict[Any, Any], str | None]:
        """Return the environment for a git process, and the file its events will be in.

        Args:
            operation: the git span.
            env: what the program gave to the process; None for its own.
            events_too: otherwise only the trace's context is handed on.
        """
        changed = dict(os.environ if env is None else env)
        _inject(changed, operation.context)
        skip = not events_too or self._is_over or self._is_asked_by_others
        if skip or _has(changed, _TARGET):
            return changed, None
        span = operation.span.get_span_context()
        path = self._folder.file(format_span_id(span.span_id))
        changed[_TARGET] = path
        changed[_TARGET + "_NESTING"] = _NESTING
        changed[_TARGET + "_BRIEF"] = "0"  # brief events have no time
        if not _has(changed, _PARENT_SID):
            trace_id = format_trace_id(span.trace_id)
            changed[_PARENT_SID] = f"otel-{trace_id}-{format_span_id(span.span_id)}"
        return changed, path

    def lock_in(self, path: str) -> str | None:
        """Return which lock git failed on; reads the end of a file that is there already."""
        return events.lock_in_end_of(path)

    def ended(self, path: str, operation: Operation) -> None:
        """Make spans of what is in the file, later, and delete it."""
        self._reader.submit(Job(path, operation.context, operation.start_ns, operation.end_ns))

    def close(self, *, for_good: bool) -> None:
        """Make all spans, in at most a few seconds, and remove the folder.

        Args:
            for_good: ask no git any more: there will be no other call to tidy up after it.
        """
        self._is_over = self._is_over or for_good
        self._reader.close()
        self._folder.remove()

    def after_fork(self) -> None:
        """Let go of what is the parent's: its folder, what it has queued."""
        self._folder.forget()
        self._reader.start()


_alive: Final[weakref.WeakSet[Trace2]] = weakref.WeakSet()


def _after_fork() -> None:
    for trace2 in list(_alive):
        with guarded("starting anew in a fork"):
            trace2.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class _EnvironmentSetter(Setter[dict[Any, Any]]):
    def set(self, carrier: dict[Any, Any], key: str, value: str) -> None:
        name = variable(key)
        # Another value than our own process was given is the program's choice for this one.
        if not _has(carrier, name) or carrier.get(name) == os.environ.get(name):
            carrier[name] = value


_SETTER: Final = _EnvironmentSetter()


def _inject(env: dict[Any, Any], context: Context) -> None:
    with guarded("handing the trace's context to git"):
        propagate.inject(env, context, _SETTER)


def _has(env: Mapping[Any, Any], name: str) -> bool:
    return name in env or os.fsencode(name) in env


def _configured_by_others() -> bool:
    # A variable would win over git's configuration and take their events away. Which is read for
    # this purpose from the system's and the user's files only, never from a repository's.
    with guarded("reading git's configuration"):
        try:
            asked = subprocess.run(
                ["git", "config", "--get", "trace2.eventTarget"],
                cwd=os.sep,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return False  # no git, or none that answers: then there is nothing to take away
        if asked.stdout.strip().lower().decode(errors="replace") in _OFF:
            return False
        logger.warning(
            "git_trace2 is off: git's configuration sends Trace2 events elsewhere already"
            " (trace2.eventTarget)"
        )
        return True
    return False

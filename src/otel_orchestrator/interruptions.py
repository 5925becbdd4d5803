"""Runs that wait for a person: what is known of an interrupted run until another resumes it.

LangGraph's checkpoint holds neither the run's trace nor the instant, so they are kept here by the
names of graph and thread: in memory, or, once `configure()` has named a store, beside the run
files, where other processes find them and take them away.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from . import semconv
from ._guard import log_once_a_minute
from .lifecycle import waits
from .private import make_folder, open_file
from .runs import in_run

_KEPT_AT_MOST: Final = 1_000
_PRUNED_EVERY: Final = 100
"""Saves of a process, its first included: so many more files there may be for each."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """An interrupted run.

    Attributes:
        trace_id, span_id: of the run's span.
        is_sampled: whether its trace is recorded.
        run_id: the run.
        at_ns: when it was interrupted, wall clock.
    """

    trace_id: int
    span_id: int
    is_sampled: bool
    run_id: str
    at_ns: int

    @property
    def span_context(self) -> SpanContext:
        """The context of the run's span, to link to."""
        flags = TraceFlags(TraceFlags.SAMPLED if self.is_sampled else TraceFlags.DEFAULT)
        return SpanContext(self.trace_id, self.span_id, is_remote=True, trace_flags=flags)

    @property
    def context(self) -> Context:
        """The context to put spans of that run in."""
        context = trace.set_span_in_context(NonRecordingSpan(self.span_context), Context())
        return in_run(self.run_id, context)

    def to_text(self) -> str:
        """Return it as one line, but for the instant."""
        return f"{self.trace_id:032x}-{self.span_id:016x}-{self.is_sampled:02x}-{self.run_id}"

    @classmethod
    def from_text(cls, text: object, at_ns: int) -> Interruption | None:
        """Read what `to_text` wrote; None if it did not write this."""
        try:
            trace_id, span_id, flags, run_id = str(text).split("-", 3)
            return cls(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16)), run_id, at_ns)
        except ValueError:
            return None


class FileStore:
    """Keeps interruptions in a folder, one small file a key, for other processes.

    The files are named by a hash: a thread id may hold anything, and is nobody else's business.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saves = count()

    def save(self, key: str, interruption: Interruption) -> None:
        """Keep an interruption; the oldest of too many are forgotten."""
        make_folder(self._folder)
        path = self._path(key)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        descriptor = open_file(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(interruption), file)
        partial.replace(path)
        if next(self._saves) % _PRUNED_EVERY == 0:  # to look at them all holds an event loop up
            self._prune()

    def _prune(self) -> None:
        found: list[tuple[float, Path]] = []
        for path in self._folder.glob("*.json"):
            with suppress(FileNotFoundError):  # another process has taken it
                found.append((path.stat().st_mtime, path))
        for _, old in sorted(found)[:-_KEPT_AT_MOST]:
            old.unlink(missing_ok=True)

    def take(self, key: str) -> Interruption | None:
        """Return and forget an interruption."""
        path = self._path(key)
        try:
            kept = json.loads(path.read_text("utf-8"))
            path.unlink()
            return Interruption(**kept)
        except FileNotFoundError:  # also when another process was faster
            return None
        except (OSError, ValueError, TypeError) as error:
            log_once_a_minute(
                "interruption", "what is kept of an interrupted run cannot be read: %s", error
            )
            return None

    def forget(self, key: str) -> None:
        """Forget an interruption, if there is one."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            log_once_a_minute(
                "interruption", "what is kept of an interrupted run stays: %s", error.strerror
            )

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:32]
        return self._folder / f"{name}.json"


_kept: OrderedDict[str, Interruption] = OrderedDict()
_over_ns: OrderedDict[str, int] = OrderedDict()
_store: FileStore | None = None


def key_of(graph: str, thread_id: str) -> str:
    """Return what an interruption is kept by: graphs that are known apart may share thread ids."""
    return f"{graph}\0{thread_id}"


def keep_in(store: FileStore | None) -> None:
    """Keep interruptions in `store`, too."""
    global _store  # noqa: PLW0603 - one for the process, like the providers
    _store = store


def remember(key: str, interruption: Interruption, *, since_ns: int, is_over: bool) -> None:
    """Note that a run was interrupted, unless it was resumed or given up since it started.

    Args:
        key: as by `key_of`.
        interruption: the run.
        since_ns: when it started.
        is_over: its end is known; other processes are told then, once, and not before.
    """
    if _over_ns.get(key, 0) > since_ns:
        return
    _kept[key] = interruption
    while len(_kept) > _KEPT_AT_MOST:
        _kept.popitem(last=False)
    if _store is not None and is_over:
        try:
            _store.save(key, interruption)
            # Another process may resume it: what is remembered here would outlive that.
            _kept.pop(key, None)
        except OSError as error:
            log_once_a_minute(
                "interruptions",
                "an interrupted run cannot be kept for other processes: %s",
                error.strerror,
            )


def resume(key: str, now_ns: int) -> Interruption | None:
    """Return the run that is being resumed, if it is known, and record how long it waited."""
    _note_over(key, now_ns)
    stored = _store.take(key) if _store is not None else None
    known = [one for one in (stored, _kept.pop(key, None)) if one is not None]
    if not known:
        return None
    found = max(known, key=lambda one: one.at_ns)
    waited(found, now_ns)
    return found


def forget(key: str, now_ns: int) -> None:
    """Note that nobody will resume the run that was interrupted: its thread got a new input."""
    _note_over(key, now_ns)
    _kept.pop(key, None)
    if _store is not None:
        _store.forget(key)


def _note_over(key: str, now_ns: int) -> None:
    _over_ns[key] = now_ns
    _over_ns.move_to_end(key)
    while len(_over_ns) > _KEPT_AT_MOST:
        _over_ns.popitem(last=False)


def waited(interruption: Interruption, now_ns: int) -> None:
    """Record how long an interrupted run waited until it was resumed."""
    waits.record_span(
        semconv.HUMAN,
        interruption.at_ns,
        now_ns,
        parent=interruption.context,
        on=semconv.HUMAN,
        attributes={},
    )

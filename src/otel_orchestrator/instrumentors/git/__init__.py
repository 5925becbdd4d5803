"""git: a span `git {subcommand}` for every git process that the program starts.

One hook on `subprocess.Popen` sees `run`, `check_output`, `shell=True`, `sh -c`, asyncio and
GitPython; loops that start processes by themselves, as uvloop does, have a hook of their own.
Not seen: `os.system` and `os.spawn*`, git started by another program (`env`, `timeout`, a script),
arguments in an iterator, and libraries that do not run git (pygit2, dulwich).
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from ..._guard import guarded, is_on
from ...lifecycle import collecting, spans
from .._patching import Patch, Seam, patch_all, unpatch
from .._providers import use_providers
from . import protocols
from .command import read_command
from .process import OURS, GitProcess, end_held_ones
from .trace2 import Trace2

__all__ = ("GitInstrumentor",)

_VARIABLE: Final = "OTEL_ORCHESTRATOR_GIT_TRACE2"
_THRESHOLD_S: Final = 0.001

# Positions of Popen's parameters, for callers that do not name them.
_ARGS, _EXECUTABLE, _STDOUT, _STDERR, _SHELL, _CWD, _ENV = 0, 2, 4, 5, 8, 9, 10

_trace2: Trace2 | None = None


class GitInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base is untyped
    """Instruments every way in which a program starts git.

    Options of `instrument`:
        git_trace2: show what git does inside, from its own Trace2 events. Default: the variable
            `OTEL_ORCHESTRATOR_GIT_TRACE2`, else off.
        git_trace2_threshold_s: the shortest region of git's that gets a span; default 1 ms.
        tracer_provider, meter_provider: instead of the global ones.
    """

    _patches: tuple[Patch, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: `subprocess` is always there."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        use_providers(kwargs)
        _use_trace2(kwargs)
        self._patches = patch_all("Python", _seams())
        subprocess.Popen.returncode = _ReturnCode()
        atexit.register(_end, at_exit=True)
        spans.before_shutdown(_end)

    def _uninstrument(self, **kwargs: Any) -> None:
        unpatch(self._patches)
        self._patches = ()
        if isinstance(vars(subprocess.Popen).get("returncode"), _ReturnCode):
            del subprocess.Popen.returncode
        atexit.unregister(_end)
        spans.not_before_shutdown(_end)
        _end()
        _use_trace2({"git_trace2": False})


def _seams() -> tuple[Seam, ...]:
    popen = subprocess.Popen
    process = getattr(asyncio.subprocess, "Process", None)
    protocol = getattr(asyncio.subprocess, "SubprocessStreamProtocol", None)
    run = functools.partial(_starts_in_a_loop, False)
    run_in_shell = functools.partial(_starts_in_a_loop, True)
    nothing = "git is not seen"
    said = "what git writes is not counted"
    end = "a git that the program ends itself looks like an error"
    in_a_loop = "git is not seen where uvloop starts it"
    return (
        Seam(popen, "__init__", _starts, nothing),
        Seam(popen, "__del__", _is_dropped, "a git that nobody waits for has no end"),
        Seam(popen, "communicate", _communicates, said),
        Seam(popen, "terminate", _terminates, end),
        Seam(process, "terminate", _terminates, end),
        # The same function twice: under the name in the docs, and where it is at home.
        Seam(asyncio, "create_subprocess_exec", run, in_a_loop),
        Seam(asyncio, "create_subprocess_shell", run_in_shell, in_a_loop),
        Seam(asyncio.subprocess, "create_subprocess_exec", run, in_a_loop),
        Seam(asyncio.subprocess, "create_subprocess_shell", run_in_shell, in_a_loop),
        Seam(protocol, "__init__", protocols.protocol_is_made, in_a_loop),
        Seam(protocol, "connection_made", protocols.pipes_are_connected, said),
        Seam(protocol, "pipe_data_received", protocols.pipe_carries, said),
        Seam(protocol, "pipe_connection_lost", protocols.pipe_is_closed, said),
        Seam(protocol, "process_exited", protocols.exits_without_popen, in_a_loop),
    )


def _use_trace2(options: Mapping[str, Any]) -> None:
    global _trace2  # noqa: PLW0603 - the hooks are global, too
    wanted = options.get("git_trace2")
    if wanted is None:
        wanted = is_on(_VARIABLE)
    _trace2 = None
    if wanted:
        threshold_s = options.get("git_trace2_threshold_s", _THRESHOLD_S)
        with guarded("setting up Trace2"):
            _trace2 = Trace2(int(threshold_s * 1e9))


def _end(*, at_exit: bool = False) -> None:
    """End what can still be ended, while there is somebody to take the spans."""
    collecting.end_late_ones()
    end_held_ones(every=True)
    if _trace2 is not None:
        with guarded("reading git's events"):
            _trace2.close(for_good=at_exit)


def _begin(
    positional: tuple[Any, ...], named: Mapping[str, Any], *, shell: bool | None = None
) -> GitProcess | None:
    """Start a span if these are arguments of `Popen` that run git."""
    with guarded("looking at a new process"):

        def given(position: int, name: str, default: Any = None) -> Any:
            return positional[position] if len(positional) > position else named.get(name, default)

        collecting.end_late_ones()
        end_held_ones()
        command = read_command(
            given(_ARGS, "args", ()),
            executable=given(_EXECUTABLE, "executable"),
            shell=bool(given(_SHELL, "shell", False)) if shell is None else shell,
            cwd=given(_CWD, "cwd"),
            env=given(_ENV, "env"),
        )
        if command is None:
            return None
        return GitProcess(
            command,
            is_merged=given(_STDERR, "stderr") == subprocess.STDOUT,
            is_handed_on=given(_STDOUT, "stdout") not in (subprocess.PIPE, subprocess.DEVNULL),
            trace2=_trace2,
        )
    return None


def _with_environment(
    process: GitProcess, positional: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return `Popen`'s arguments with the environment that the process needs for its events."""
    with guarded("preparing git's environment"):
        if len(positional) > _ENV:
            env = process.environment(positional[_ENV])
            if env is not None:
                return (*positional[:_ENV], env, *positional[_ENV + 1 :]), named
        else:
            env = process.environment(named.get("env"))
            if env is not None:
                return positional, {**named, "env": env}
    return positional, named


def _starts(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(self: Any, *positional: Any, **named: Any) -> None:  # noqa: N807
        process = _begin(positional, named)
        if process is None:
            original(self, *positional, **named)
            return
        positional, named = _with_environment(process, positional, named)
        try:
            original(self, *positional, **named)
        except BaseException as error:
            with guarded("ending a git span"):
                process.failed_to_start(error)
            raise
        # Not before: where the program cannot be run, Popen reaps the fork and sets its code, 255.
        self.__dict__[OURS] = process
        with guarded("noting a process id"):
            process.started(self.pid)
            if (starting := protocols.starting_now.get()) is not None and starting.process is None:
                process.hold()  # until its pipes are connected
                starting.process = process

    return __init__


class _ReturnCode:
    """Stands for `Popen.returncode`: its first value tells that the process has ended.

    It is set in `wait`, `poll`, `communicate`, and by asyncio's child watcher.
    """

    def __get__(self, popen: Any, owner: Any = None) -> Any:
        # Without an instance as before: the class has no such attribute.
        if popen is None:
            raise AttributeError(f"type object {owner.__name__!r} has no attribute 'returncode'")
        try:
            return popen.__dict__["returncode"]
        except KeyError:
            text = f"{type(popen).__name__!r} object has no attribute 'returncode'"
            raise AttributeError(text, name="returncode", obj=popen) from None

    def __set__(self, popen: Any, code: int | None) -> None:
        popen.__dict__["returncode"] = code
        if code is None:
            return
        with guarded("ending a git span"):
            if (process := popen.__dict__.pop(OURS, None)) is not None:
                with guarded("noting a closed pipe"):
                    _note_closed(popen, process)
                process.exited(code)

    def __delete__(self, popen: Any) -> None:
        popen.__dict__.pop("returncode", None)


def _is_dropped(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def __del__(self: Any, *positional: Any, **named: Any) -> None:  # noqa: N807
        # Taken out first, because the original looks once more whether the process has ended, and
        # if it has not, keeps the Popen object alive until it has.
        process = self.__dict__.pop(OURS, None)
        try:
            original(self, *positional, **named)
        finally:  # where warnings are errors, it raises its ResourceWarning before it looks
            if process is not None:
                with guarded("noting a closed pipe"):
                    _note_closed(self, process)
                with guarded("ending a git span"):
                    process.end_late(self.__dict__.get("returncode"))

    return __del__


def _note_closed(popen: Any, process: GitProcess) -> None:
    if any(getattr(pipe, "closed", False) for pipe in (popen.stdout, popen.stderr)):
        process.closed()


def _communicates(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def communicate(self: Any, *positional: Any, **named: Any) -> Any:
        process = self.__dict__.get(OURS)
        if process is None:
            return original(self, *positional, **named)
        with guarded("reading what git said"):
            process.hold()
        try:
            said = original(self, *positional, **named)
            with guarded("reading what git said"):
                process.wrote(1, said[0])
                process.wrote(2, said[1])
            return said
        finally:
            with guarded("ending a git span"):
                process.release()

    return communicate


def _terminates(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def terminate(self: Any) -> None:
        with guarded("noting an end"):
            # asyncio's processes have the protocol that knows them, a Popen knows itself.
            protocol = getattr(self, "_protocol", None)
            process = (
                self.__dict__.get(OURS) if protocol is None else protocols.process_of(protocol)
            )
            if process is not None:
                process.let_go(signal.SIGTERM)
        original(self)

    return terminate


def _starts_in_a_loop(shell: bool, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def create(*positional: Any, **named: Any) -> Any:
        starting = protocols.Start()
        # asyncio's own loops start processes through Popen, which has a hook already.
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            words = (positional[0] if shell and positional else positional,)
            starting.process = _begin(words, named, shell=shell)
            if starting.process is None:
                return await original(*positional, **named)
            with guarded("noting a pipe"):
                starting.process.hold()
            _, named = _with_environment(starting.process, (), named)
        protocols.starting_now.set(starting)
        try:
            started = await original(*positional, **named)
            with guarded("noting a process id"):
                if starting.process is not None:
                    starting.process.started(started.pid)
            return started
        except BaseException as error:
            with guarded("ending a git span"):
                if starting.process is not None:
                    starting.process.failed_to_start(error)
            raise
        finally:
            # Not by token: a coroutine that is closed elsewhere cannot reset it.
            protocols.starting_now.set(None)
            with guarded("ending a git span"):
                if starting.process is not None:
                    starting.process.release()

    return create

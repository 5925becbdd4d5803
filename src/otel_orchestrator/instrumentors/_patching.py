"""Replace a function of somebody else's class or module, and put the very same one back.

A library's new version may have moved one: then the others are replaced all the same, and one
sentence says what has moved, in which version, what is missing for it, and what to do.
"""

from __future__ import annotations

import functools
import inspect
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .._guard import guarded, logger
from ..lifecycle.wrapping import begun


@dataclass(frozen=True, slots=True)
class Patch:
    """One replaced attribute: where it stands, what we put there, and what stood there."""

    owner: Any
    name: str
    ours: Any
    original: Any
    was_inherited: bool


@dataclass(frozen=True, slots=True)
class Seam:
    """A function of a library's to stand in for, and what goes missing where it has moved.

    Attributes:
        owner: its class or module; None where that itself has moved.
        name: its attribute name, or `Class.name` where there is no owner.
        replace: makes ours from the original.
        missing: what is not seen without it, as in "streams have no chunks".
        leading: its first parameters, which ours relies on.
        is_required: without it none of the others is replaced: what they tell would be wrong.
    """

    owner: Any
    name: str
    replace: Callable[[Any], Any]
    missing: str
    leading: tuple[str, ...] = ()
    is_required: bool = False

    @property
    def label(self) -> str:
        """What it is called in the library."""
        where = getattr(self.owner, "__qualname__", getattr(self.owner, "__name__", None))
        return self.name if where is None else f"{where}.{self.name}"

    @property
    def is_there(self) -> bool:
        """Whether the library has it there, with the parameters that ours relies on."""
        # Its own, and not a base class's that does nothing and that nobody calls any more.
        if self.name not in getattr(self.owner, "__dict__", ()):
            return False
        try:
            parameters = tuple(inspect.signature(getattr(self.owner, self.name)).parameters)
        except (TypeError, ValueError):
            return not self.leading
        return parameters[: len(self.leading)] == self.leading


def patch_all(library: str, seams: Iterable[Seam]) -> tuple[Patch, ...]:
    """Replace what is there, unless one is missing that is required; say what is missing.

    Args:
        library: the distribution that the functions come from, as pip calls it.
        seams: what to replace.
    """
    seams = tuple(seams)
    moved = [seam for seam in seams if not seam.is_there]
    if moved:
        missing = "; ".join(dict.fromkeys(seam.missing for seam in moved))
        _say_moved(library, [seam.label for seam in moved], missing)
    if any(seam.is_required for seam in moved):
        return ()
    return tuple(patch(s.owner, s.name, s.replace) for s in seams if s not in moved)


def _say_moved(library: str, names: Iterable[str], missing: str) -> None:
    try:
        which = version(library)
    except PackageNotFoundError:
        which = platform.python_version()
    logger.warning(
        "%s %s has moved %s: %s. All else is traced, and the program is not affected. Upgrade"
        " otel-orchestrator or pin %s to an older version, and please report it.",
        library,
        which,
        ", ".join(names),
        missing,
        library,
    )


class Around:
    """What is put around one call: entered before it, left after it, then told what it gave.

    What subclasses do in `begins`, `ends` and `gave` may fail: the call does not notice.

    Attributes:
        args, kwargs: what the call goes on with.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def begins(self) -> None:
        """Do what has to be done before the call."""
        raise NotImplementedError

    def ends(self, error: BaseException | None) -> None:
        """Do what has to be done after it."""
        raise NotImplementedError

    def gave(self, result: Any) -> None:
        """See what it gave."""
        raise NotImplementedError

    # A `try` and no `with`: this is done for every item of a stream that is read by hand.

    def __enter__(self) -> None:
        try:
            self.begins()
        except Exception:
            with guarded("entering a call"):
                raise

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        try:
            self.ends(error)
        except Exception:
            with guarded("leaving a call"):
                raise

    def see(self, result: Any) -> None:
        """Let it see what the call gave."""
        try:
            self.gave(result)
        except Exception:
            with guarded("reading what a call gave"):
                raise


def around(enter: Callable[..., Around | None], original: Any) -> Any:
    """Return `original`, a function or a coroutine function, with something around its calls.

    Args:
        enter: makes that from a call's arguments; None leaves the call alone.
        original: what is called.
    """
    wrapper: Any
    if inspect.iscoroutinefunction(original):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            entered = begun(enter, args, kwargs, "looking at a call")
            if entered is None:
                return await original(*args, **kwargs)
            with entered:
                result = await original(*entered.args, **entered.kwargs)
            entered.see(result)
            return result

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            entered = begun(enter, args, kwargs, "looking at a call")
            if entered is None:
                return original(*args, **kwargs)
            with entered:
                result = original(*entered.args, **entered.kwargs)
            entered.see(result)
            return result

    return functools.wraps(original)(wrapper)


def patch(owner: Any, name: str, replace: Callable[[Any], Any]) -> Patch:
    """Set `owner.name` to `replace(original)`."""
    # By its owner: what wrapt has put there before us has to be told that it is called as a method.
    ours = replace(getattr(owner, name))
    was_inherited = name not in vars(owner)
    original = None if was_inherited else vars(owner)[name]
    setattr(owner, name, ours)
    return Patch(owner, name, ours, original, was_inherited)


def unpatch(patches: Iterable[Patch]) -> None:
    """Undo patches; one that somebody else has wrapped since is left alone and said."""
    for p in patches:
        if vars(p.owner).get(p.name) is not p.ours:
            logger.warning(
                "%s.%s was wrapped again by somebody else, so it is left as it is",
                getattr(p.owner, "__qualname__", getattr(p.owner, "__name__", p.owner)),
                p.name,
            )
        elif p.was_inherited:
            delattr(p.owner, p.name)
        else:
            setattr(p.owner, p.name, p.original)

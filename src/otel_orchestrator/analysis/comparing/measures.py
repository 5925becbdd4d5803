"""What may be compared, by name: one value for each run.

wall               the run's wall clock
waiting            all of its waits, but for the plan's own order (dependency) and for people
waiting.barrier    its waits of one category
llm.mean           of the spans of a category: count, total, mean, median or p95
git commit.p95     of the spans of a path of names, or of its end, if only one path ends so
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from ... import semconv
from ...errors import OrchestratorError
from ..clip import Key
from .amounts import Amount, Path
from .digest import Digest

WALL: Final = "wall"
WAITING: Final = "waiting"
LLM_MEAN: Final = "llm.mean"

_STATISTICS: Final[dict[str, Callable[[Amount], float]]] = {
    "count": lambda amount: amount.count,
    "total": lambda amount: amount.total_us,
    "mean": lambda amount: amount.mean_us,
    "median": lambda amount: amount.median_us,
    "p95": lambda amount: amount.p95_us,
}
_OF_NOTHING: Final = {"count": 0.0, "total": 0.0}
_TITLES: Final = {WALL: "wall clock", LLM_MEAN: "mean LLM call", WAITING: "waiting"}
_NAMED_AT_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that every run has one value of.

    Attributes:
        name: as in a rule.
        is_time: the value is in microseconds, not a count.
        value: of a run; None where the run has nothing that it could be of.
    """

    name: str
    is_time: bool
    value: Callable[[Digest], float | None]

    @property
    def title(self) -> str:
        """What people call it."""
        return _TITLES.get(self.name, self.name)


def measure_of(name: str, digests: Sequence[Digest]) -> Measure:
    """Return the measure that a name means in these runs.

    Raises:
        OrchestratorError: none of them has it, or the end of a path is that of several.
    """
    if name == WALL:
        return Measure(name, True, lambda digest: digest.wall_us)
    if name == WAITING:
        return Measure(name, True, lambda digest: digest.waiting_us)
    head, _, tail = name.rpartition(".")
    if head == WAITING and tail:
        known = set(semconv.WAITS).union(*(digest.waits for digest in digests))
        if tail not in known:
            raise OrchestratorError(
                f"{name} is nothing to compare: these runs have no waits {tail}. Type waiting. and"
                f" one of {', '.join(sorted(known))}"
            )
        return Measure(name, True, lambda digest: digest.waits.get(tail, 0))
    statistic = _STATISTICS.get(tail)
    if not head or statistic is None:
        raise OrchestratorError(
            f"{name} is nothing to compare. Type wall, waiting, waiting.barrier, or a category or a"
            f" path of span names with .{', .'.join(_STATISTICS)}: such as git.mean"
        )
    amount_in = _amount_of_category(head, digests) or _amount_of_path(head, digests)

    def value(digest: Digest) -> float | None:
        amount = amount_in(digest)
        return _OF_NOTHING.get(tail) if amount is None else statistic(amount)

    return Measure(name, not is_count(name), value)


def is_count(name: str) -> bool:
    """Whether a measure counts something, so that it is no time; `waiting.count` would be waits."""
    head, _, tail = name.rpartition(".")
    return tail == "count" and head != WAITING


def category_name(key: Key) -> str:
    """Return what a category is called: `llm`, `wait barrier`."""
    state, category = key
    return f"wait {category}" if state == semconv.WAITING else category


def path_name(path: Path) -> str:
    """Return a path as one line."""
    return " / ".join(path)


def endings_of(paths: Iterable[Path], at_least: int = 1) -> dict[Path, Path]:
    """Return the shortest end of each path that no other has, of so many names at least.

    What is itself the end of another is told by all of its names: such an end means it alone.
    """
    # Those that end alike are next to each other.
    ordered = sorted({path: _typed(path)[::-1] for path in paths}.items(), key=lambda p: p[1])
    backwards = [typed for _, typed in ordered]
    shared = [0, *map(_shared, backwards, backwards[1:]), 0]
    found = {}
    for (path, _), needed in zip(ordered, map(max, shared, shared[1:]), strict=True):
        parts = accumulate(name.count("/") + 1 for name in reversed(path))
        enough = (n for n, told in enumerate(parts, 1) if n >= at_least and told > needed)
        found[path] = path[-next(enough, len(path)) :]
    return found


def _typed(path: Path) -> Path:
    """Return a path in the parts that it has in a rule, where a name with a slash is two."""
    return tuple(part.strip() for part in "/".join(path).split("/"))


def _shared(one: Path, other: Path) -> int:
    """Return how many parts are the same at the beginning of both."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


_Amounts = Callable[[Digest], Amount | None]


def _amount_of_category(name: str, digests: Iterable[Digest]) -> _Amounts | None:
    names = {category_name(c.key) for digest in digests for c in digest.categories}
    # LLM calls are always a category, in runs without any, too.
    if name not in names and name != semconv.LLM:
        return None

    def amount(digest: Digest) -> Amount | None:
        found = (c.amount for c in digest.categories if category_name(c.key) == name)
        return next(found, None)

    return amount


def _amount_of_path(name: str, digests: Iterable[Digest]) -> _Amounts:
    wanted = _typed((name,))
    paths = sorted({p.path for digest in digests for p in digest.paths})
    ending = [path for path in paths if _typed(path)[-len(wanted) :] == wanted]
    found = [path for path in ending if _typed(path) == wanted] or ending
    if not found:
        known = sorted({category_name(c.key) for digest in digests for c in digest.categories})
        raise OrchestratorError(
            f"these runs have no category and no path {name}. Their categories:"
            f" {_some(known)}; --format json lists their paths"
        )
    if len(found) > 1 and _typed(found[0]) == wanted:
        raise OrchestratorError(
            f"{len(found)} paths are all called {name}, as some names have slashes: none of them"
            " can be judged"
        )
    if len(found) > 1:
        raise OrchestratorError(
            f"{len(found)} paths end with {name}: type more of it, such as"
            f" {'/'.join(endings_of(paths)[found[0]])}"
        )

    def amount(digest: Digest) -> Amount | None:
        return next((p.amount for p in digest.paths if p.path == found[0]), None)

    return amount


def _some(names: Sequence[str]) -> str:
    """Return names as a list, and how many there are beyond those it has room for."""
    hidden = len(names) - _NAMED_AT_MOST
    listed = ", ".join(names[:_NAMED_AT_MOST])
    return f"{listed}, … and {hidden} more" if hidden > 0 else listed

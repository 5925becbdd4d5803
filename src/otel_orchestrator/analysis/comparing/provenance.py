"""Where two groups of runs come from, and what that says against comparing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ... import semconv
from .digest import Digest

_SESSION_GAP_US: Final = 30 * 60 * 1_000_000
_WARNINGS_AT_MOST: Final = 5
_OPEN: Final = "open"
"""The outcome of a run without an end."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What makes the answer of a comparison less sure.

    Attributes:
        advisory: why it can be no more than advice; nothing fails by it.
        remarks: what else is to be known.
        unlike_ends: that the runs of one side failed more often; None where they did not.
        unlike_services: that the sides are of different services; None where they are not.
    """

    advisory: tuple[str, ...]
    remarks: tuple[str, ...]
    unlike_ends: str | None
    unlike_services: str | None


def doubts_about(base: Sequence[Digest], candidate: Sequence[Digest], *, trusted: bool) -> Doubts:
    """Look at where the runs come from; `trusted` ones are of one machine and session."""
    unlike_ends = _unlike_ends(base, candidate)
    advisory = () if trusted else tuple(_advisory(base, candidate))
    return Doubts(
        advisory=advisory if unlike_ends is None else (unlike_ends, *advisory),
        remarks=tuple(_remarks(base, candidate)),
        unlike_ends=unlike_ends,
        unlike_services=_unlike_services(base, candidate),
    )


def _unlike_ends(base: Sequence[Digest], candidate: Sequence[Digest]) -> str | None:
    """Say that one side failed more often: a run that breaks off is short, but not faster."""
    before, after = _failed(base), _failed(candidate)
    if len(before) * len(candidate) == len(after) * len(base):
        return None
    return (
        f"{len(after)} of {len(candidate)} candidate runs {_how([*before, *after])},"
        f" against {len(before)} of {len(base)} base runs"
    )


def _how(failed: Sequence[Digest]) -> str:
    """Say how runs ended; one that still goes on, or whose end is lost, is no failure."""
    are_open = {digest.outcome == _OPEN for digest in failed}
    if are_open == {True}:
        return "have not ended"
    return "did not end well, or have not ended" if True in are_open else "did not end well"


def _unlike_services(base: Sequence[Digest], candidate: Sequence[Digest]) -> str | None:
    before, after = _services(base), _services(candidate)
    if before == after:
        return None
    return f"the base runs are of {', '.join(before)}, the candidate runs of {', '.join(after)}"


def _services(group: Sequence[Digest]) -> list[str]:
    return sorted({digest.service or "an unnamed service" for digest in group})


def _failed(group: Sequence[Digest]) -> list[Digest]:
    return [digest for digest in group if digest.outcome != semconv.OK]


def _advisory(base: Sequence[Digest], candidate: Sequence[Digest]) -> Iterator[str]:
    runs = sorted((*base, *candidate), key=lambda d: (d.start_us, d.run_id))
    hosts = sorted({digest.host or "an unknown machine" for digest in runs})
    if len(hosts) > 1:
        yield f"the runs are from {len(hosts)} machines ({', '.join(hosts[:3])})"
    ended = runs[0].end_us
    gaps = 0
    for run in runs[1:]:
        gaps += run.start_us - ended > _SESSION_GAP_US
        ended = max(ended, run.end_us)
    if gaps:
        yield f"the runs are from {gaps + 1} sessions, with half an hour or more between them"


def _remarks(base: Sequence[Digest], candidate: Sequence[Digest]) -> Iterator[str]:
    if len(base) + len(candidate) > 2 and (
        base[-1].start_us < candidate[0].start_us or candidate[-1].start_us < base[0].start_us
    ):
        yield (
            "all runs of one group were before all of the other: a machine that became slower"
            " meanwhile looks the same. Run base and candidate in turns"
        )
    services = _services(base)
    if len(services) > 1 and services == _services(candidate):
        yield f"the runs are of different services: {', '.join(services)}"
    for name, group in (("base", base), ("candidate", candidate)):
        if bad := _failed(group):
            outcomes = ", ".join(sorted({digest.outcome for digest in bad} - {_OPEN}))
            which = f": {outcomes}" if outcomes else ""
            yield f"{len(bad)} of {len(group)} {name} runs {_how(bad)}{which}"
    warnings = [
        f"run {digest.run_id}: {warning}"
        for digest in (*base, *candidate)
        for warning in digest.warnings
    ]
    yield from warnings[:_WARNINGS_AT_MOST]
    if len(warnings) > _WARNINGS_AT_MOST:
        yield f"... and {len(warnings) - _WARNINGS_AT_MOST} warnings more"

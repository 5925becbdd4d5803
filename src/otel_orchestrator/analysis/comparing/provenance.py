"""Where two groups of runs come from, and what that says against comparing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ... import semconv
from .digest import Digest

_SESSION_GAP_US: Final = 30 * 60 * 1_000_000
_WARNINGS_AT_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Doubts:
    """What makes the answer of a comparison less sure.

    Attributes:
        advisory: why it can be no more than advice; nothing fails by it.
        remarks: what else is to be known.
        unlike_ends: that the runs of one side failed more often; None where they did not.
    """

    advisory: tuple[str, ...]
    remarks: tuple[str, ...]
    unlike_ends: str | None


def doubts_about(base: Sequence[Digest], candidate: Sequence[Digest], *, trusted: bool) -> Doubts:
    """Look at where the runs come from; `trusted` ones are of one machine and session."""
    unlike_ends = _unlike_ends(base, candidate)
    advisory = () if trusted else tuple(_advisory(base, candidate))
    return Doubts(
        advisory=advisory if unlike_ends is None else (unlike_ends, *advisory),
        remarks=tuple(_remarks(base, candidate)),
        unlike_ends=unlike_ends,
    )


def _unlike_ends(base: Sequence[Digest], candidate: Sequence[Digest]) -> str | None:
    """Say that one side failed more often: a run that breaks off is short, but not faster."""
    before, after = len(_failed(base)), len(_failed(candidate))
    if before * len(candidate) == after * len(base):
        return None
    return (
        f"{after} of {len(candidate)} candidate runs did not end well,"
        f" against {before} of {len(base)} base runs"
    )


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
    services = sorted({digest.service or "" for digest in (*base, *candidate)})
    if len(services) > 1:
        yield f"the runs are of different services: {', '.join(services)}"
    for name, group in (("base", base), ("candidate", candidate)):
        if bad := _failed(group):
            outcomes = ", ".join(sorted({digest.outcome for digest in bad}))
            yield f"{len(bad)} of {len(group)} {name} runs did not end well: {outcomes}"
    warnings = [
        f"run {digest.run_id}: {warning}"
        for digest in (*base, *candidate)
        for warning in digest.warnings
    ]
    yield from warnings[:_WARNINGS_AT_MOST]
    if len(warnings) > _WARNINGS_AT_MOST:
        yield f"... and {len(warnings) - _WARNINGS_AT_MOST} warnings more"

"""Durations, shares and counts as people read them."""

from __future__ import annotations


def duration(nanoseconds: float) -> str:
    """Return a duration in four characters or so: `812 µs`, `43 ms`, `3.21 s`, `4m 05s`."""
    seconds = nanoseconds / 1e9
    if seconds < 0.001:
        return f"{nanoseconds / 1e3:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


def share(fraction: float) -> str:
    """Return a share in per cent."""
    return f"{round(fraction * 100, 1) + 0.0:.1f} %"  # never -0.0


def count(number: int) -> str:
    """Return a count with thin groups: `12 345`."""
    return f"{number:,}".replace(",", " ")


def plural(number: int, noun: str) -> str:
    """Return `1 loop`, `2 loops`."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"

"""Thresholds in texts that are made of them."""

from __future__ import annotations


def per_cent(share: float) -> str:
    """Return a share, from 0 to 1, in whole per cent: `30 %`."""
    return f"{share * 100:.0f} %"

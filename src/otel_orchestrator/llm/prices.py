"""What a call costs, from a table of prices that the user gives; there is none of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..errors import OrchestratorError
from ..semconv import Attr

PER_TOKENS: Final = 1_000_000
"""Prices are for a million tokens, as providers write them."""

_KINDS: Final = ("input", "output", "cache_read", "cache_write")

_prices: dict[str, dict[str, float]] = {}


def use(prices: Mapping[str, Mapping[str, float]] | None) -> None:
    """Take a table: model → price for a million tokens of `input`, `output`, `cache_read` ...

    Tokens read from or written to a cache cost as `input` where no price of their own is given.

    Raises:
        OrchestratorError: the table makes no sense.
    """
    checked: dict[str, dict[str, float]] = {}
    for model, row in (prices or {}).items():
        if not isinstance(row, Mapping) or not {"input", "output"} <= set(row) <= set(_KINDS):
            raise OrchestratorError(
                f"prices[{model!r}] has to be a dict with 'input' and 'output', and perhaps"
                f" 'cache_read' and 'cache_write': prices for a million tokens"
            )
        checked[model] = {kind: float(price) for kind, price in row.items()}
    _prices.clear()
    _prices.update(checked)


def cost_of(models: Iterable[object], usage: Mapping[str, int]) -> float | None:
    """Return what a call cost, by the first of `models` that the table has; None without."""
    row = next((_prices[m] for m in models if isinstance(m, str) and m in _prices), None)
    if row is None:
        return None
    read = usage.get(Attr.CACHE_READ_TOKENS, 0)
    written = usage.get(Attr.CACHE_WRITE_TOKENS, 0)
    plain = max(0, usage.get(Attr.INPUT_TOKENS, 0) - read - written)
    return (
        plain * row["input"]
        + read * row.get("cache_read", row["input"])
        + written * row.get("cache_write", row["input"])
        + usage.get(Attr.OUTPUT_TOKENS, 0) * row["output"]
    ) / PER_TOKENS

"""The `OTEL_*` variables that OpenTelemetry reads by itself: one clear line if one is wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .. import redaction
from .._guard import logger
from ..errors import OrchestratorError

OTLP: Final = "EXPORTER_OTLP_"
"""A part of the names of all that exporters read, some of which begin with `OTEL_PYTHON_`."""
METRIC_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_TIMEOUTS: Final = tuple(f"OTEL_{OTLP}{signal}TIMEOUT" for signal in ("", "TRACES_", "METRICS_"))
_NUMBERS: Final = (*_TIMEOUTS, METRIC_INTERVAL, "OTEL_METRIC_EXPORT_TIMEOUT")
_SURELY_MS: Final = 1_000.0


def check_numbers() -> None:
    """Check how long sending may take, and how often it happens.

    OpenTelemetry takes 0 and then sends nothing, or takes its default instead of `10s`. Where the
    specification has milliseconds, it has seconds; that is said, for it may be meant.

    Raises:
        OrchestratorError: one of the variables is no number above 0.
    """
    for variable in _NUMBERS:
        said = os.environ.get(variable, "").strip()
        if said and not _is_above_0(said):
            raise OrchestratorError(
                f"{variable}={redaction.text(said)} makes no sense. Type a number above 0, or leave"
                " the variable out"
            )
        if said and variable in _TIMEOUTS and float(said) >= _SURELY_MS:
            logger.warning(
                "%s=%s is in seconds for OpenTelemetry in Python, though in milliseconds for other"
                " languages: an endpoint that hangs would be waited for that long. Is %g meant?",
                variable,
                said,
                float(said) / 1_000,
            )


def _is_above_0(said: str) -> bool:
    try:
        return 0 < float(said) < math.inf
    except ValueError:
        return False


@contextmanager
def explained(part: str) -> Iterator[None]:
    """Say of what OpenTelemetry raises in the block which variable it is about.

    Args:
        part: of the names of the variables that are read there.

    Raises:
        OrchestratorError: instead of what was raised.
    """
    try:
        yield
    except (OrchestratorError, ImportError):
        raise
    except Exception as error:
        why = " ".join(str(error).split())
        raise OrchestratorError(
            f"{_blamed(part, why)} makes no sense ({redaction.text(why)}). Correct it, or leave it"
            " out"
        ) from error


def _blamed(part: str, why: str) -> str:
    said = {
        name: text
        for name, text in sorted(os.environ.items())
        # Headers hold keys, and nobody refuses them.
        if name.startswith("OTEL_") and part in name and not name.endswith("_HEADERS")
    }
    quoted = why.lower()
    named = [name for name, text in said.items() if name in why or repr(text).lower() in quoted]
    blamed = named or list(said)
    if len(blamed) != 1:
        return f"one of the variables {', '.join(blamed) or f'*{part}*'}"
    return f"{blamed[0]}={redaction.text(said[blamed[0]].rpartition('@')[2])}"

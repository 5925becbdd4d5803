"""The `OTEL_EXPORTER_OTLP_*` variables as the specification means them.

An empty one is as if it were not set, and `none` is a compression. OpenTelemetry's gRPC exporters
fail on both, or take an empty `..._INSECURE` for a no; its HTTP exporters send to an address with
the line break that it got from a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

PREFIX: Final = "OTEL_EXPORTER_OTLP"


def first_of(*variables: str) -> tuple[str, str]:
    """Return the first variable that is set, and its value; else the last, and nothing."""
    for variable in variables:
        if value := os.environ.get(variable, "").strip():
            return variable, value
    return variables[-1], ""


@contextmanager
def tidied() -> Iterator[None]:
    """Let what is called in the block find no empty variable, and no blanks around a value."""
    given = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    for name, value in given.items():
        if meant := value.strip():
            os.environ[name] = meant
        else:
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(given)


def grpc_compression(signal: str) -> dict[str, Any]:
    """Return what a gRPC exporter is to be told of compression, where it does not read that."""
    from grpc import Compression  # type: ignore[import-untyped]

    _, said = first_of(f"{PREFIX}_{signal.upper()}_COMPRESSION", f"{PREFIX}_COMPRESSION")
    return {"compression": Compression.NoCompression} if said.lower() == "none" else {}

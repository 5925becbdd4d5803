"""Which labels the runs of a file have, without decoding their spans, which is what takes long."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import DecodeError, Raw, Struct

from ..errors import RunFileError
from ..semconv import Attr
from .documents import begins
from .lines import BUFFERED, lines_of
from .otlp import resource_of

_NOTHING: Final = Raw(b"null")


class _Block(Struct, gc=False):
    resource: Raw = _NOTHING


class _Line(Struct, gc=False):
    resourceSpans: list[_Block] = []  # noqa: N815
    runFile: Raw = _NOTHING  # noqa: N815


_DECODER = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a file says of the labels of its runs.

    Attributes:
        labels: in the order in which they come.
        is_of_one_run: whether it is one run file: several may have been put together.
    """

    labels: tuple[str, ...]
    is_of_one_run: bool


def labels_in(path: Path) -> Labelled:
    """Read which labels the runs of a file have.

    Raises:
        RunFileError: it cannot be read.
    """
    resources: dict[bytes, None] = {}  # each once: every line has one
    beginnings = 0
    try:
        with path.open("rb", BUFFERED) as lines:
            for line in lines_of(lines):
                try:
                    found = _DECODER.decode(line)
                    header = json.loads(bytes(found.runFile))
                except (DecodeError, ValueError, RecursionError):  # reading it says what is wrong
                    continue
                beginnings += begins(header)
                resources.update((bytes(block.resource), None) for block in found.resourceSpans)
    except FileNotFoundError:  # it was removed just now: a run without a label
        return Labelled((), is_of_one_run=True)
    except OSError as error:
        raise RunFileError(f"{path} cannot be read: {error.strerror}") from error
    labels = dict.fromkeys(label for raw in resources if (label := _label(raw)) is not None)
    return Labelled(tuple(labels), beginnings == 1)


def _label(raw: bytes) -> str | None:
    try:
        resource = resource_of({"resourceSpans": [{"resource": json.loads(raw)}]})
    except (ValueError, RecursionError):
        return None
    label = resource.get(Attr.RUN_LABEL)
    return None if label is None else str(label)

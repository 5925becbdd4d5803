"""Follow a run file that is still being written."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunFileError
from ..model import GaugePoint, Span
from ..semconv import Attr
from .lines import told_in


@dataclass
class Following:
    """A run file, read on from where it was read to.

    Attributes:
        resource: of the program that writes it, once it is known.
    """

    path: Path
    resource: Mapping[str, Any] = field(default_factory=dict)
    _at: int = 0

    def read_on(self) -> tuple[list[Span], list[GaugePoint]]:
        """Return the spans and points of the lines that are new and whole.

        Raises:
            RunFileError: the file cannot be read any more.
        """
        spans: list[Span] = []
        points: list[GaugePoint] = []
        try:
            with self.path.open("rb") as lines:
                lines.seek(self._at)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._at += len(line)
                    self._take(line, spans, points)
        except OSError as error:
            raise RunFileError(f"{self.path} cannot be read: {error.strerror}") from error
        return spans, points

    def _take(self, line: bytes, spans: list[Span], points: list[GaugePoint]) -> None:
        if (told := told_in(line)) is not None:
            for _, block in told.blocks:
                spans.extend(block)
            points.extend(told.points)
            self.resource = self.resource or told.resource

    def writer_is_gone(self) -> bool:
        """Whether the program that wrote it was on this machine, and is not there any more."""
        pid = self.resource.get(Attr.PROCESS_PID)
        if not isinstance(pid, int) or self.resource.get(Attr.HOST_NAME) != socket.gethostname():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

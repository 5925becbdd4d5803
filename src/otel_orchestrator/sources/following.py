"""Follow a run file that is still being written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..alive import writer_of
from ..errors import RunFileError
from ..model import GaugePoint, Span
from .lines import lines_of, told_in


@dataclass
class Following:
    """A run file, read on from where it was read to."""

    path: Path
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
                for line in lines_of(lines):
                    if line and not line.endswith(b"\n"):
                        break
                    self._at = lines.tell()
                    if (told := told_in(line)) is not None:
                        for _, block in told.blocks:
                            spans.extend(block)
                        points.extend(told.points)
        except OSError as error:
            raise RunFileError(f"{self.path} cannot be read: {error.strerror}") from error
        return spans, points

    def gone_ns(self) -> int | None:
        """Return the last sign of life of the program that wrote it, if that was killed."""
        writer = writer_of(self.path)
        return None if writer is None or writer.is_alive else writer.seen_ns

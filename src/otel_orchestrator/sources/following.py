"""Follow a run file that is still being written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..alive import writer_of
from ..errors import RunFileError
from ..model import GaugePoint, Span
from ..semconv import Attr
from .documents import begins
from .found import name_one
from .lines import lines_of, told_in
from .otlp import Told


@dataclass
class Following:
    """A run file, read on from where it was read to.

    Attributes:
        path: of the file.
        run_id: the one run that is wanted of it; None where it holds one only.
    """

    path: Path
    run_id: str | None = None
    _at: int = 0
    _documents: int = 0
    _beginnings: int = 0
    _ids: dict[str, None] = field(default_factory=dict)

    def read_on(self) -> tuple[list[Span], list[GaugePoint]]:
        """Return the spans and points of the lines that are new and whole.

        Raises:
            RunFileError: the file cannot be read any more, holds no OTLP at all, or several runs.
        """
        spans: list[Span] = []
        points: list[GaugePoint] = []
        is_strange = False
        try:
            with self.path.open("rb") as lines:
                lines.seek(self._at)
                for line in lines_of(lines):
                    if line and not line.endswith(b"\n"):
                        is_strange = is_strange or not line.startswith(b"{")
                        break
                    self._at = lines.tell()
                    if (told := told_in(line)) is not None:
                        self._note(told)
                        for _, block in told.blocks:
                            spans.extend(block)
                        points.extend(told.points)
                    else:
                        is_strange = is_strange or not line or not line.isspace()
        except OSError as error:
            raise RunFileError(f"{self.path} cannot be read: {error.strerror}") from error
        if is_strange and not self._documents:
            raise RunFileError(f"{self.path} is not a run file: no line of it is OTLP JSON")
        if self.run_id is None:
            # One run file holds one run, whatever spans of others came into it.
            if self._beginnings != 1 and len(self._ids) > 1:
                raise name_one(list(self._ids), f"{self.path}#")
            return spans, points
        return (
            [s for s in spans if s.text(Attr.RUN_ID) == self.run_id],
            [p for p in points if p.attributes.get(Attr.RUN_ID) == self.run_id],
        )

    def _note(self, told: Told) -> None:
        self._documents += 1
        self._beginnings += begins(told.header)
        for _, block in told.blocks:
            ids = (span.text(Attr.RUN_ID) for span in block)
            self._ids.update((run_id, None) for run_id in ids if run_id is not None)

    def gone_ns(self) -> int | None:
        """Return the last sign of life of the program that wrote it, if that was killed."""
        writer = writer_of(self.path)
        return None if writer is None or writer.is_alive else writer.seen_ns

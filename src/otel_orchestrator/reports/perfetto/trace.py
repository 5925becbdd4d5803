"""Tracks as a trace of protocol buffers, by Perfetto's own library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...errors import MissingLibraryError
from ...model import Run, Value
from ..left_out import LONGEST
from .slices import Slice, Track, laid_out
from .tracks import Flow

if TYPE_CHECKING:
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder

_SEQUENCE: Final = 1
_BOOTTIME: Final = 6
_REALTIME: Final = 1


def encode(run: Run, root: Track, flows: Iterable[Flow]) -> bytes:
    """Return the trace of a run.

    Raises:
        MissingLibraryError: the library that writes it is missing.
    """
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos
        from perfetto.trace_builder.proto_builder import TraceProtoBuilder
    except ImportError as error:
        raise MissingLibraryError("Perfetto's library", "perfetto") from error
    origin_ns = min((s.start_ns for s in run.spans), default=0)
    writer = _Writer(TraceProtoBuilder(), protos, origin_ns, flows)
    writer.clock()
    writer.track(root, parent=0, rank=0)
    trace: bytes = writer.builder.serialize()
    return trace


class _Writer:
    """Writes packets; instants count from the first span, and a clock says when that was."""

    def __init__(
        self, builder: TraceProtoBuilder, protos: Any, origin_ns: int, flows: Iterable[Flow]
    ) -> None:
        self.builder = builder
        self._event = protos.TrackEvent
        self._explicit = protos.TrackDescriptor.EXPLICIT
        self._origin_ns = origin_ns
        self._tracks = 0
        self._flows: dict[str, list[int]] = {}
        for number, flow in enumerate(flows, 1):
            self._flows.setdefault(flow.source, []).append(number)
            self._flows.setdefault(flow.target, []).append(number)

    def clock(self) -> None:
        packet = self.builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        for clock, at_ns in ((_BOOTTIME, 0), (_REALTIME, self._origin_ns)):
            packet.clock_snapshot.clocks.add(clock_id=clock, timestamp=at_ns)

    def track(self, track: Track, parent: int, rank: int) -> None:
        lanes = laid_out(track.slices) or [[]]
        top = self._describe(track, track.name, parent, rank)
        self._slices(lanes[0], top)
        self._steps(track.steps, top)
        for number, below in enumerate(track.tracks):
            self.track(below, top, number)
        for number, lane in enumerate(lanes[1:], 2):
            name = f"{track.name}, at the same time ({number})"
            self._slices(lane, self._describe(track, name, top, number))

    def _describe(self, track: Track, name: str, parent: int, rank: int) -> int:
        self._tracks += 1
        packet = self.builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        described = packet.track_descriptor
        described.uuid = self._tracks
        if parent:
            described.parent_uuid = parent
        described.name = _readable(name)
        described.child_ordering = self._explicit
        described.sibling_order_rank = rank
        if track.unit:
            described.counter.unit_name = track.unit
        return self._tracks

    def _slices(self, slices: Sequence[Slice], track: int) -> None:
        """Write slices with what is inside of them, in order of time: no recursion."""
        stack: list[Iterator[Slice] | Slice] = [iter(slices)]
        while stack:
            top = stack[-1]
            if isinstance(top, Slice):
                self._add(top.end_ns, track, self._event.TYPE_SLICE_END)
                stack.pop()
                continue
            piece = next(top, None)
            if piece is None:
                stack.pop()
                continue
            self._begin(piece, track)
            stack += [piece, iter(piece.inside)]

    def _begin(self, piece: Slice, track: int) -> None:
        event = self._add(piece.start_ns, track, self._event.TYPE_SLICE_BEGIN)
        event.name = _readable(piece.name)
        event.categories.extend(map(_readable, piece.categories))
        event.flow_ids.extend(self._flows.get(piece.key, ()) if piece.key else ())
        for key, value in piece.facts.items():
            _annotate(event.debug_annotations.add(name=_readable(key)), value)

    def _steps(self, steps: Sequence[tuple[int, int]], track: int) -> None:
        for at_ns, value in steps:
            self._add(at_ns, track, self._event.TYPE_COUNTER).counter_value = value

    def _add(self, at_ns: int, track: int, kind: int) -> Any:
        packet = self.builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.timestamp = max(0, at_ns - self._origin_ns)
        packet.track_event.type = kind
        packet.track_event.track_uuid = track
        return packet.track_event


def _annotate(annotation: Any, value: Value) -> None:
    if isinstance(value, bool):
        annotation.bool_value = value
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        annotation.int_value = value
    elif isinstance(value, float):
        annotation.double_value = value
    else:
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        annotation.string_value = _readable(text)


def _readable(text: str) -> str:
    # A half of a surrogate pair is no character.
    return text[:LONGEST].encode("utf-8", "replace").decode("utf-8")

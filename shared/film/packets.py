"""The packets of a film on one time line (shared.film.joins), as far as the file is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

import av
from av.container import InputContainer
from av.format import Flags

from shared.film import joins
from shared.film.opening import UNTIMED_FPS, rate, start_s

TIMED = ("video", "audio")


StreamT = TypeVar("StreamT", av.VideoStream, av.AudioStream)


class Packets(Generic[StreamT]):
    """Iterates over the packets of one stream; those of others are read along, for all have one time line."""

    def __init__(
        self,
        container: InputContainer,
        stream: StreamT,
        on_damage: Callable[[], None] = lambda: None,
        line: joins.TimeLine | None = None,
    ) -> None:
        """line: where the film stands, where it was sought in"""
        self._container, self._on_damage = container, on_damage
        self._stream: StreamT = stream
        self.untimed = bool(Flags(container.format.flags) & Flags.no_timestamps)
        """FFmpeg numbers the packets of some raw formats, with a rate that it makes up."""
        self.line = line or joins.TimeLine()

    def __iter__(self) -> Iterator[av.Packet[StreamT]]:
        """Packets with stamps on the time line, which begins at 0, as far as the file has whole ones."""
        for packet in self._all():
            self._place(packet)
            if packet.stream.index == self._stream.index:
                yield cast("av.Packet[StreamT]", packet)

    def _place(self, packet: av.Packet[Any]) -> None:
        base = float(packet.time_base or 0)
        if not base or self.untimed:
            packet.pts = packet.dts = None
            return
        if packet.size and packet.stream.type in TIMED:
            self.line = self._after(packet, base)
        shift = round((self.line.offset_s - start_s(self._container)) / base)
        packet.dts = None if packet.dts is None else packet.dts + shift
        packet.pts = None if packet.pts is None else packet.pts + shift

    def _after(self, packet: av.Packet[Any], base: float) -> joins.TimeLine:
        number, length_s = packet.stream.index, (packet.duration or 0) * base
        if not length_s and isinstance(packet.stream, av.VideoStream):
            length_s = 1 / (rate(packet.stream) or UNTIMED_FPS)
        if packet.dts is None:
            return joins.unstamped(self.line, number, length_s)
        stamp_s = packet.dts * base - start_s(self._container)
        return joins.step(self.line, number, stamp_s, length_s, begins=packet.is_keyframe)

    def _all(self) -> Iterator[av.Packet[Any]]:
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:  # the file ends in the middle of a packet
                self._on_damage()
                return
            except IndexError:  # PyAV on a damaged transport stream, where a stream turns up that was not announced
                self._on_damage()
                packets = self._container.demux()
                continue
            yield packet

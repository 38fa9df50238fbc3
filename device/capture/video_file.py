"""A video file taken apart: pictures and 16 kHz mono sound, each one item ahead, each with its own demuxer.

Two demuxers on one file, so that slow pictures never hold the sound up; what opens it, and places its stamps on one
time line, is shared.film. Damage is skipped and counted; times never go back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from device.capture.source import BLOCK_SAMPLES, SoundBlock
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.film import opening, order
from shared.film.joins import JUMP_S
from shared.film.mono import Mono
from shared.film.packets import Packets
from shared.film.picture import Developer

HOLE_S = 0.1  # sound stamps of phones wander by some 20 ms; a real hole is a pause in the recording


class Pictures:
    """The video stream of a file, one decoded picture ahead."""

    def __init__(
        self, container: InputContainer, stream: av.VideoStream, *, max_side_px: int, untimed_fps: float
    ) -> None:
        self._container, self._stream = container, stream
        self._developer = Developer(stream.sample_aspect_ratio, max_side_px=max_side_px)
        self._developed: tuple[av.VideoFrame, NDArray[np.uint8]] | None = None
        self.duration_s = opening.length_s(container)
        self.damaged = 0
        self._shift_s = 0.0
        self._packets = Packets(container, stream, self._on_damage)
        self._frames = self._decode()
        self.head: av.VideoFrame | None = None
        self.head_t_s: float | None = None
        self._last_t_s: float | None = None
        self._shown: order.PlacedPicture | None = None
        self.fps = opening.rate(stream)
        self.untimed = self._packets.untimed
        if self.untimed:
            self.fps = untimed_fps or self.fps or opening.UNTIMED_FPS
        self._advance()

    @classmethod
    def find(cls, path: Path, *, max_side_px: int, untimed_fps: float = 0.0) -> Pictures | None:
        """The pictures that are meant to be seen.

        untimed_fps: pictures a second of a film that has no times in it; 0 = what its header says
        raises: MediaError when the file cannot be opened
        """
        container = opening.open_film(path)
        stream = opening.pictures_of(container)
        if stream is not None:
            stream.thread_type = "AUTO"
            return cls(container, stream, max_side_px=max_side_px, untimed_fps=untimed_fps)
        container.close()
        return None

    @property
    def joins(self) -> int:
        """How often the stamps began again or jumped, so far."""
        return self._packets.line.joins

    def picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """A frame of it as a person would see it, uint8 [h, w, 3] RGB. The last one is kept: the first is asked for
        twice, for its size and to be looked at."""
        if self._developed is None or self._developed[0] is not frame:
            self._developed = frame, self._developer.picture(frame)
        return self._developed[1]

    def take(self) -> av.VideoFrame:
        frame = self.head
        assert frame is not None
        self._advance()
        return frame

    def jump(self, late_s: float) -> int:
        """Go on at the first key frame that is not late. Returns about how many pictures that skips; 0 = none found."""
        if self.joins:
            return 0  # the same stamps may be there twice
        before_s, line = self._last_t_s or 0.0, self._packets.line
        stamp_s = before_s + late_s - line.offset_s + opening.start_s(self._container)
        target = round(stamp_s / float(self._stream.time_base or 1))
        if not any(entry.is_keyframe and entry.timestamp >= target for entry in self._stream.index_entries):
            return 0  # none, or a file without an index: go on decoding
        try:
            self._container.seek(target, stream=self._stream, backward=False)
        except av.FFmpegError:
            return 0
        self._packets = Packets(self._container, self._stream, self._on_damage, replace(line, ends_s={}))
        self._frames = self._decode()
        self._last_t_s, self._shown = before_s + late_s, None
        self._advance()
        return max(1, round((self._last_t_s - before_s) * (self.fps or 1)))

    def close(self) -> None:
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets:
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from frames

    def _advance(self) -> None:
        """Decode until there is a picture that is sound and does not go back in time."""
        last_s = self._last_t_s
        for frame in self._frames:
            next_s = 0.0 if last_s is None else last_s + 1 / (self.fps or opening.UNTIMED_FPS)
            t_s = next_s if frame.pts is None else self._ordered(frame) + self._shift_s
            if t_s < next_s - JUMP_S or t_s > max(next_s, self._packets.line.end_s) + JUMP_S:  # between key frames
                self.damaged += 1
                self._shift_s += next_s - t_s
                t_s = next_s
            if frame.is_corrupt or (last_s is not None and t_s < last_s - 1e-6):
                self.damaged += 1
                continue
            self.head, self.head_t_s = frame, max(0.0, t_s)
            self._last_t_s = self.head_t_s
            return
        self.head = self.head_t_s = None

    def _ordered(self, frame: av.VideoFrame) -> float:
        picture_s = 1 / (self.fps or opening.UNTIMED_FPS)
        decoded_s, end_s = order.seconds(frame.dts, frame.time_base), self._packets.line.end_s
        self._shown = order.after(self._shown, frame.time, decoded_s, picture_s=picture_s, end_s=end_s)
        return self._shown.at_s

    def _on_damage(self) -> None:
        self.damaged += 1


class Sound:
    """The sound track of a file as blocks of 16 kHz mono, one block ahead."""

    def __init__(self, container: InputContainer, stream: av.AudioStream) -> None:
        self._container = container
        self.duration_s = opening.length_s(container)
        self.damaged = 0
        self._packets = Packets(container, stream, self._on_damage)
        self._mono = Mono()
        self._at_s: float | None = None
        self._rest = np.empty(0, np.int16)
        self._blocks = self._decode()
        self.head: SoundBlock | None = next(self._blocks, None)

    @classmethod
    def find(cls, path: Path) -> Sound | None:
        """The sound track that is meant to be heard. Raises: MediaError when the file cannot be opened."""
        container = opening.open_film(path)
        stream = opening.sound_of(container)
        if stream is not None:
            return cls(container, stream)
        container.close()
        return None

    @property
    def head_t_s(self) -> float | None:
        return self.head.t_s if self.head is not None else None

    def take(self) -> SoundBlock:
        block = self.head
        assert block is not None
        self.head = next(self._blocks, None)
        return block

    def extend(self, block: SoundBlock, until_s: float) -> SoundBlock:
        """The block with all that follows it without a hole and begins before `until_s`."""
        parts, end_s = [block.samples], _end_s(block)
        while self.head is not None and self.head.t_s < until_s and abs(self.head.t_s - end_s) < 1e-6:
            end_s = _end_s(self.head)
            parts.append(self.take().samples)
        return SoundBlock(np.concatenate(parts), block.t_s)

    def close(self) -> None:
        self._container.close()

    def _decode(self) -> Iterator[SoundBlock]:
        for packet in self._packets:
            try:
                for frame in packet.decode():
                    yield from self._heard(frame)
            except (av.FFmpegError, ValueError):  # ValueError: the track changes its format on the way
                self.damaged += 1
                self._mono.again()
        yield from self._cut(self._mono.take(None), everything=True)

    def _heard(self, frame: av.AudioFrame) -> Iterator[SoundBlock]:
        stamp_s = None if frame.pts is None else frame.time
        heard_s = (self._at_s or 0.0) + len(self._rest) / SAMPLE_RATE_HZ
        if stamp_s is not None and (self._at_s is None or abs(stamp_s - heard_s) > HOLE_S):
            yield from self._cut(self._mono.take(None), everything=True)
            self._mono.again()
            self._at_s = max(stamp_s, self._at_s or 0.0) if self._at_s is not None else stamp_s
        yield from self._cut(self._mono.take(frame))

    def _cut(self, samples: NDArray[np.int16], *, everything: bool = False) -> Iterator[SoundBlock]:
        """Whole blocks of what is there; with everything, the rest too. Sound before 0 is left out."""
        self._rest = np.concatenate([self._rest, samples])
        at_s = self._at_s or 0.0
        if at_s < 0:
            early = min(len(self._rest), round(-at_s * SAMPLE_RATE_HZ))
            self._rest, at_s = self._rest[early:], at_s + early / SAMPLE_RATE_HZ
        while len(self._rest) >= BLOCK_SAMPLES or (everything and len(self._rest)):
            block = SoundBlock(self._rest[:BLOCK_SAMPLES], max(0.0, at_s))
            self._rest = self._rest[BLOCK_SAMPLES:]
            at_s = _end_s(block)
            yield block
        self._at_s = at_s

    def _on_damage(self) -> None:
        self.damaged += 1


def _end_s(block: SoundBlock) -> float:
    return block.t_s + len(block.samples) / SAMPLE_RATE_HZ

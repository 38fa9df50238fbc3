"""A video file taken apart: pictures and 16 kHz mono sound, each one item ahead, each with its own demuxer.

Two demuxers on one file, so that slow pictures never hold the sound up. Damage is skipped and counted; times never go
back, and a jump of more than JUMP_S either way is taken out. A file that is empty, cut off before its index was
written, a still picture, a text or missing is a MediaError that says which and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from device.capture.source import BLOCK_SAMPLES, SoundBlock
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import MediaError
from shared.paths import for_ffmpeg

HOLE_S = 0.1  # sound stamps of phones wander by some 20 ms; a real hole is a pause in the recording
JUMP_S = 60.0  # damaged stamps jump by hours; nobody would wait them out
COPY_HINT = "Copy it again from where it was recorded, or try another file."

StreamT = TypeVar("StreamT", av.VideoStream, av.AudioStream)


class Pictures:
    """The video stream of a file, one decoded picture ahead."""

    def __init__(self, container: InputContainer, stream: av.VideoStream) -> None:
        self._container = container
        self._stream = stream
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self.duration_s = _duration_s(container)
        self.damaged = 0
        self._start_s = _start_s(container)
        self._frames = self._decode()
        self.head: av.VideoFrame | None = None
        self.head_t_s: float | None = None
        self._last_t_s = 0.0
        self._advance()

    @classmethod
    def find(cls, path: Path) -> Pictures | None:
        """The first video stream that is no cover art. Raises: MediaError when the file cannot be opened."""
        container = open_file(path)
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                stream.thread_type = "AUTO"
                return cls(container, stream)
        container.close()
        return None

    def take(self) -> av.VideoFrame:
        frame = self.head
        assert frame is not None
        self._advance()
        return frame

    def jump(self, late_s: float) -> int:
        """Go on at the first key frame that is not late. Returns about how many pictures that skips; 0 = none found."""
        before_s = self._last_t_s
        target = round((before_s + late_s + self._start_s) / float(self._stream.time_base or 1))
        if not any(entry.is_keyframe and entry.timestamp >= target for entry in self._stream.index_entries):
            return 0  # none, or a file without an index: go on decoding
        try:
            self._container.seek(target, stream=self._stream, backward=False)
        except av.FFmpegError:
            return 0
        self._frames = self._decode()
        self._last_t_s = before_s + late_s
        self._advance()
        return max(1, round((self._last_t_s - before_s) * (self.fps or 1)))

    def close(self) -> None:
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in _packets(self._container, self._stream, self._on_damage):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from frames

    def _advance(self) -> None:
        """Decode until there is a picture that is sound and does not go back in time."""
        for frame in self._frames:
            next_s = self._last_t_s + 1 / (self.fps or 25)
            t_s = frame.time - self._start_s if frame.pts is not None else next_s
            if abs(t_s - self._last_t_s) > JUMP_S:
                self.damaged += 1
                self._start_s += t_s - next_s
                t_s = next_s
            if frame.is_corrupt or t_s < self._last_t_s - 1e-6:
                self.damaged += 1
                continue
            self.head, self.head_t_s = frame, max(0.0, t_s)
            self._last_t_s = self.head_t_s
            return
        self.head = self.head_t_s = None

    def _on_damage(self) -> None:
        self.damaged += 1


class Sound:
    """The sound track of a file as blocks of 16 kHz mono, one block ahead."""

    def __init__(self, container: InputContainer, stream: av.AudioStream) -> None:
        self._container = container
        self._stream = stream
        self.duration_s = _duration_s(container)
        self.damaged = 0
        self._start_s = _start_s(container)
        self._resampler = _resampler()
        self._at_s: float | None = None
        self._rest = np.empty(0, np.int16)
        self._blocks = self._decode()
        self.head: SoundBlock | None = next(self._blocks, None)

    @classmethod
    def find(cls, path: Path) -> Sound | None:
        """The first sound track. Raises: MediaError when the file cannot be opened."""
        container = open_file(path)
        if container.streams.audio:
            return cls(container, container.streams.audio[0])
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
        for packet in _packets(self._container, self._stream, self._on_damage):
            try:
                for frame in packet.decode():
                    yield from self._resample(frame)
            except (av.FFmpegError, ValueError):  # ValueError: the track changes its format on the way
                self.damaged += 1
                self._resampler = _resampler()
        yield from self._cut(self._samples(None), everything=True)

    def _resample(self, frame: av.AudioFrame) -> Iterator[SoundBlock]:
        stamp_s = None if frame.time is None else frame.time - self._start_s
        heard_s = (self._at_s or 0.0) + len(self._rest) / SAMPLE_RATE_HZ
        if stamp_s is not None and abs(stamp_s - heard_s) > JUMP_S:
            self.damaged += 1
            self._start_s += stamp_s - heard_s
            stamp_s = heard_s
        if stamp_s is not None and (self._at_s is None or abs(stamp_s - heard_s) > HOLE_S):
            yield from self._cut(self._samples(None), everything=True)
            self._resampler = _resampler()
            self._at_s = max(stamp_s, self._at_s or 0.0) if self._at_s is not None else stamp_s
        yield from self._cut(self._samples(frame))

    def _samples(self, frame: av.AudioFrame | None) -> NDArray[np.int16]:
        parts = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate(parts).astype(np.int16) if parts else np.empty(0, np.int16)

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


def check_file(path: Path) -> None:
    """Raises: MediaError for what is no file, or an empty one."""
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a video.", hint="Name one video file in it.")
    try:
        size = path.stat().st_size
    except OSError as error:
        hint = "Check the path and who may read it."
        raise MediaError(f"{path} cannot be read ({error.strerror}).", hint=hint) from None
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes): nothing was recorded.", hint=COPY_HINT)


def open_file(path: Path) -> InputContainer:
    """Raises: MediaError for what is no video or sound."""
    try:
        # Only local files: a playlist among the recordings must not make the device open network addresses.
        with for_ffmpeg(path) as name:
            container = av.open(name, options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path} is not a video that can be played ({reason}). Either it is something else, or the recording was"
            " cut off before its index was written.",
            hint=COPY_HINT,
        ) from None
    if _is_no_film(container.format.name):
        name = container.format.name
        container.close()
        raise MediaError(f"{path} is a picture or a text ({name}), not a video.", hint="Name a video file.")
    return container


def _is_no_film(name: str) -> bool:
    """FFmpeg plays text files as terminal art, and stills as films of one picture."""
    return name in ("tty", "image2", "lrc", "srt") or name.endswith("_pipe")


def _packets(container: InputContainer, stream: StreamT, on_damage: Callable[[], None]) -> Iterator[av.Packet[StreamT]]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # the file ends in the middle of a packet
            on_damage()
            return
        except IndexError:  # PyAV on a damaged transport stream, where a stream turns up that was not announced
            on_damage()
            packets = container.demux(stream)
            continue
        yield packet


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _start_s(container: InputContainer) -> float:
    return (container.start_time or 0) / av.time_base


def _duration_s(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None


def _end_s(block: SoundBlock) -> float:
    return block.t_s + len(block.samples) / SAMPLE_RATE_HZ

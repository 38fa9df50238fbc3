"""A recorded video as 2 s chunks, each with the picture that a player shows at its middle, and its sound.

Every chunk is read on its own by seeking, so that a person may go back and forth. A file that can not be sought in is
decoded once from its beginning to its end; whoever goes back in it begins anew. Pictures are turned upright by the
display matrix, sound becomes 16 kHz mono; a video without sound gives silence. A chunk's files are the bytes that a
device's recorder makes of the same picture and sound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from shared.chunk_format import CHUNK_S, SAMPLE_RATE_HZ, SHORTEST_CHUNK_S
from shared.errors import MediaError
from shared.film import opening, order
from shared.film.joins import JUMP_S
from shared.film.mono import Mono
from shared.film.packets import Packets
from shared.film.picture import Developer
from shared.jpeg import MAX_FILM_SIDE_PX, MAX_SIDE_PX, encode_jpeg
from shared.wav import encode_wav

_WARM_UP_S = 0.3  # a lossy codec needs a few packets before its sound is right
_HOLE_S = 0.1
_FRAMES_KEPT = 400  # of sound: some seconds, 3 MB
_SEEK_EARLIER_S = (10.0, 60.0)  # a transport stream is entered at any packet: go back until a key frame comes first
_INDEXED = ("mov", "mp4", "matroska")
"""Containers whose header says the length, and whose stamps their writers keep in order."""

FrameT = TypeVar("FrameT", av.VideoFrame, av.AudioFrame)


@dataclass(frozen=True, slots=True)
class Footage:
    """A video that can be played."""

    path: Path
    duration_s: float
    fps: float
    has_sound: bool
    pixel: Fraction | None = None
    """Width / height of one of its pixels; None = square."""
    untimed: bool = False
    """It has no times in it: those that it is given follow from `fps`."""
    joins: int = 0
    """How often its stamps begin again or jump; what follows is taken as if it came right after."""

    @property
    def sought(self) -> bool:
        """Whether a time can be sought in it, instead of decoding from the beginning."""
        return not self.untimed and not self.joins

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it before they look."""
        untimed = (opening.untimed(self.path, self.fps, told=False),) if self.untimed else ()
        return (*untimed, *((f"{self.path}: at {self.joins} places {opening.JOINED}",) if self.joins else ()))

    @property
    def chunks(self) -> int:
        """How many chunks it has; a rest shorter than SHORTEST_CHUNK_S is left out."""
        whole, rest = divmod(self.duration_s, CHUNK_S)
        return int(whole) + (rest >= SHORTEST_CHUNK_S)

    def span(self, number: int) -> tuple[float, float]:
        """Begin and end of a chunk in seconds."""
        return number * CHUNK_S, min((number + 1) * CHUNK_S, self.duration_s)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as files."""

    jpeg: bytes
    wav: bytes


def find(path: Path, *, untimed_fps: float = 0.0) -> Footage:
    """What is in a file.

    untimed_fps: pictures a second of a film that has no times in it; 0 = what its header says
    raises: MediaError saying what it is instead of a video, and what to do
    """
    opening.check_file(path)
    with opening.open_film(path) as container:
        stream = opening.pictures_of(container)
        if stream is None:
            kind = "sound but no picture" if container.streams.audio else "no picture"
            raise MediaError(f"{path} has {kind}.", hint="Name a video: guidance is about what is seen.")
        has_sound, fps, pixel = bool(container.streams.audio), opening.rate(stream), stream.sample_aspect_ratio
        length_s, packets = opening.length_s(container), Packets(container, stream)
        if packets.untimed:
            fps = untimed_fps or fps or opening.UNTIMED_FPS
            length_s = sum(bool(packet.size) for packet in packets) / fps
        elif length_s is None or not _is_trusted(container, stream):
            for _ in packets:  # places all stamps
                pass
            length_s = packets.line.end_s
    if next(_decode(Footage(path, 0.0, fps, has_sound), av.VideoFrame, seek_s=None), None) is None:
        raise MediaError(f"No picture of {path} can be decoded.", hint=opening.COPY_HINT)
    return Footage(path, max(length_s, SHORTEST_CHUNK_S), fps, has_sound, pixel, packets.untimed, packets.line.joins)


def _is_trusted(container: InputContainer, stream: av.VideoStream) -> bool:
    """Whether its header's length counts: not where its index has a hole, which may be the jump of a clock."""
    if not any(name in container.format.name for name in _INDEXED):
        return False
    base_s, end_s = float(stream.time_base or 0), opening.start_s(container) + (opening.length_s(container) or 0.0)
    times_s = [entry.timestamp * base_s for entry in stream.index_entries]
    return all(after_s - before_s <= JUMP_S for before_s, after_s in pairwise([*times_s, end_s]))


def read(footage: Footage, number: int) -> Chunk | None:
    """One chunk, as `Reel.read` gives it."""
    with closing(Reel(footage)) as reel:
        return reel.read(number)


class Reel:
    """The chunks of a film, one after the other. `close` it."""

    def __init__(self, footage: Footage) -> None:
        self.footage = footage
        self._pictures = _Tape(footage, av.VideoFrame, most_kept=2)
        self._sound = _Tape(footage, av.AudioFrame, most_kept=_FRAMES_KEPT)

    def read(self, number: int) -> Chunk | None:
        """One chunk; None where the film holds no picture there (its end is cut off or damaged). Raises: MediaError."""
        footage = self.footage
        start_s, end_s = footage.span(number)
        frame = _frame_at(self._pictures.frames, (start_s + end_s) / 2, not_before_s=start_s)
        if frame is None:
            return None
        samples = np.zeros(round((end_s - start_s) * SAMPLE_RATE_HZ), np.int16)
        if footage.has_sound:
            _fill_sound(self._sound.frames, samples, start_s=start_s)
        picture = Developer(footage.pixel, max_side_px=MAX_FILM_SIDE_PX).picture(frame)
        return Chunk(encode_jpeg(picture), encode_wav(samples))

    def close(self) -> None:
        self._pictures.close()
        self._sound.close()


class _Tape(Generic[FrameT]):
    """One stream of a film. Where that can not be sought in, its decoder stays open and the last frames are kept: the
    next chunk goes on from there."""

    def __init__(self, footage: Footage, kind: type[FrameT], *, most_kept: int) -> None:
        self._footage = footage
        self._kind: type[FrameT] = kind
        self._decoder: Iterator[tuple[float, FrameT]] | None = None
        self._kept: deque[tuple[float, FrameT]] = deque(maxlen=most_kept)

    def frames(self, from_s: float) -> Iterator[tuple[float, FrameT]]:
        """As `_frames`. One caller at a time."""
        if self._footage.sought:
            yield from _frames(self._footage, self._kind, from_s=from_s)
            return
        if self._decoder is None or not self._reaches_back(from_s):
            self.close()
            self._decoder = _decode(self._footage, self._kind, seek_s=None)
        yield from tuple(self._kept)
        for pair in self._decoder:
            self._kept.append(pair)
            yield pair

    def _reaches_back(self, from_s: float) -> bool:
        """Whether what is kept begins at or before that, or holds all that was decoded."""
        return len(self._kept) < (self._kept.maxlen or 0) or self._kept[0][0] <= from_s

    def close(self) -> None:
        decoder, self._decoder = self._decoder, None
        self._kept.clear()
        if isinstance(decoder, Generator):
            decoder.close()


def play(footage: Footage, *, every_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The film from its beginning: (time, picture [h, w, 3] RGB), at least `every_s` apart. Raises: MediaError."""
    due_s, developer = 0.0, Developer(footage.pixel, max_side_px=MAX_SIDE_PX)
    for t_s, frame in _frames(footage, av.VideoFrame, from_s=0.0):
        if t_s >= due_s - 1e-6:
            due_s = (int(t_s / every_s + 1e-6) + 1) * every_s
            yield t_s, developer.picture(frame)


def picture_at(footage: Footage, at_s: float) -> NDArray[np.uint8] | None:
    """What a player shows at a time, [h, w, 3] RGB; None where the film has ended. Raises: MediaError."""
    frame = _frame_at(_Tape(footage, av.VideoFrame, most_kept=2).frames, at_s, not_before_s=at_s - CHUNK_S / 2)
    return None if frame is None else Developer(footage.pixel, max_side_px=MAX_SIDE_PX).picture(frame)


def _frame_at(
    frames: Callable[[float], Iterator[tuple[float, av.VideoFrame]]], at_s: float, *, not_before_s: float
) -> av.VideoFrame | None:
    """What a player shows at `at_s`: the last picture until then, else the first one after it. frames: as `_frames`"""
    shown: av.VideoFrame | None = None
    shown_s = -1.0
    for t_s, frame in frames(at_s):
        if t_s > at_s and shown is not None:
            return shown
        shown, shown_s = frame, t_s
        if t_s > at_s:
            break
    # After the last picture there is none: a sound track may go on for minutes, but the film has ended.
    return shown if shown is not None and not_before_s <= shown_s < not_before_s + CHUNK_S else None


def _fill_sound(
    frames: Callable[[float], Iterator[tuple[float, av.AudioFrame]]], samples: NDArray[np.int16], *, start_s: float
) -> None:
    """Put the sound of [start_s, ...) into `samples`; what the file does not have stays silent. frames: as `_frames`"""
    end_s = start_s + len(samples) / SAMPLE_RATE_HZ
    mono, at = Mono(), -1
    begun = False
    for t_s, frame in frames(start_s - _WARM_UP_S):
        stamp = round((t_s - start_s) * SAMPLE_RATE_HZ)
        if not begun or abs(stamp - at) > _HOLE_S * SAMPLE_RATE_HZ:
            mono.again()
            begun, at = True, stamp
        try:
            at = _put(samples, mono.take(frame), at=at)
        except (ValueError, av.FFmpegError):  # the track changes its format on the way
            mono.again()
            begun = False
        if t_s > end_s + _HOLE_S:
            return
    _put(samples, mono.take(None), at=at)


def _put(samples: NDArray[np.int16], new: NDArray[np.int16], *, at: int) -> int:
    first, last = max(at, 0), min(at + len(new), len(samples))
    if first < last:
        samples[first:last] = new[first - at : last - at]
    return at + len(new)


def _frames(footage: Footage, kind: type[FrameT], *, from_s: float) -> Iterator[tuple[float, FrameT]]:
    """Decoded frames with their times, beginning at or before `from_s` where there are such. Raises: MediaError."""
    if not footage.sought:
        yield from _decode(footage, kind, seek_s=None)
        return
    for earlier_s in (0.0, *_SEEK_EARLIER_S):
        seek_s = from_s - earlier_s
        sought = _decode(footage, kind, seek_s=seek_s if seek_s > 0 else None)
        first = next(sought, None)
        if seek_s <= 0 or (first is not None and first[0] <= from_s):
            break
    else:
        if first is None:  # the file was cut off long before: decoding all of it would find nothing either
            return
        sought, first = _decode(footage, kind, seek_s=None), None  # times that can not be sought by
    if first is not None:
        yield first
    yield from sought


def _decode(footage: Footage, kind: type[FrameT], *, seek_s: float | None) -> Iterator[tuple[float, FrameT]]:
    with opening.open_film(footage.path) as container:
        wanted: type = kind
        stream = opening.pictures_of(container) if wanted is av.VideoFrame else opening.sound_of(container)
        if stream is None:
            return
        if seek_s is not None:
            try:
                stamp_s = seek_s + opening.start_s(container)
                container.seek(round(stamp_s / float(stream.time_base or 1)), stream=stream)
            except av.FFmpegError:  # a format that can not be sought in
                yield from _decode(footage, kind, seek_s=None)
                return
        yield from _timed(
            Packets(container, stream), 1 / (footage.fps or opening.UNTIMED_FPS), sought=seek_s is not None
        )


def _timed(packets: Packets[Any], picture_s: float, *, sought: bool) -> Iterator[tuple[float, Any]]:
    """Frames with their times; one without follows the one before. sought: what comes first may be anywhere"""
    last_s: float | None = None if sought else -picture_s
    shown: order.PlacedPicture | None = None
    for packet in packets:
        for frame in _whole_frames(packet):
            if isinstance(frame, av.VideoFrame) and frame.pts is not None:
                decoded_s, end_s = order.seconds(frame.dts, frame.time_base), packets.line.end_s
                shown = order.after(shown, frame.time, decoded_s, picture_s=picture_s, end_s=end_s)
                last_s = shown.at_s
            elif frame.pts is not None:
                last_s = frame.time
            elif last_s is not None:
                last_s += picture_s
            if last_s is not None:
                yield last_s, frame


def _whole_frames(packet: av.Packet[Any]) -> list[Any]:
    """The frames of a packet that are not corrupt; none where it is damaged."""
    try:
        frames: Any = packet.decode()
    except av.FFmpegError:  # the next packets may be whole
        return []
    return [frame for frame in frames if not frame.is_corrupt]

"""A recorded video as 2 s chunks, each with the picture that a player shows at its middle, and its sound.

Every chunk is read on its own by seeking, so that a person may go back and forth; where a file can not be sought in, it
is decoded from its beginning. Pictures are turned upright by the display matrix, sound becomes 16 kHz mono; a video
without sound gives silence. A chunk's files are the bytes that a device's recorder makes of the same picture and sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from shared import upright
from shared.chunk_format import CHUNK_S, SAMPLE_RATE_HZ, SHORTEST_CHUNK_S
from shared.errors import MediaError
from shared.jpeg import MAX_FILM_SIDE_PX, MAX_SIDE_PX, encode_jpeg
from shared.paths import for_ffmpeg
from shared.wav import encode_wav

_WARM_UP_S = 0.3  # a lossy codec needs a few packets before its sound is right
_HOLE_S = 0.1
_SEEK_EARLIER_S = (10.0, 60.0)  # a transport stream is entered at any packet: go back until a key frame comes first
_COPY_AGAIN = "Copy it again from where it was recorded, or try another file."
_NO_FILM = ("tty", "image2", "lrc", "srt")  # FFmpeg plays text as terminal art, and stills as films

FrameT = TypeVar("FrameT", av.VideoFrame, av.AudioFrame)


@dataclass(frozen=True, slots=True)
class Footage:
    """A video that can be played."""

    path: Path
    duration_s: float
    fps: float
    has_sound: bool

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


def find(path: Path) -> Footage:
    """What is in a file. Raises: MediaError saying what it is instead of a video, and what to do."""
    _check_file(path)
    with _opened(path) as container:
        stream = _pictures(container)
        if stream is None:
            kind = "sound but no picture" if container.streams.audio else "no picture"
            raise MediaError(f"{path} has {kind}.", hint="Name a video: guidance is about what is seen.")
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        has_sound = bool(container.streams.audio)
        length_s = container.duration / av.time_base if container.duration else _last_time_s(container, stream)
    if next(_frames(path, av.VideoFrame, from_s=0.0), None) is None:
        raise MediaError(f"No picture of {path} can be decoded.", hint=_COPY_AGAIN)
    return Footage(path, max(length_s, SHORTEST_CHUNK_S), fps, has_sound)


def read(footage: Footage, number: int) -> Chunk | None:
    """One chunk; None where the video holds no picture there (its end is cut off or damaged). Raises: MediaError."""
    start_s, end_s = footage.span(number)
    frame = _frame_at(footage.path, (start_s + end_s) / 2, not_before_s=start_s)
    if frame is None:
        return None
    samples = np.zeros(round((end_s - start_s) * SAMPLE_RATE_HZ), np.int16)
    if footage.has_sound:
        _fill_sound(footage.path, samples, start_s=start_s)
    return Chunk(encode_jpeg(_image(frame, max_side_px=MAX_FILM_SIDE_PX)), encode_wav(samples))


def play(footage: Footage, *, every_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The film from its beginning: (time, picture [h, w, 3] RGB), at least `every_s` apart. Raises: MediaError."""
    due_s = 0.0
    for t_s, frame in _frames(footage.path, av.VideoFrame, from_s=0.0):
        if t_s >= due_s - 1e-6:
            due_s = (int(t_s / every_s + 1e-6) + 1) * every_s
            yield t_s, _image(frame)


def picture_at(footage: Footage, at_s: float) -> NDArray[np.uint8] | None:
    """What a player shows at a time, [h, w, 3] RGB; None where the film has ended. Raises: MediaError."""
    frame = _frame_at(footage.path, at_s, not_before_s=at_s - CHUNK_S / 2)
    return None if frame is None else _image(frame)


def _frame_at(path: Path, at_s: float, *, not_before_s: float) -> av.VideoFrame | None:
    """What a player shows at `at_s`: the last picture until then, else the first one after it."""
    shown: av.VideoFrame | None = None
    shown_s = -1.0
    for t_s, frame in _frames(path, av.VideoFrame, from_s=at_s):
        if t_s > at_s and shown is not None:
            return shown
        shown, shown_s = frame, t_s
        if t_s > at_s:
            break
    # After the last picture there is none: a sound track may go on for minutes, but the film has ended.
    return shown if shown is not None and not_before_s <= shown_s < not_before_s + CHUNK_S else None


def _fill_sound(path: Path, samples: NDArray[np.int16], *, start_s: float) -> None:
    """Put the sound of [start_s, ...) into `samples`; what the file does not have stays silent."""
    end_s = start_s + len(samples) / SAMPLE_RATE_HZ
    resampler, at = _resampler(), None
    for t_s, frame in _frames(path, av.AudioFrame, from_s=start_s - _WARM_UP_S):
        stamp = round((t_s - start_s) * SAMPLE_RATE_HZ)
        if at is None or abs(stamp - at) > _HOLE_S * SAMPLE_RATE_HZ:
            resampler, at = _resampler(), stamp
        try:
            at = _put(samples, resampler.resample(frame), at=at)
        except ValueError:  # the track changes its format on the way
            resampler, at = _resampler(), None
        if t_s > end_s + _HOLE_S:
            return
    if at is not None:
        _put(samples, resampler.resample(None), at=at)


def _put(samples: NDArray[np.int16], pieces: list[av.AudioFrame], *, at: int) -> int:
    for piece in pieces:
        new = piece.to_ndarray()[0].astype(np.int16)
        first, last = max(at, 0), min(at + len(new), len(samples))
        if first < last:
            samples[first:last] = new[first - at : last - at]
        at += len(new)
    return at


def _frames(path: Path, kind: type[FrameT], *, from_s: float) -> Iterator[tuple[float, FrameT]]:
    """Decoded frames with their times, beginning at or before `from_s` where there are such. Raises: MediaError."""
    for earlier_s in (0.0, *_SEEK_EARLIER_S):
        seek_s = from_s - earlier_s
        sought = _decode(path, kind, seek_s=seek_s if seek_s > 0 else None)
        first = next(sought, None)
        if seek_s <= 0 or (first is not None and first[0] <= from_s):
            break
    else:
        if first is None:  # the file was cut off long before: decoding all of it would find nothing either
            return
        sought, first = _decode(path, kind, seek_s=None), None  # times that can not be sought by
    if first is not None:
        yield first
    yield from sought


def _decode(path: Path, kind: type[FrameT], *, seek_s: float | None) -> Iterator[tuple[float, FrameT]]:
    with _opened(path) as container:
        wanted: type = kind
        stream = _pictures(container) if wanted is av.VideoFrame else next(iter(container.streams.audio), None)
        if stream is None:
            return
        start_s = (container.start_time or 0) / av.time_base
        if seek_s is not None:
            try:
                container.seek(round((seek_s + start_s) / float(stream.time_base or 1)), stream=stream)
            except av.FFmpegError:  # a format that can not be sought in
                yield from _decode(path, kind, seek_s=None)
                return
        for packet in _packets(container, stream):
            for frame in _whole_frames(packet):
                yield frame.time - start_s, frame


def _whole_frames(packet: av.Packet[Any]) -> list[Any]:
    """The frames of a packet that have a time and are not corrupt; none where it is damaged."""
    try:
        frames: Any = packet.decode()
    except av.FFmpegError:  # the next packets may be whole
        return []
    return [frame for frame in frames if frame.time is not None and not frame.is_corrupt]


def _packets(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> Iterator[av.Packet[Any]]:
    with suppress(av.FFmpegError, IndexError):  # the file ends in the middle of a packet
        yield from container.demux(stream)


def _pictures(container: InputContainer) -> av.VideoStream | None:
    """The first video stream that is no cover art."""
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def _last_time_s(container: InputContainer, stream: av.VideoStream) -> float:
    """Length of a file that does not say it: a recording that was never finished."""
    start_s = (container.start_time or 0) / av.time_base
    ends = [p.pts + (p.duration or 0) for p in _packets(container, stream) if p.pts is not None]
    return max(ends, default=0) * float(stream.time_base or 0) - start_s


def _image(frame: av.VideoFrame, *, max_side_px: int = MAX_SIDE_PX) -> NDArray[np.uint8]:
    """[h, w, 3] RGB, upright, scaled down to max_side_px."""
    scale = min(1.0, max_side_px / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    image = frame.reformat(width=width, height=height, format="rgb24").to_ndarray().astype(np.uint8, copy=False)
    beside = cast(Mapping[str, bytes], frame.side_data)  # PyAV's own types know one key of many
    return upright.by_display_matrix(image, bytes(beside["DISPLAYMATRIX"])) if "DISPLAYMATRIX" in beside else image


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a video.", hint="Name one video file in it.")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}).", hint="Check the path.") from None
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes): nothing was recorded.", hint=_COPY_AGAIN)


def _opened(path: Path) -> InputContainer:
    try:
        # Only local files: a playlist among the recordings must not open network addresses.
        with for_ffmpeg(path) as name:
            container = av.open(name, options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path} is not a video that can be played ({reason}).", hint=_COPY_AGAIN) from None
    name = container.format.name
    if name in _NO_FILM or name.endswith("_pipe"):
        container.close()
        raise MediaError(f"{path} is a picture or a text ({name}), not a video.", hint="Name a video file.")
    return container

"""A walk as a video file: H.264 and AAC in MP4, picture and microphone on one time line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from server.walks.paint import paint
from server.walks.sound import SpokenLine, soundtrack
from server.walks.walk import Walk, scene_at
from shared import atomic
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError

_BLOCK = 1024
"""Samples in an AAC frame."""


def write_video(
    walk: Walk,
    path: Path,
    *,
    fps: int = 15,
    width_px: int = 640,
    height_px: int = 480,
    voice: Sequence[SpokenLine] = (),
    progress: Callable[[float], None] | None = None,
) -> None:
    """Render the walk with its sound to an MP4 file, which appears whole or not at all.

    progress: called with the share done, 0..1. Raises: ConfigError (odd size, line outside the walk), OSError.
    """
    if width_px % 2 or height_px % 2 or width_px < 64 or height_px < 48 or not 1 <= fps <= 60:
        raise ConfigError(
            f"Cannot write {width_px} x {height_px} at {fps} frames a second.",
            hint="H.264 wants even sizes from 64 x 48, and 1 to 60 frames a second.",
        )
    sound = soundtrack(walk, voice=voice)
    with atomic.writing(path) as file:
        _encode(walk, file, sound, size=(width_px, height_px), fps=fps, progress=progress)


def _encode(
    walk: Walk,
    file: BinaryIO,
    sound: NDArray[np.int16],
    *,
    size: tuple[int, int],
    fps: int,
    progress: Callable[[float], None] | None,
) -> None:
    frames = max(1, round(walk.duration_s * fps))
    with av.open(file, "w", format="mp4") as container:
        video = _video_stream(container, size, fps)
        audio: AudioStream = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        audio.bit_rate = 64_000
        sent = 0
        for i in range(frames):
            image, _, _ = paint(scene_at(walk, i / fps), width_px=size[0], height_px=size[1], count=False)
            frame = VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(video.encode(frame))
            until = len(sound) if i == frames - 1 else int((i + 1) / fps * SAMPLE_RATE_HZ)
            sent = _mux_sound(container, audio, sound, span=(sent, until))
            if progress is not None:
                progress((i + 1) / frames)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _video_stream(container: OutputContainer, size: tuple[int, int], fps: int) -> VideoStream:
    stream: VideoStream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, fps)
    stream.options = {"preset": "veryfast", "crf": "23"}
    return stream


def _mux_sound(
    container: OutputContainer, stream: AudioStream, sound: NDArray[np.int16], *, span: tuple[int, int]
) -> int:
    """Encode whole blocks (and the rest at the very end) up to a sample; returns how far it got."""
    begin, until = span
    last = until >= len(sound)
    while begin + _BLOCK <= until or (last and begin < until):
        end = min(begin + _BLOCK, until)
        frame = AudioFrame.from_ndarray(sound[None, begin:end], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts, frame.time_base = begin, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(stream.encode(frame))
        begin = end
    return begin

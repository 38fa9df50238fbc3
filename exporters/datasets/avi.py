"""A moment as AVI: its pictures as Motion JPEG at an even rate, its sound as PCM. Every reader of films plays it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from shared.chunk_format import CHUNK_S, SAMPLE_RATE_HZ
from shared.errors import MediaError
from shared.film import opening
from shared.film.picture import Developer
from shared.jpeg import MAX_SIDE_PX, decode_picture, encode_jpeg
from shared.wav import decode_sound

STILL_FPS = 8
"""Of a moment that has one picture: the picture stands for its two seconds."""
MOST_FPS = 30
_MOST_PICTURES = 30 * 60  # a minute: what is longer is no moment


def write(path: Path, *, frame: Path, audio: Path | None, clip: Path | None) -> tuple[int, float]:
    """Write a moment's film: its clip where it has one that can be played, else its picture held.

    returns: (pictures a second, length in seconds)
    raises: MediaError where its picture cannot be read, OSError
    """
    jpegs, fps = list[bytes](), STILL_FPS
    if clip is not None and clip.is_file():
        try:
            jpegs, fps = _pictures(clip)
        except (MediaError, av.FFmpegError):
            jpegs = []  # half a clip: the picture is there
    if not jpegs:
        fps = STILL_FPS
        jpegs = [frame.read_bytes()] * round(CHUNK_S * STILL_FPS)
    _mux(path, jpegs, fps, _sound(audio))
    return fps, len(jpegs) / fps


def _sound(audio: Path | None) -> bytes:
    """int16 PCM, mono; "" where there is none that can be read."""
    if audio is None or not audio.is_file():
        return b""
    try:
        heard = decode_sound(audio.read_bytes())
    except MediaError:
        return b""
    return (np.clip(heard, -1, 1) * 32767).astype("<i2").tobytes()


def _pictures(clip: Path) -> tuple[list[bytes], int]:
    """The pictures of a clip as JPEG at an even rate, as a player shows them, and the rate."""
    out, shown, developer = list[bytes](), b"", Developer(None, max_side_px=MAX_SIDE_PX)
    with opening.open_film(clip) as container:
        stream = opening.pictures_of(container)
        if stream is None:
            raise MediaError(f"{clip} has no picture.")
        fps = min(max(round(opening.rate(stream)), 1), MOST_FPS)
        for at_s, frame in _timed(container.decode(stream), fps):
            due = round(at_s * fps)
            if shown and due > len(out):
                out.extend([shown] * (min(due, _MOST_PICTURES) - len(out)))
            if len(out) >= _MOST_PICTURES:
                break
            shown = encode_jpeg(developer.picture(frame))
    return ([*out, shown] if shown else out), fps


def _timed(frames: Iterable[av.VideoFrame], fps: int) -> Iterator[tuple[float, av.VideoFrame]]:
    first: float | None = None
    for number, frame in enumerate(frames):
        at_s = float(frame.time) if frame.pts is not None else number / fps
        first = at_s if first is None else first
        yield max(at_s - first, 0.0), frame


def _mux(path: Path, jpegs: Sequence[bytes], fps: int, pcm: bytes) -> None:
    picture = decode_picture(jpegs[0])
    if picture is None:
        raise MediaError("its picture cannot be decoded.")
    with av.open(str(path), "w", format="avi") as container:
        video = container.add_stream("mjpeg", rate=fps)
        video.height, video.width, video.pix_fmt = *picture.shape[:2], "yuvj420p"
        video.time_base = video.codec_context.time_base = Fraction(1, fps)
        sound = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono") if pcm else None
        container.start_encoding()
        for number, jpeg in enumerate(jpegs):
            packet = av.Packet(jpeg)
            packet.stream, packet.time_base = video, Fraction(1, fps)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            container.mux_one(packet)
            if sound is not None:
                _mux_sound(container, sound, pcm, span=(number, number + 1, fps))


def _mux_sound(
    container: av.container.OutputContainer, stream: av.AudioStream, pcm: bytes, *, span: tuple[int, int, int]
) -> None:
    """The sound of one picture. span: (number of the picture, of the next, pictures a second)"""
    number, after, fps = span
    begin, end = (round(n * SAMPLE_RATE_HZ / fps) for n in (number, after))
    data = pcm[begin * 2 : end * 2]
    if data:
        packet = av.Packet(data)
        packet.stream, packet.time_base = stream, Fraction(1, SAMPLE_RATE_HZ)
        packet.pts = packet.dts = begin
        packet.duration = len(data) // 2
        container.mux_one(packet)

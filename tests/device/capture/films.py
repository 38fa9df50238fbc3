"""Small films made on the spot: known colours in the corners, a known tone, known times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from tests import paths

RED, GREEN, BLUE, GREY = (220, 40, 40), (40, 200, 40), (40, 40, 220), (128, 128, 128)
TONE_HZ = 1000.0
REAL = paths.DATA / "walks" / "crosswalk_02.mp4"
"""A real clip beside the project: HEVC 1080p, AAC. Never part of the project; tests skip where it is absent."""
_MADE: dict[str, bytes] = {}


def corners(width: int = 320, height: int = 240, bar: float = 0.0) -> NDArray[np.uint8]:
    """[h, w, 3] RGB: red top left, green top right, blue and grey below; a white bar moves with `bar`, and the light
    changes a little: a picture of which next to nothing changes is a frozen camera's."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, GREY
    x = int(width / 4 + bar * width / 2) % (width - 8)
    image[height // 2 - 10 : height // 2 + 10, x : x + 8] = 255
    light = round(8 * float(np.sin(bar * 31)))
    return np.clip(image.astype(np.int16) + light, 0, 255).astype(np.uint8)


def corner_names(image: NDArray[np.uint8]) -> str:
    """The colours found in the corners, clockwise from the top left, such as "RGgB" (g = grey)."""
    height, width = image.shape[:2]
    known = {"R": RED, "G": GREEN, "B": BLUE, "g": GREY}
    names = ""
    for y, x in ((8, 8), (8, width - 9), (height - 9, width - 9), (height - 9, 8)):
        off = {name: int(np.abs(image[y, x].astype(int) - colour).sum()) for name, colour in known.items()}
        names += min(off, key=lambda name: off[name])
    return names


def tone(seconds: float, rate: int, hz: float = TONE_HZ) -> NDArray[np.int16]:
    """[n] int16 mono."""
    t = np.arange(round(seconds * rate)) / rate
    return (10_000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def loudest_hz(samples: NDArray[np.int16], rate: int = 16_000) -> float:
    """The frequency with the most energy."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(power) * rate / len(samples))


def make(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: float = 15.0,
    codec: str | None = "libx264",
    size: tuple[int, int] = (320, 240),
    sound: bool = True,
    sound_rate: int = 44_100,
    degrees: int = 0,
    mirrored: bool = False,
    times: Sequence[float] | None = None,
    key_every: int = 15,
    sound_hole: tuple[float, float] | None = None,
    sounds: NDArray[np.int16] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a film.

    codec None = sound only; times: of the pictures, instead of every 1/fps; sound_hole: from, to without sound;
    sounds: int16 [n] mono at sound_rate, instead of a tone.
    The same film is encoded once in a process: hundreds of tests walk along the same one.
    """
    wanted = (path.suffix, seconds, fps, codec, size, sound, sound_rate, degrees, mirrored, key_every, sound_hole)
    key = repr(
        (*wanted, times if times is None else list(times), options, None if sounds is None else sounds.tobytes())
    )
    if key in _MADE:
        path.write_bytes(_MADE[key])
        return path
    with av.open(str(path), "w", options=options or {}) as out:
        video: av.VideoStream | None = None
        audio: av.AudioStream | None = None
        if codec is not None:
            video = cast(av.VideoStream, out.add_stream(codec, rate=Fraction(fps).limit_denominator(1000)))
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 90_000)
            video.codec_context.gop_size = key_every
            video.options = {"preset": "ultrafast", "x265-params": "log-level=none"} if codec == "libx265" else {}
            if degrees or mirrored:
                video.set_display_rotation(degrees, hflip=mirrored)
        if sound:
            audio = out.add_stream("aac", rate=sound_rate, layout="stereo")
        stamps = list(times) if times is not None else [n / fps for n in range(round(seconds * fps))]
        samples = tone(seconds, sound_rate) if sounds is None else sounds
        _interleave(out, video, stamps, audio, samples=samples, hole=sound_hole)
    _MADE[key] = path.read_bytes()
    return path


def of(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    *,
    fps: float = 10.0,
    codec: str = "libx264",
    key_every: int = 10,
    options: dict[str, str] | None = None,
) -> Path:
    """A film without sound of these pictures, [h, w, 3] RGB. options: of the encoder."""
    with av.open(str(path), "w") as out:
        video: av.VideoStream | None = None
        for number, image in enumerate(images):
            if video is None:
                video = cast(av.VideoStream, out.add_stream(codec, rate=Fraction(fps).limit_denominator(1000)))
                video.width, video.height = image.shape[1], image.shape[0]
                video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                video.codec_context.gop_size = key_every
                video.options = dict(options or {})
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts, picture.time_base = number, 1 / Fraction(fps).limit_denominator(1000)
            out.mux(video.encode(picture))
        assert video is not None
        out.mux(video.encode(None))
    return path


def _interleave(
    out: av.container.OutputContainer,
    video: av.VideoStream | None,
    stamps: list[float],
    audio: av.AudioStream | None,
    *,
    samples: NDArray[np.int16],
    hole: tuple[float, float] | None,
) -> None:
    """Pictures and sound in the order of their times, as a camera writes them."""
    rate = audio.codec_context.sample_rate if audio is not None else 1
    sounds = [n / rate for n in range(0, len(samples), 1024)] if audio is not None else []
    events = [(t, 0) for t in (stamps if video is not None else [])] + [(t, 1) for t in sounds]
    for t, kind in sorted(events):
        if kind == 0 and video is not None:
            picture = av.VideoFrame.from_ndarray(corners(video.width, video.height, t / 10), format="rgb24")
            picture.pts, picture.time_base = round(t * 90_000), Fraction(1, 90_000)
            out.mux(video.encode(picture))
        elif audio is not None and not (hole is not None and hole[0] <= t < hole[1]):
            first = round(t * rate)
            part = samples[first : first + 1024]
            stereo = np.stack([part, part]).astype(np.float32) / 32768
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(stereo), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            out.mux(audio.encode(frame))
    for stream in (video, audio):
        if stream is not None:
            out.mux(stream.encode(None))


def can_encode(codec: str) -> bool:
    """Whether this FFmpeg has the encoder."""
    try:
        av.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def beginning(whole: Path, file: Path, *, seconds: float) -> Path:
    """The first seconds of a film, packet by packet: what it is encoded in stays as it is."""
    with av.open(str(whole)) as source, av.open(str(file), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.dts * packet.time_base < seconds:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return file

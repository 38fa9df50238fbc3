"""A film with captions: a walk as the wearer heard it, or what a model answers to it.

Of a walk nothing is timed anew: captions, their times and the speech are what the device wrote on its walk. What was
decided but never heard, because something else cut it off before its first sample, has no caption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from server.labelling import footage
from server.labelling.footage import Footage
from shared import atomic
from shared.policy import GUIDANCE
from shared.wav import decode_wav, to_int16

FPS = 15
WIDTH_PX = 960
SHOWN_S = 2.5
COLOURS = {1: (255, 90, 80), 2: (255, 205, 60), 3: (150, 220, 255)}
"""RGB by tier."""
QUIET = (220, 220, 220)
"""News about the device."""
_BLOCK = 1024


def write(film: Footage, said: Sequence[Mapping[str, Any]], speech: Path | None, out: Path) -> None:
    """film: the recording; said: entries of the walk's report; speech: the device's WAV, None = a silent film; out: MP4

    raises: MediaError where the film cannot be played, OSError
    """
    sound = None if speech is None else decode_wav(speech.read_bytes())
    with atomic.writing(out) as file, av.open(file, "w", format="mp4") as container:
        voice = None if sound is None else container.add_stream("aac", rate=sound[1], layout="mono")
        video = None
        for index, (t_s, image) in enumerate(footage.play(film, every_s=1.0 / FPS)):
            picture = caption(_fitted(image), said, t_s)
            if video is None:
                video = container.add_stream("libx264", rate=FPS)
                video.height, video.width = picture.shape[:2]
                video.pix_fmt = "yuv420p"
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        if sound is not None and voice is not None:
            for block in _blocks(*sound):
                container.mux(voice.encode(block))
        for stream in (video, voice):
            if stream is not None:
                container.mux(stream.encode(None))


def _blocks(sound: NDArray[np.float32], rate_hz: int) -> Iterator[AudioFrame]:
    samples = to_int16(sound)
    for begin in range(0, len(samples), _BLOCK):
        block = AudioFrame.from_ndarray(samples[None, begin : begin + _BLOCK], format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = rate_hz, begin, Fraction(1, rate_hz)
        yield block


def caption(image: NDArray[np.uint8], said: Sequence[Mapping[str, Any]], t_s: float) -> NDArray[np.uint8]:
    """The picture with the newest words of the last SHOWN_S and their kind, on a dark band at its foot."""
    heard = [entry for entry in said if entry["heard_s"] is not None and 0 <= t_s - float(entry["heard_s"]) < SHOWN_S]
    if not heard:
        return image
    newest = max(heard, key=lambda entry: float(entry["heard_s"]))
    colour = COLOURS.get(int(newest["tier"]), QUIET) if _guides(newest) else QUIET
    height = image.shape[0]
    band = height // 6
    image[height - band :] //= 4
    _line(image, kind(newest), at_y=height - round(band * 0.68), size=band / 150, colour=QUIET)
    _line(image, str(newest["text"]), at_y=height - round(band * 0.22), size=band / 70, colour=colour)
    return image


def kind(entry: Mapping[str, Any]) -> str:
    """What stands above the words: their tier, and how long after its picture the first sample was heard; or the
    entry's own `note`."""
    if "note" in entry:
        return str(entry["note"])
    if not _guides(entry):
        return "about the device"
    after_ms = entry["time_to_speech_ms"]
    return f"tier {entry['tier']}" + ("" if after_ms is None else f", {after_ms:.0f} ms after its picture")


def _guides(entry: Mapping[str, Any]) -> bool:
    return entry["why"] in GUIDANCE


def _line(image: NDArray[np.uint8], text: str, *, at_y: int, size: float, colour: tuple[int, int, int]) -> None:
    """One line of text, smaller where it would not fit."""
    width, thick = image.shape[1], max(1, round(2 * size))
    (text_px, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    size *= min(1.0, 0.94 * width / max(1, text_px))
    cv2.putText(image, text, (int(width * 0.03), at_y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thick, cv2.LINE_AA)


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most WIDTH_PX wide, with even sizes, as H.264 wants them."""
    scale = min(1.0, WIDTH_PX / image.shape[1])
    width, height = (max(2, round(side * scale) // 2 * 2) for side in (image.shape[1], image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]  # uint8 as read

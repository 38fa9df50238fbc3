"""Fuzz targets: sounds and pictures, from devices, from a speech program, and from a folder of labels.

Films are not among them: FFmpeg reads those, and is fuzzed where it is made.
"""

from __future__ import annotations

import io
import random
import struct
import wave

import cv2
import numpy as np

from server.dataset import pictures
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import DatasetError, MediaError
from shared.speech import sound
from shared.wav import MAX_SOUND_S, decode_sound
from tests.faults.fuzz.shape import patched
from tests.faults.fuzz.target import Run, Target, scratch

MOST_PIXELS, OPENCV_TAKES = 4_000_000, 2**30  # between them, what only says that it is large costs gigabytes
FORMAT_AT = 20  # of a WAV file


def _wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(random.Random(0).randbytes(8000))
    return out.getvalue()


def _sounds() -> Run:
    good = _wav()

    def run(data: bytes) -> None:
        wav = _edited(data, good)
        try:
            assert sound.spoken_part(decode_sound(wav)).size <= MAX_SOUND_S * SAMPLE_RATE_HZ
        except MediaError:
            return

    return run


def _pictures() -> Run:
    folder = scratch()
    good = cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes()

    def run(data: bytes) -> None:
        changed = patched(data[1:], good) if data[:1] != b"r" else data[1:]
        if MOST_PIXELS < _pixels(changed) <= OPENCV_TAKES:
            return
        (folder / "frame.jpg").write_bytes(changed)
        try:
            pictures.read(folder / "frame.jpg")
        except DatasetError:
            return

    return run


def _edited(data: bytes, good: bytes) -> bytes:
    """A sound with another header, or with bytes replaced anywhere, or bytes that are none."""
    if data[:1] == b"r":
        return data[1:]
    if data[:1] == b"h":
        return good[:FORMAT_AT] + data[1:17] + good[FORMAT_AT + 16 :]
    return patched(data[1:], good)


def _pixels(jpeg: bytes) -> int:
    """As the frame headers say, the largest."""
    sizes = [0]
    at = jpeg.find(b"\xff\xc0")
    while at >= 0 and at + 9 <= len(jpeg):
        height, width = struct.unpack_from(">HH", jpeg, at + 5)
        sizes.append(height * width)
        at = jpeg.find(b"\xff\xc0", at + 2)
    return max(sizes)


def _header(*, form: int = 1, channels: int = 1, rate_hz: int = 16_000, bits: int = 16) -> bytes:
    return b"h" + struct.pack("<HHIIHH", form, channels, rate_hz, rate_hz * channels * bits // 8 % 2**32, 2, bits)


_WAVS = (
    b"", b"p\x00\x04\x09A", b"rRIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00", _header(), _header(bits=40),
    _header(bits=0), _header(channels=0), _header(rate_hz=0), _header(rate_hz=2**32 - 1), _header(form=65534, bits=24),
)  # fmt: skip
TARGETS = (
    Target("sounds", _sounds, _WAVS),
    Target("pictures", _pictures, (b"", b"p\x00\x30\x09A", b"r\xff\xd8\xff\xe0", b"p\x00\xa3\x11\xff")),
)
